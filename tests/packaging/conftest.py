"""The wheel and the source distribution, and a virtual environment that has the wheel."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.packaging.building import build, packages_of, run
from tests.support.project import ROOT


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, of what a fresh clone has."""
    copy = tmp_path_factory.mktemp("clone")
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], ROOT)
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    return build("sdist", copy, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as an installer without a wheel does."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    [source] = folder.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a virtual environment with the wheel, without an index, once for each choice; returns its folder.

    The dependencies are this interpreter's own packages, less those that are left out. They are lent by a line of a
    .pth file, which adds a folder but reads none of its .pth files: this checkout is not found there.
    """

    @cache
    def install(*left_out: str) -> Path:
        place = tmp_path_factory.mktemp("installed")
        folder, lent = place / "venv", place / "lent"
        venv.create(folder, with_pip=False)
        options = ["--no-index", "--no-deps", "--disable-pip-version-check", "--quiet"]
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
        run([*pip, *options, wheel], place)
        lent.mkdir()
        for package in Path(sysconfig.get_path("purelib")).iterdir():
            if package.name.split("-")[0] not in left_out:
                (lent / package.name).symlink_to(package)
        (packages_of(folder) / "lent.pth").write_text(f"{lent}\n", encoding="utf-8")
        return folder

    return install
