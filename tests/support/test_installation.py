"""The command that adds an extra is right for how scaler was installed."""

from __future__ import annotations

import json
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

from scaler.support.installation import (
    DISTRIBUTION,
    Installation,
    Installer,
    command_for,
    find_installation,
    install_command,
    pip_of,
    read_installation,
    uninstalled,
)


def distribution(folder: Path, installer: str, origin: dict[str, object] | None = None) -> Distribution:
    """The metadata that an installer leaves behind: the extra `have` is complete, `lack` is not."""
    info = folder / f"{DISTRIBUTION.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: 0.1.0\nRequires-Dist: click>=8\n"
        "Requires-Dist: pytest>=1; extra == 'have'\nRequires-Dist: PyYAML; extra == \"have\"\n"
        "Requires-Dist: no-such-distribution>=2; extra == 'lack'\n"
    )
    (info / "INSTALLER").write_text(f"{installer}\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))
    return PathDistribution(info)


CLONE = {"url": "file:///srv/my%20scaler", "dir_info": {"editable": True}}
FOLDER = {"url": "file:///srv/scaler", "dir_info": {}}
WHEEL = {"url": "file:///srv/pulumi_scaler-0.1.0-py3-none-any.whl", "archive_info": {}}
REPOSITORY = {
    "url": "https://git.example/scaler.git",
    "vcs_info": {"vcs": "git", "requested_revision": "v1", "commit_id": "f00"},
}
ARCHIVE = {"url": "https://files.example/pulumi_scaler-0.1.0-py3-none-any.whl", "archive_info": {}}


@pytest.mark.parametrize(
    ("installer", "marker", "origin", "command"),
    [
        ("pip", "", None, "pip install 'pulumi-scaler[hetzner]'"),
        ("pip", "", CLONE, "pip install --editable '/srv/my scaler[hetzner]'"),
        ("pip", "", FOLDER, "pip install '/srv/scaler[hetzner]'"),
        ("pip", "", WHEEL, "pip install '/srv/pulumi_scaler-0.1.0-py3-none-any.whl[hetzner]'"),
        ("pip", "", REPOSITORY, "pip install 'pulumi-scaler[hetzner] @ git+https://git.example/scaler.git@v1'"),
        ("pip", "", ARCHIVE, f"pip install 'pulumi-scaler[hetzner] @ {ARCHIVE['url']}'"),
        ("uv", "", None, "uv pip install --python {prefix} 'pulumi-scaler[hetzner]'"),
        ("uv", "", CLONE, "uv pip install --python {prefix} --editable '/srv/my scaler[hetzner]'"),
        ("pip", "pipx_metadata.json", None, "pipx install --force 'pulumi-scaler[have,hetzner]'"),
        ("uv", "pipx_metadata.json", None, "pipx install --force 'pulumi-scaler[have,hetzner]'"),
        ("pip", "pipx_metadata.json", FOLDER, "pipx install --force '/srv/scaler[have,hetzner]'"),
        ("uv", "uv-receipt.toml", None, "uv tool install 'pulumi-scaler[have,hetzner]'"),
        ("uv", "uv-receipt.toml", CLONE, "uv tool install --editable '/srv/my scaler[have,hetzner]'"),
    ],
)
def test_the_command_fits_the_installer_and_the_origin(
    tmp_path: Path, installer: str, marker: str, origin: dict[str, object] | None, command: str
) -> None:
    if marker:
        (tmp_path / marker).touch()
    found = read_installation(distribution(tmp_path, installer, origin), tmp_path, "pip")
    assert command_for(found, ("hetzner",)) == command.format(prefix=tmp_path)


def test_metadata_that_cannot_be_read_count_as_none(tmp_path: Path) -> None:
    made = distribution(tmp_path, "pip", {})
    (tmp_path / "pulumi_scaler-0.1.0.dist-info" / "direct_url.json").write_text("{")
    assert command_for(read_installation(made, tmp_path, "pip"), ("hetzner",)) == "pip install 'pulumi-scaler[hetzner]'"


def test_a_source_tree_that_is_not_installed_is_installed_in_place(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    found = uninstalled(tmp_path, tmp_path, "pip")
    assert command_for(found, ("autoscale",)) == f"pip install --editable '{tmp_path}[autoscale]'"
    found = uninstalled(tmp_path / "site-packages", tmp_path, "pip")
    assert command_for(found, ("autoscale",)) == "pip install 'pulumi-scaler[autoscale]'"


def test_pip_alone_is_said_only_where_it_is_the_right_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = tmp_path / "bin" / "pip"
    pip.parent.mkdir()
    pip.write_text("#!/bin/sh\n")
    pip.chmod(0o755)
    monkeypatch.setenv("PATH", str(pip.parent))
    assert pip_of(tmp_path / "bin" / "python") == "pip"
    assert pip_of(Path("/opt/other one/bin/python")) == "'/opt/other one/bin/python' -m pip"


def test_the_running_scaler_has_a_command_for_each_extra() -> None:
    found = find_installation()
    assert isinstance(found, Installation)
    assert found.installer in Installer
    assert install_command("hetzner", "autoscale").endswith("hetzner,autoscale]'")
