"""Variables that name certificates to trust."""

from __future__ import annotations

import os
from pathlib import Path

import certifi
import pytest

from scaler.support.certificates import certificates_problem, trust_named_certificates


def test_certificates_that_can_be_read_are_no_problem(tmp_path: Path) -> None:
    assert certificates_problem({}) is None
    assert certificates_problem({"SSL_CERT_FILE": ""}) is None
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        assert certificates_problem({name: certifi.where()}) is None
    for name in ("SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        assert certificates_problem({name: str(tmp_path)}) is None


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"])
def test_the_variable_is_named(tmp_path: Path, name: str) -> None:
    empty, pipe = tmp_path / "empty.pem", tmp_path / "pipe"
    empty.write_text("no certificate\n")
    os.mkfifo(pipe)
    for path in (tmp_path / "absent", empty, pipe, Path("/dev/zero")):
        problem = certificates_problem({name: str(path)})
        assert problem
        assert problem.startswith(f"{name} names certificates that cannot be read: {path} (")


def test_the_variable_that_the_user_has_set_is_named() -> None:
    environ = {"SSL_CERT_FILE": "/absent"}
    trust_named_certificates(environ)
    assert str(certificates_problem(environ)).startswith("SSL_CERT_FILE")
