"""Which hosts may get credentials."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from scaler.clouds.registry import CLOUDS, endpoint_of
from scaler.config.backend import choose_backend
from scaler.config.project import Project
from scaler.config.schema.urls import Url
from scaler.errors import RefusedError, SpecError, UsageError
from scaler.support.engine_urls import backend_of
from scaler.support.hosts import allowed_hosts, host_of, is_clear_text, is_loopback
from scaler.wiring import backend_url
from tests.support.results import SPEC

HETZNER = CLOUDS["hetzner"]


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("http://127.0.0.1:8080/v1", False),
        ("http://localhost", False),
        ("http://[::1]:80", False),
        ("https://api.example", False),
        ("http://api.example", True),
        ("HTTP://API.EXAMPLE", True),
        ("http://127.0.0.1.example", True),
        ("http://10.0.0.7", True),
        ("http://0.0.0.0", True),
    ],
)
def test_plain_http_is_for_this_machine_only(url: str, clear: bool) -> None:
    assert is_clear_text(url) is clear
    assert is_loopback(host_of(url)) is (url.startswith(("http://127.0.0.1:", "http://localhost", "http://[::1]")))


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example\\[::1]/",
        "http://evil.example\\@127.0.0.1/",
        "http://evil.example%5C\\[::1]:80",
        "http://[::1].evil.example/",
        "http://127.0.0.1\t.evil.example/",
        "http://evil.example;[::1]/",
    ],
)
def test_a_host_on_which_readers_of_urls_differ_is_none(url: str) -> None:
    """requests would send to evil.example what urllib thinks is for this machine."""
    assert host_of(url) == ""
    assert is_clear_text(url)
    with pytest.raises(ValidationError):
        TypeAdapter(Url).validate_python(url)


@pytest.mark.parametrize("source", ["spec", "environment"])
def test_no_token_in_clear_text(source: str) -> None:
    url = "http://api.example/v1"
    with pytest.raises(RefusedError) as caught:
        endpoint_of(HETZNER, url if source == "spec" else None, {"HCLOUD_ENDPOINT": url})
    assert (caught.value.code, caught.value.exit_code) == ("endpoint_clear_text", 3)


@pytest.mark.parametrize(
    ("endpoint", "environ", "allowed"),
    [
        ("https://api.hetzner.cloud/v1", {}, True),
        ("https://API.hetzner.cloud/v1", {}, True),
        ("http://127.0.0.1:1/v1", {}, True),
        ("https://evil.example/v1", {}, False),
        ("https://api.hetzner.cloud.evil.example/v1", {}, False),
        ("https://evil.example/v1", {"HCLOUD_ENDPOINT": "https://proxy.example/v1"}, False),
        ("https://proxy.example/v2", {"HCLOUD_ENDPOINT": "https://proxy.example/v1"}, True),
        ("https://proxy.example/v1", {"SCALER_ALLOW_HOSTS": "other.example, Proxy.example"}, True),
        (None, {"HCLOUD_ENDPOINT": "https://proxy.example/v1"}, True),
    ],
)
def test_another_host_is_allowed_by_the_environment_and_not_by_the_spec(
    endpoint: str | None, environ: dict[str, str], allowed: bool
) -> None:
    if allowed:
        assert endpoint_of(HETZNER, endpoint, environ)
        return
    with pytest.raises(RefusedError, match="only the spec names") as caught:
        endpoint_of(HETZNER, endpoint, environ)
    assert caught.value.code == "endpoint_not_allowed"
    assert "SCALER_ALLOW_HOSTS=" in caught.value.fix


def test_hosts_are_compared_whole() -> None:
    assert allowed_hosts({"SCALER_ALLOW_HOSTS": ""}, None, "not a url") == frozenset()
    assert allowed_hosts({"SCALER_ALLOW_HOSTS": "a,,b "}, "https://C/x") == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("backend", "environ", "allowed"),
    [
        ("https://api.pulumi.com", {}, True),
        ("https://evil.example", {}, False),
        ("https://own.example", {"PULUMI_BACKEND_URL": "https://own.example"}, True),
        ("https://own.example", {"SCALER_ALLOW_HOSTS": "own.example"}, True),
        ("s3://bucket", {}, True),
        ("s3://bucket?endpoint=https://evil.example", {}, False),
        ("s3://bucket?endpoint=evil.example:9000&disableSSL=true", {}, False),
        ("s3://bucket?endpoint=127.0.0.1:9000", {}, True),
        ("s3://bucket?endpoint=Own.example", {"SCALER_ALLOW_HOSTS": "own.example"}, True),
        (
            "s3://bucket?endpoint=own.example",
            {"PULUMI_BACKEND_URL": "s3://bucket/x?endpoint=https://own.example"},
            True,
        ),
        ("postgres://me@evil.example/db", {"PGPASSWORD": "x"}, False),
        ("postgres://me@127.0.0.1/db", {}, True),
        ("postgres://me@127.0.0.1,evil.example/db", {}, False),
        ("postgres:///db?host=127.0.0.1,evil.example", {}, False),
        ("postgres://me@127.0.0.1:5432/db?sslmode=disable", {}, True),
        ("postgres:///db?host=/run/postgresql&sslmode=disable", {}, True),
        ("postgres://me@own.example/db?sslmode=disable", {"SCALER_ALLOW_HOSTS": "own.example"}, False),
        ("postgres://me@own.example/db?sslmode=prefer", {"SCALER_ALLOW_HOSTS": "own.example"}, False),
        ("postgres://me@127.0.0.1,own.example/db?sslmode=allow", {"SCALER_ALLOW_HOSTS": "own.example"}, False),
        ("postgres:///db?sslmode=disable", {}, False),
        (
            "postgres://me@own.example/db?sslmode=verify-full&sslrootcert=ca.pem&table=shop.states",
            {"SCALER_ALLOW_HOSTS": "own.example"},
            True,
        ),
        ("postgres:///db?host=/run/postgresql", {}, True),
        ("postgres://me@own.example/b", {"PULUMI_BACKEND_URL": "postgres://me@own.example/a"}, True),
        ("gs://bucket", {}, True),
        ("gs://bucket?universe_domain=evil.example", {}, False),
        ("azblob://states?storage_account=acme", {}, True),
        ("azblob://states?storage_account=acme&domain=evil.example", {}, False),
        ("azblob://states?storage_account=acme&domain=127.0.0.1.evil.example", {}, False),
        ("azblob://states?storage_account=acme&domain=blob.core.usgovcloudapi.net", {}, True),
        ("azblob://states?domain=127.0.0.1:10000&localemu=true&protocol=http", {}, True),
        (None, {"PULUMI_BACKEND_URL": "https://own.example"}, True),
        ("http://own.example", {"SCALER_ALLOW_HOSTS": "own.example"}, False),
        ("http://own.example", {"PULUMI_BACKEND_URL": "http://own.example"}, True),
        ("azblob://states?storage_account=acme&protocol=http", {}, False),
        ("azblob://states?storage_account=acme&protocol=https", {}, True),
        ("s3://bucket?disableSSL=true", {}, False),
        ("s3://bucket?disable_https=1", {}, False),
        ("s3://bucket?disable_https=false", {}, True),
        ("s3://bucket?endpoint=http://own.example", {"SCALER_ALLOW_HOSTS": "own.example"}, False),
        ("s3://bucket?endpoint=https://own.example", {"SCALER_ALLOW_HOSTS": "own.example"}, True),
        ("s3://bucket?endpoint=http://127.0.0.1:9000&disable_https=true", {}, True),
        (
            "s3://bucket?endpoint=http://own.example",
            {"PULUMI_BACKEND_URL": "s3://bucket?endpoint=http://own.example"},
            True,
        ),
    ],
)
def test_no_credential_goes_to_a_backend_s_host_that_only_the_spec_names(
    tmp_path: Path, backend: str | None, environ: dict[str, str], allowed: bool
) -> None:
    project = Project(tmp_path, name="scaler", state_dir=tmp_path / ".scaler")
    spec = replace(SPEC, backend=backend)
    if allowed:
        assert backend_url(project, spec, environ) == (backend or environ["PULUMI_BACKEND_URL"])
        return
    with pytest.raises(RefusedError) as caught:
        backend_url(project, spec, environ)
    assert caught.value.code == "backend_not_allowed"
    # Pulumi.yaml is as little trusted, and commands that only look choose the same way.
    with pytest.raises(RefusedError):
        backend_url(replace(project, backend=backend), SPEC, environ | {"PULUMI_BACKEND_URL": ""})


@pytest.mark.parametrize(
    "backend",
    [
        "azblob://c?storage_account=evil.example/",
        "azblob://c?storage_account=evil.example%2F",
        "azblob://c?storage_account=me@evil",
        "azblob://c?storage_account=acme&protocol=http://127.0.0.1:1/%3F",
        "azblob://c?storage_account=acme&protocol=https://evil.example/%3F",
        "azblob://c?storage_account=acme&protocol=HTTP",
        "azblob://c?storage_account=acme&domain=evil.example%2F",
        "azblob://c?storage_account=acme&domain=127.0.0.1%23.evil.example",
        "azblob://c?storage_account=acme&unknown=1",
        "s3://b?region=x@evil.example/",
        "s3://b?region=x.evil.example%23",
        "s3://x@127.0.0.1:9000",
        "s3://b?endpoint=https://evil%5C@127.0.0.1",
        "s3://b?endpoint=https://127.0.0.1@evil.example",
        "s3://b?endpoint=https://127.0.0.1%09.evil.example",
        "s3://b?endpoint=ftp://127.0.0.1",
        "s3://b?endpoint=https://[1:2]",
        "s3://b?endpoint=evil.example&endpoint=127.0.0.1",
        "s3://b?endpoint=127.0.0.1;endpoint=evil.example",
        "s3://b?ENDPOINT=evil.example",
        "s3://b/../c",
        "s3://b?region",
        "S3://b?endpoint=evil.example",
        " s3://b",
        "s3://b\n",
        "s3://b#?endpoint=evil.example",
        "gs://b?private_key_path=/etc/passwd",
        "gs://b?universe_domain=evil.example/",
        "gs://evil.example:443/b",
        "postgresql://evil.example/db",
        "postgres://me@127.0.0.1/db?host=evil.example",
        "postgres://me@127.0.0.1:5432/db?port=1",
        "postgres://me@127.0.0.1:5432,evil.example:5432/db",
        "postgres://127.0.0.1@evil.example@127.0.0.1/db",
        "postgres://%65vil.example/db",
        *(
            f"postgres://me@127.0.0.1/db?{name}=x"
            for name in ("hostaddr", "service", "passfile", "sslkeylogfile", "sslkey", "sslcert", "sslcrl", "options")
        ),
        "https://evil.example\\@api.pulumi.com",
        "https://api.pulumi.com@evil.example",
        "https://api.pulumi.com#@evil.example",
        "https://api.pulumi.com?x=y",
        "evil.example",
        "mem://x",
        "file:///states?secret_key_path=/dev/zero",
    ],
)
def test_a_backend_s_url_that_is_not_read_everywhere_alike_is_refused(tmp_path: Path, backend: str) -> None:
    project = Project(tmp_path, name="scaler", state_dir=tmp_path / ".scaler", backend=backend)
    allowed = {"SCALER_ALLOW_HOSTS": "own.example"}
    with pytest.raises(SpecError) as caught:
        backend_url(project, SPEC, allowed)
    assert caught.value.code == "backend_invalid"
    assert caught.value.why and "PULUMI_BACKEND_URL" in caught.value.fix
    with pytest.raises(SpecError):
        backend_url(replace(project, backend=None), replace(SPEC, backend=backend), allowed)
    with pytest.raises(SpecError):
        project.backend_of("none", allowed)
    # The environment is trusted with it, if it is one of a state backend.
    if "://" in backend and not backend.startswith(("file", "mem", " ")):
        assert backend_url(project, SPEC, {"PULUMI_BACKEND_URL": backend}) == backend


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("bogus://x", "does not begin with one of file://, s3://"),
        ("mem://x", "does not begin with one of"),
        ("evil.example", "does not begin with one of"),
        ("s3", "does not begin with one of"),
        ("s3://", "no bucket"),
        ("gs://?anonymous=true", "no bucket"),
        ("azblob:///x", "no bucket"),
        ("https://", "no host"),
    ],
)
def test_a_variable_that_is_no_url_of_a_backend_is_named_before_the_engine_starts(url: str, why: str) -> None:
    with pytest.raises(UsageError, match="PULUMI_BACKEND_URL") as caught:
        choose_backend(None, None, {"PULUMI_BACKEND_URL": url})
    assert why in caught.value.why
    assert "s3://bucket" in caught.value.fix


_ODD = st.lists(
    st.sampled_from([*"aZ0.:/@#?%&=\\[]-_ \n\t\u2100", "evil.example", "127.0.0.1", "%2F", "://"]), max_size=8
).map("".join)


@settings(deadline=None, max_examples=300)
@given(value=_ODD)
def test_no_value_leads_an_address_away_from_the_vendor(value: str) -> None:
    """As the engine and the stores compose it (aws-sdk-go: endpoints; gocloud.dev: azureblob.NewServiceURL)."""
    for url, address, end in (
        (f"s3://b?region={quote(value)}", f"https://b.s3.{value}.amazonaws.com/x", ".amazonaws.com"),
        (f"s3://{value}", f"https://{re.split('[/?]', value)[0]}.s3.amazonaws.com/x", ".amazonaws.com"),
        (
            f"azblob://c?storage_account={quote(value)}",
            f"https://{value}.blob.core.windows.net/c",
            ".core.windows.net",
        ),
    ):
        try:
            assert backend_of(url).hosts == frozenset()
        except ValueError:
            continue
        assert (urlsplit(address).hostname or "").endswith(end), url


@settings(deadline=None, max_examples=300)
@given(value=_ODD)
def test_the_host_of_an_endpoint_is_the_one_that_is_checked(value: str) -> None:
    for url, address in (
        (f"s3://b?endpoint={quote(value)}", value if "://" in value else f"https://{value}"),
        (f"postgres://me@{value}/db", f"postgres://me@{value}/db"),
        (f"https://{value}", f"https://{value}"),
    ):
        try:
            hosts = backend_of(url).hosts
        except ValueError:
            continue
        if hosts:
            assert hosts == {urlsplit(address).hostname}, url
