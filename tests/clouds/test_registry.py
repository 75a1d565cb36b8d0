"""Opening a cloud: credentials, endpoints, and what is loaded for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.clouds.registry import CLOUDS, open_cloud
from scaler.errors import CredentialsError, ScalerError, UsageError
from scaler.model.ownership import Owner, decode_tags, encode_tags
from scaler.support.installation import install_command
from tests.support.http_stub import HurriedClock, Stub, reply
from tests.support.vendors import TOKEN, Vendor

CLOCK = HurriedClock()


@pytest.mark.server
@pytest.mark.parametrize("variable", ["HCLOUD_TOKEN", "DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN"])
@pytest.mark.parametrize("by_file", [False, True])
def test_credentials_come_from_the_environment_or_a_file(variable: str, by_file: bool, tmp_path: Path) -> None:
    name = "hetzner" if variable.startswith("HCLOUD") else "digitalocean"
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    environ = {f"{variable}_FILE": str(path)} if by_file else {variable: TOKEN}
    with Stub(reply(500)) as stub:
        cloud = open_cloud(name, endpoint=stub.url, environ=environ, clock=CLOCK)
        with pytest.raises(ScalerError):
            cloud.get("1")
    assert {request.token for request in stub.requests} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("environ", [{}, {"HCLOUD_TOKEN": "", "DIGITALOCEAN_TOKEN": ""}])
def test_missing_credentials_name_the_variable(vendor: Vendor, environ: dict[str, str]) -> None:
    with pytest.raises(CredentialsError) as caught:
        open_cloud(vendor.name, endpoint=None, environ=environ, clock=CLOCK)
    assert caught.value.exit_code == 77
    assert CLOUDS[vendor.name].token_variables[0] in caught.value.why
    assert CLOUDS[vendor.name].token_variables[0] in caught.value.fix


@pytest.mark.parametrize("wrong", ["two words", "line\nbreak", "naïve", "tab\there"])
def test_a_token_that_no_header_can_carry_is_not_repeated(wrong: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        open_cloud("hetzner", endpoint=None, environ={"HCLOUD_TOKEN": wrong}, clock=CLOCK)
    assert wrong not in f"{caught.value} {caught.value.fix}"


def test_a_token_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="HCLOUD_TOKEN_FILE"):
        open_cloud("hetzner", endpoint=None, environ={"HCLOUD_TOKEN_FILE": str(tmp_path / "none")}, clock=CLOCK)


@pytest.mark.parametrize(
    "endpoint", ["nonsense", "ftp://host", "http://", "http://a..b", "http://h:port", "http://a b"]
)
def test_an_endpoint_that_is_no_url(vendor: Vendor, endpoint: str) -> None:
    environ = dict.fromkeys(CLOUDS[vendor.name].token_variables, TOKEN)
    with pytest.raises(UsageError, match="endpoint"):
        open_cloud(vendor.name, endpoint=endpoint, environ=environ, clock=CLOCK)


def test_an_endpoint_with_credentials_is_no_url_and_no_message_repeats_them(vendor: Vendor) -> None:
    entry = CLOUDS[vendor.name]
    environ = {**dict.fromkeys(entry.token_variables, TOKEN), entry.endpoint_variable: "https://me:s3cret@example.org"}
    with pytest.raises(UsageError, match=r"endpoint example\.org") as caught:
        open_cloud(vendor.name, endpoint=None, environ=environ, clock=CLOCK)
    assert "s3cret" not in str(caught.value)


@pytest.mark.server
def test_the_vendors_own_variable_names_the_endpoint(vendor: Vendor) -> None:
    entry = CLOUDS[vendor.name]
    with Stub(reply(200, vendor.page([]))) as stub:
        environ = {entry.token_variables[0]: TOKEN, entry.endpoint_variable: f"{stub.url}{vendor.base}/"}
        cloud = open_cloud(vendor.name, endpoint=None, environ=environ, clock=CLOCK)
        assert cloud.list_owned(Owner("shop", "prod")) == []
    assert stub.requests[0].path.startswith(f"{vendor.machines}?")


@pytest.mark.acceptance("P21", "Q14")
def test_an_unknown_cloud_is_refused_and_the_known_ones_told() -> None:
    with pytest.raises(UsageError, match="aws") as caught:
        open_cloud("aws", endpoint=None, environ={}, clock=CLOCK)
    assert all(name in caught.value.fix for name in CLOUDS)


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_registry_loads_no_client() -> None:
    code = "import sys, scaler.clouds.registry; print({'hcloud', 'pydo', 'requests', 'azure'} & set(sys.modules))"
    assert _python(code) == "set()"


def test_one_cloud_does_not_load_the_others_client() -> None:
    code = "import sys, scaler.clouds.hetzner; print({'pydo', 'azure'} & set(sys.modules))"
    assert _python(code) == "set()"


@pytest.mark.parametrize("name", CLOUDS)
def test_a_client_that_is_not_installed_is_named(name: str) -> None:
    client, variable = CLOUDS[name].client, CLOUDS[name].token_variables[0]
    code = f"""
import sys
sys.modules[{client!r}] = None
from scaler.support.clock import SystemClock
from scaler.clouds.registry import open_cloud
from scaler.errors import ScalerError
try:
    open_cloud({name!r}, endpoint=None, environ={{{variable!r}: "x"}}, clock=SystemClock())
except ScalerError as error:
    print(error.fix)
"""
    assert _python(code) == install_command(name)


LABEL = st.text("abcXYZ019-_", min_size=1, max_size=20)


@given(st.dictionaries(LABEL | st.just("scaler"), LABEL | st.just("") | st.just("scaler")))
def test_labels_survive_being_tags(labels: dict[str, str]) -> None:
    assert decode_tags(encode_tags(labels)) == labels


def test_tags_of_one_key_are_all_kept() -> None:
    tags = ["env:eu", "env:prod", "env", "role:worker"]
    assert sorted(encode_tags(decode_tags(tags))) == sorted(tags)
    labels = {"env": "", "env:eu": "", "env:prod": "", "role": "worker"}
    assert decode_tags(tags) == decode_tags(tags[::-1]) == labels


@given(project=LABEL, stack=LABEL, group=LABEL)
def test_ownership_survives_being_tags(project: str, stack: str, group: str) -> None:
    owner = Owner(project, stack)
    labels = decode_tags(encode_tags(owner.group_labels(group, "a1b2")))
    assert owner.owns(labels)
    assert not Owner(project, f"{stack}x").owns(labels)


def test_the_contracts_spelling_of_tags() -> None:
    labels = Owner("p", "s").group_labels("g", "h")
    assert encode_tags(labels) == [
        "scaler",
        "scaler-project:p",
        "scaler-stack:s",
        "scaler-group:g",
        "scaler-template:h",
    ]


@pytest.mark.server
@pytest.mark.acceptance("P20")
def test_opening_gives_the_cloud_and_sends_nothing(vendor: Vendor) -> None:
    with Stub(reply(500)) as stub:
        environ = dict.fromkeys(CLOUDS[vendor.name].token_variables, TOKEN)
        cloud = open_cloud(vendor.name, endpoint=stub.url, environ=environ, clock=CLOCK)
        assert cloud.name == vendor.name
        cloud.close()
    assert stub.requests == []
