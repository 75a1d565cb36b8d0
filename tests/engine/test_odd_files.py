"""What others put in the place of the engine's files and folders is neither read nor followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scaler.engine.backend import LocalBackend
from scaler.engine.odd_files import refuse_odd_files
from scaler.engine.settings import EngineSettings
from scaler.engine.work_folder import copied_project
from scaler.errors import EngineError, StateError


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    """The engine of a stack that has been there for a while."""
    folder = tmp_path / "project"
    root = folder / ".scaler" / "pulumi" / ".pulumi"
    for path in ("stacks/shop", "locks/organization/shop/dev", "history/shop/dev", "backups/shop/dev"):
        (root / path).mkdir(parents=True)
    for path in ("logs", "workspaces"):
        (folder / ".scaler" / "engine" / path).mkdir(parents=True)
    (folder / "Pulumi.yaml").write_text("name: shop\n")
    (folder / "Pulumi.dev.yaml").write_text("encryptionsalt: x\n")
    return EngineSettings(
        binary=Path("pulumi"),
        version="v3.274.1",
        project="shop",
        stack="dev",
        directory=folder,
        backend=f"file://{folder}/.scaler/pulumi",
        home=folder / ".scaler" / "engine",
        environ={},
        package="hcloud",
    )


def check(settings: EngineSettings) -> None:
    refuse_odd_files(settings, LocalBackend.at(settings.backend, settings.project, settings.stack))


FOLDERS = (
    ".scaler/engine", ".scaler/engine/logs", ".scaler/engine/workspaces",
    ".scaler/pulumi/.pulumi/stacks", ".scaler/pulumi/.pulumi/stacks/shop",
    ".scaler/pulumi/.pulumi/locks", ".scaler/pulumi/.pulumi/locks/organization/shop/dev",
    ".scaler/pulumi/.pulumi/history/shop", ".scaler/pulumi/.pulumi/backups",
)  # fmt: skip


@pytest.mark.parametrize("place", FOLDERS)
def test_a_link_in_the_place_of_a_folder_is_refused(settings: EngineSettings, tmp_path: Path, place: str) -> None:
    check(settings)
    path = settings.directory / place
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineError) as caught:
        check(settings)
    assert caught.value.code == "odd_file"
    assert str(path) in caught.value.why
    assert "link" in caught.value.why


def _link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "absent")


@pytest.mark.parametrize(
    ("place", "put"),
    [
        ("Pulumi.dev.yaml", _link_to_nothing),
        ("Pulumi.dev.json", _link_to_nothing),
        (".scaler/engine/workspaces/shop-1-workspace.json", _link_to_nothing),
        (".scaler/engine/credentials.json", _link_to_nothing),
        ("Pulumi.dev.yaml", os.mkfifo),
        (".scaler/pulumi/.pulumi/meta.yaml", os.mkfifo),
    ],
)
def test_links_and_pipes_in_the_place_of_files(
    settings: EngineSettings, place: str, put: Callable[[Path], None]
) -> None:
    path = settings.directory / place
    path.unlink(missing_ok=True)
    put(path)
    with pytest.raises(EngineError) as caught:
        check(settings)
    assert str(path) in caught.value.why


def test_links_of_the_user_and_of_the_engine_are_followed(settings: EngineSettings, tmp_path: Path) -> None:
    """The state folder may be elsewhere, settings may be shared, and the engine names its newest log by a link."""
    (settings.directory / "Pulumi.dev.yaml").rename(tmp_path / "shared.yaml")
    (settings.directory / "Pulumi.dev.yaml").symlink_to(tmp_path / "shared.yaml")
    (settings.directory / ".scaler").rename(tmp_path / "state")
    (settings.directory / ".scaler").symlink_to(tmp_path / "state")
    (settings.directory / ".scaler" / "engine" / "logs" / "pulumi.INFO").symlink_to("pulumi.1.log")
    check(settings)


def test_a_copy_of_the_project_is_not_made_where_a_link_leads(settings: EngineSettings, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    home = settings.directory / ".scaler" / "engine"
    (home / "project").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="cannot be made") as caught:
        copied_project(settings.directory, "dev", home / "project")
    assert "link" in caught.value.why
    assert not list((tmp_path / "elsewhere").iterdir())
