"""What the official plugins' words mean, and what of a stack's configuration is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaler.clouds import (
    AmbiguousError,
    AuthError,
    BusyError,
    CloudError,
    InvalidError,
    NameTakenError,
    NoCapacityError,
    QuotaError,
    RateLimitedError,
)
from scaler.clouds.registry import CLOUDS
from scaler.engine.official import environ_of_plugin, error_of, refuse_other_place
from scaler.errors import RefusedError, SpecError

_FRAME = "error: 1 error occurred:\n\t* creating urn:pulumi:demo::p::t::demo-worker-1: 1 error occurred:\n\t* {}\n\n"
_POST = "Error creating droplet: POST https://api.digitalocean.com/v2/droplets: "


@pytest.mark.parametrize(
    ("cloud", "said", "meaning"),
    [
        # pulumi-hcloud#104, terraform-hcloud-kube-hetzner#1539
        ("hetzner", "error during placement (resource_unavailable)", NoCapacityError),
        ("hetzner", "error during placement (resource_unavailable, 1d1d17e504e28a4c)", NoCapacityError),
        ("hetzner", "server name is already used (uniqueness_error, 1d1d17e504e28a4c)", NameTakenError),
        ("hetzner", "server limit exceeded (resource_limit_exceeded, 1d)", QuotaError),
        ("hetzner", "insufficient permissions (forbidden, 1d)", AuthError),
        ("hetzner", "token is read-only (token_readonly)", AuthError),
        ("hetzner", "limit of 3600 requests per hour reached (rate_limit_exceeded)", RateLimitedError),
        ("hetzner", "server is locked (locked, 1d)", BusyError),
        ("hetzner", "ssh key with ID '1' not found (not_found, 1d)", InvalidError),
        ("hetzner", "no placement possible (placement_error, 1d)", InvalidError),
        ("hetzner", "API request failed\n\nError code: resource_unavailable\nStatus code: 412", NoCapacityError),
        ("hetzner", "hcloud: server responded with status code 503", AmbiguousError),
        ("hetzner", 'Post "https://api.hetzner.cloud/v1/servers": EOF', AmbiguousError),
        ("hetzner", "rpc error: code = Unavailable desc = transport is closing", AmbiguousError),
        ("hetzner", "image debian-99 not found", CloudError),
        # darknode-cli#5, kelda PR#1359
        ("digitalocean", _POST + "422 Region is not available", NoCapacityError),
        ("digitalocean", _POST + '422 (request "4f3c") Size is not available in this region.', NoCapacityError),
        ("digitalocean", _POST + '422 (request "4f3c") this would exceed your droplet limit', QuotaError),
        ("digitalocean", _POST + '422 (request "4f3c") image is not available in the selected region', InvalidError),
        ("digitalocean", 'Error creating droplet: Post "https://d/v2/droplets": EOF', AmbiguousError),
        ("digitalocean", _POST + '403 (request "4f3c") You are not authorized', AuthError),
        ("digitalocean", _POST + "401 Unable to authenticate you", AuthError),
        ("digitalocean", _POST + '429 (request "4f3c") API Rate limit exceeded.', RateLimitedError),
        ("digitalocean", _POST + "503 Service Unavailable", AmbiguousError),
        ("digitalocean", "context deadline exceeded", AmbiguousError),
        ("digitalocean", "unexpected droplet", CloudError),
    ],
)
def test_what_a_plugins_words_mean(cloud: str, said: str, meaning: type[CloudError]) -> None:
    error = error_of(cloud, "demo-worker-1", _FRAME.format(said))
    assert type(error) is meaning
    assert said.split("\n", maxsplit=1)[0] in error.why
    assert "demo-worker-1" in str(error)


def test_the_variables_of_the_plugins() -> None:
    assert environ_of_plugin(CLOUDS["hetzner"], endpoint="http://h/v1", token="t") == {
        "HCLOUD_ENDPOINT": "http://h/v1",
        "HCLOUD_TOKEN": "t",
    }
    assert environ_of_plugin(CLOUDS["digitalocean"], endpoint="http://d", token="t") == {
        "DIGITALOCEAN_API_URL": "http://d",
        "DIGITALOCEAN_TOKEN": "t",
        "DIGITALOCEAN_ACCESS_TOKEN": "t",
    }


@pytest.mark.parametrize(
    ("file", "text", "refused"),
    [
        ("Pulumi.demo.yaml", "config: {hcloud:token: {secure: abc}}", "hcloud:token"),
        ("Pulumi.demo.yaml", "config: {hcloud:endpoint: 'http://h/v1'}", "hcloud:endpoint"),
        ("Pulumi.yaml", "name: p\nconfig: {hcloud:token: abc}", "hcloud:token"),
        ("Pulumi.demo.yaml", "config: {hcloud:pollInterval: 1s, digitalocean:token: abc}", None),
        ("Pulumi.other.yaml", "config: {hcloud:token: abc}", None),
        ("Pulumi.demo.yaml", "encryptionsalt: v1", None),
        ("Pulumi.yaml", "name: p\nplugins: {providers: [{name: hcloud, path: ./x}]}", "plugins"),
        ("Pulumi.yaml", "name: p\npackages: {hcloud: ./x}", "packages"),
        ("Pulumi.json", '{"name": "p", "Plugins": {}}', "Plugins"),
        ("Pulumi.demo.yml", "config: {hcloud:config:token: abc}", "hcloud:config:token"),
    ],
)
def test_another_place_in_the_configuration_is_refused(
    tmp_path: Path, file: str, text: str, refused: str | None
) -> None:
    (tmp_path / file).write_text(text)
    if refused is None:
        refuse_other_place(tmp_path, "demo", "hcloud")
        return
    with pytest.raises(RefusedError) as caught:
        refuse_other_place(tmp_path, "demo", "hcloud")
    assert refused in caught.value.why
    assert file in caught.value.what


def test_files_that_cannot_be_read_with_certainty_are_refused(tmp_path: Path) -> None:
    for text in ("config: [", "a: 2026-02-30\nconfig: {hcloud:token: abc}", 'a: "\\U00110000"'):
        (tmp_path / "Pulumi.demo.yaml").write_text(text)
        with pytest.raises(SpecError, match="cannot be read"):
            refuse_other_place(tmp_path, "demo", "hcloud")


@pytest.mark.parametrize("name", ["Pulumi.demo.yaml", "Pulumi.yaml"])
def test_a_configuration_that_is_no_mapping_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("description: x\nconfig: [1]\n")
    with pytest.raises(SpecError) as caught:
        refuse_other_place(tmp_path, "demo", "hcloud")
    assert caught.value.exit_code == 65
    assert caught.value.why == "line 2: config must be a mapping of names to values"


def test_the_configuration_may_be_in_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: p\nstackConfigDir: config\n")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "Pulumi.demo.yaml").write_text("config: {digitalocean:apiEndpoint: 'http://d'}")
    with pytest.raises(RefusedError):
        refuse_other_place(tmp_path, "demo", "digitalocean")
