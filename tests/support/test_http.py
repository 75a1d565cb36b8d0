"""Answers that come in drops, on real sockets: in headers and bodies, through TLS, and of a proxy."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from requests.exceptions import InvalidProxyURL

from scaler.support.http import Session, proxy_problem, proxy_variable

pytestmark = pytest.mark.server

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\nX-More: " + b"x" * 60 + b"\r\n\r\n"
BODY = b"1" * 60
CONNECTED = b"HTTP/1.1 200 Connection established\r\nX-More: " + b"x" * 60 + b"\r\n\r\n"

PAUSE_S = 0.02
"""Between two bytes. An answer of 150 takes 3 s, and is whole then: without a deadline, it is accepted."""


@contextmanager
def dripping(at_once: bytes, drops: bytes, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that answers each request with `at_once`, and then with single bytes; its port."""
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) if context else connection as stream:
            stream.recv(65536)
            stream.sendall(at_once)
            for byte in drops:
                if over.wait(PAUSE_S):
                    return
                stream.sendall(bytes([byte]))
            over.wait(5)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(pem + private)
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize(("at_once", "drops"), [(b"", HEADERS), (HEADERS, BODY)], ids=["headers", "body"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_answer_in_drops_ends_with_its_time(certificate: Path, tls: bool, at_once: bytes, drops: bytes) -> None:
    with (
        dripping(at_once, drops, server_context(certificate) if tls else None) as port,
        Session() as session,
        pytest.raises((requests.Timeout, requests.ConnectionError), match=r"[Tt]imed out"),
    ):
        session.get(f"http{'s' if tls else ''}://127.0.0.1:{port}/", timeout=0.3, verify=str(certificate))


def test_a_slow_answer_that_is_in_time_is_whole(certificate: Path) -> None:
    with dripping(HEADERS, BODY, server_context(certificate)) as port, Session() as session:
        assert session.get(f"https://127.0.0.1:{port}/", timeout=30, verify=str(certificate)).content == BODY


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_a_proxy_that_opens_the_tunnel_in_drops(environ: pytest.MonkeyPatch) -> None:
    with dripping(b"", CONNECTED) as port, Session() as session:
        environ.setenv("https_proxy", f"http://127.0.0.1:{port}")
        with pytest.raises(requests.RequestException, match=r"[Tt]imed out"):
            session.get("https://a.test/", timeout=(0.3, 30))


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("http://", "is no URL of a proxy: it has no host"),
        ("http://user:hunter2@", "is no URL of a proxy: it has no host"),
        ("http://user:hunter2@:3128", "is no URL of a proxy: it has no host"),
        ("http://user:hunter2@proxy.test:port", "is no URL of a proxy: its host or its port cannot be read"),
        ("http://user:hunter2@[::1:3128", "is no URL of a proxy: its host or its port cannot be read"),
        ("http://proxy.test:99999", "is no URL of a proxy: its host or its port cannot be read"),
        ("http://proxy.test:0", "is no URL of a proxy: port 0"),
        ("htp://user:hunter2@proxy.test", "names a proxy of the kind 'htp': only http:// and https:// can be used"),
        ("user hunter2 proxy.test", "is no URL of a proxy: it has no host"),
    ],
)
def test_a_variable_that_names_no_proxy_is_named(environ: pytest.MonkeyPatch, proxy: str, said: str) -> None:
    environ.setenv("https_proxy", proxy)
    with Session() as session, pytest.raises(InvalidProxyURL) as caught:
        session.get("https://a.test/", timeout=5)
    assert str(caught.value) == f"https_proxy {said}"


@pytest.mark.parametrize(
    "proxy", ["proxy.test:3128", "http://proxy.test", "https://u:p@proxy.test:1", "http://[::1]:3128/"]
)
def test_what_names_a_proxy(proxy: str) -> None:
    assert proxy_problem(proxy) is None


def test_a_socks_proxy_needs_a_package() -> None:
    assert proxy_problem("socks5h://user:hunter2@proxy.test") == "names a SOCKS proxy, which needs the package PySocks"


def test_a_proxy_that_the_environment_does_not_name() -> None:
    assert proxy_variable("http://a", {"HTTP_PROXY": "http://b"}) == "the proxy of this machine's settings"


def test_a_pipe_in_the_place_of_the_certificates_holds_nobody_up(
    environ: pytest.MonkeyPatch, certificate: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    environ.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "pipe"))
    with dripping(HEADERS + BODY, b"", server_context(certificate)) as port, Session() as session:
        with pytest.raises(OSError, match="is a pipe or a device"):
            session.get(f"https://127.0.0.1:{port}/", timeout=5)
        environ.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert session.get(f"https://127.0.0.1:{port}/", timeout=30).content == BODY
