"""Which passphrase or secrets provider the engine is told of. Pure."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from scaler.engine.secrets import (
    chosen_provider,
    default_passphrase,
    name_variable,
    require_allowed_settings,
    require_passphrase_file,
)
from scaler.errors import EngineError, RefusedError, ScalerError, SpecError

EMPTY = {"PULUMI_CONFIG_PASSPHRASE": ""}
KMS = "awskms://alias/scaler"
EVIL = f"secretsprovider: {KMS}?endpoint=evil.example"


@pytest.mark.parametrize(
    ("environ", "provider", "expected"),
    [
        ({}, None, EMPTY),
        ({"PULUMI_CONFIG_PASSPHRASE_FILE": ""}, None, EMPTY),
        ({"PULUMI_CONFIG_PASSPHRASE_FILE": "/run/passphrase"}, None, {}),
        ({"PULUMI_CONFIG_PASSPHRASE": "x"}, None, {}),
        ({"PULUMI_CONFIG_PASSPHRASE": ""}, None, {}),
        ({}, KMS, {}),
    ],
)
def test_the_empty_passphrase_is_a_default_only_where_nothing_else_chooses(
    environ: Mapping[str, str], provider: str | None, expected: Mapping[str, str]
) -> None:
    assert default_passphrase(environ, provider) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"Pulumi.prod.yaml": "encryptionsalt: v1:x"}, None),
        ({"Pulumi.prod.yaml": "secretsprovider: passphrase"}, None),
        ({"Pulumi.prod.yaml": "secretsprovider: default"}, None),
        ({"Pulumi.prod.yaml": f"secretsprovider: {KMS}"}, KMS),
        ({"Pulumi.prod.json": f'{{"secretsprovider": "{KMS}"}}'}, KMS),
        ({"Pulumi.other.yaml": f"secretsprovider: {KMS}"}, None),
        ({"Pulumi.yaml": "stackConfigDir: settings", "settings/Pulumi.prod.yaml": f"secretsprovider: {KMS}"}, KMS),
        ({"Pulumi.prod.yaml": "secretsprovider: [broken"}, None),
        ({"Pulumi.prod.yaml": "- a list"}, None),
    ],
)
def test_the_provider_of_the_stack_s_settings_file(
    tmp_path: Path, files: Mapping[str, str], expected: str | None
) -> None:
    (tmp_path / "settings").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert chosen_provider(tmp_path, "prod") == expected


SETTINGS = "Pulumi.prod.yaml"


def provider(url: str) -> dict[str, str]:
    return {SETTINGS: f"secretsprovider: {url!r}"}


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({}, None),
        ({SETTINGS: "encryptionsalt: v1:x\nconfig:\n  a:b: c\n"}, None),
        ({SETTINGS: ""}, None),
        (provider("passphrase"), None),
        (provider("awskms://alias/scaler"), None),
        (provider("awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd?region=eu-central-1"), None),
        (provider("awskms://alias/scaler?region=eu-central-1&context_team=ops&awssdk=v2"), None),
        (provider("gcpkms://projects/p/locations/global/keyRings/r/cryptoKeys/k"), None),
        (provider("azurekeyvault://acme.vault.azure.net/keys/scaler"), None),
        (provider("hashivault://scaler"), None),
        (provider("awskms://alias/scaler?endpoint=own.example"), None),
        (provider("awskms://alias/scaler?endpoint=http://127.0.0.1:4566"), None),
        (provider("awskms://alias/scaler?endpoint=evil.example"), RefusedError),
        (provider("awskms://alias/scaler?endpoint=http://own.example"), RefusedError),
        (provider("azurekeyvault://evil.example/keys/k"), RefusedError),
        (provider("azurekeyvault://acme.vault.azure.net.evil.example/keys/k"), RefusedError),
        (provider("azurekeyvault://acme.vault.azure.net/../evil.example/x.vault.azure.net/keys/k"), SpecError),
        (provider("azurekeyvault://me@evil.example/keys/k"), SpecError),
        (provider("awskms://alias/scaler?endpoint=https://evil.example%5C@127.0.0.1"), SpecError),
        (provider("awskms://alias/scaler?region=x@evil.example/"), SpecError),
        (provider("gcpkms://projects/p?endpoint=evil.example"), SpecError),
        (provider("hashivault://../../v1/secret/x"), SpecError),
        (provider("hashivault://scaler?address=https://evil.example"), SpecError),
        (provider("file:///etc/passwd"), SpecError),
        # Where the engine looks first, or as well.
        ({"Pulumi.prod.json": '{"secretsProvider": "azurekeyvault://evil.example/keys/k"}'}, RefusedError),
        (
            {"Pulumi.yaml": "stackConfigDir: settings", **{f"settings/{SETTINGS}": EVIL}},
            RefusedError,
        ),
        ({"Pulumi.yaml": "config: settings", **{f"settings/{SETTINGS}": EVIL}}, RefusedError),
        ({"Pulumi.json": '{"stackConfigDir": "settings"}', **{f"settings/{SETTINGS}": EVIL}}, RefusedError),
        # What scaler cannot read, the engine may.
        ({SETTINGS: EVIL + "\n---\na: 1"}, SpecError),
        ({SETTINGS: f"!!binary c2VjcmV0c3Byb3ZpZGVy: {KMS}?endpoint=evil.example"}, SpecError),
        ({SETTINGS: EVIL + "\nx: !own y"}, SpecError),
        ({SETTINGS: EVIL + "\n#" + "x" * (1 << 20)}, SpecError),
        ({SETTINGS: "- a list"}, SpecError),
        ({SETTINGS: "config: [1]"}, SpecError),
    ],
)  # fmt: skip
def test_no_key_goes_to_a_host_that_only_a_settings_file_names(
    tmp_path: Path, files: Mapping[str, str], error: type[Exception] | None
) -> None:
    (tmp_path / "settings").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    environ = {"SCALER_ALLOW_HOSTS": "own.example"}
    if error is None:
        require_allowed_settings(tmp_path, "prod", environ)
        return
    with pytest.raises(error) as caught:
        require_allowed_settings(tmp_path, "prod", environ)
    assert isinstance(caught.value, ScalerError)
    assert caught.value.why and caught.value.fix and "Pulumi" in f"{caught.value} {caught.value.why}"


@pytest.mark.parametrize("kind", ["device", "pipe", "too large", "empty", "a line break"])
def test_a_passphrase_is_in_a_regular_file(tmp_path: Path, kind: str) -> None:
    """The engine would read nothing there, and encrypt with the empty passphrase, or read without end."""
    file = tmp_path / "passphrase"
    if kind == "device":
        file.symlink_to("/dev/null")
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.write_bytes({"too large": b"x" * (1 << 20), "empty": b"", "a line break": b"\n"}[kind])
    with pytest.raises(EngineError, match="PULUMI_CONFIG_PASSPHRASE_FILE"):
        require_passphrase_file({"PULUMI_CONFIG_PASSPHRASE_FILE": str(file)})
    require_passphrase_file({"PULUMI_CONFIG_PASSPHRASE_FILE": str(file), "PULUMI_CONFIG_PASSPHRASE": "x"})
    file.unlink()
    require_passphrase_file({"PULUMI_CONFIG_PASSPHRASE_FILE": str(file)})  # the engine says so itself, if it needs it


def test_the_error_of_a_wrong_passphrase_names_the_variable() -> None:
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" in name_variable("error: getting snapshot: incorrect passphrase")
    assert name_variable("error: no such host") == "error: no such host"
    told = "incorrect passphrase, please set PULUMI_CONFIG_PASSPHRASE"
    assert name_variable(told) == told
