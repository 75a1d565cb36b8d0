"""Which passphrase or secrets provider the engine is told of. Pure."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from scaler.engine.secrets import chosen_provider, default_passphrase, name_variable, require_passphrase_file
from scaler.errors import EngineError

EMPTY = {"PULUMI_CONFIG_PASSPHRASE": ""}
KMS = "awskms://alias/scaler"


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
