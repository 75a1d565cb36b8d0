"""The wheel and the source distribution, and a virtual environment that has the wheel: made once for all workers."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.packaging.building import build, packages_of, run
from tests.support.project import ROOT


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Make a folder of this name by a function, if no other worker of this session has; returns the folder."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder = shared / name
        with FileLock(f"{folder}.lock"):
            if not (folder / ".made").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                (folder / ".made").touch()
        return folder

    return make


@pytest.fixture(scope="session")
def sdist(make_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The source distribution, of what a fresh clone has."""

    def fill(folder: Path) -> None:
        copy = folder / "clone"
        for name in run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], ROOT).splitlines():
            if (ROOT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, copy / name)
        build("sdist", copy, folder)

    [archive] = make_once("sdist", fill).glob("*.tar.gz")
    return archive


@pytest.fixture(scope="session")
def wheel(sdist: Path, make_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The wheel, built from the source distribution as an installer without a wheel does."""

    def fill(folder: Path) -> None:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder / "unpacked", filter="data")
        [source] = (folder / "unpacked").iterdir()
        build("wheel", source, folder)

    [file] = make_once("wheel", fill).glob("*.whl")
    return file


@pytest.fixture(scope="session")
def installed(wheel: Path, make_once: Callable[[str, Callable[[Path], object]], Path]) -> Callable[..., Path]:
    """Make a virtual environment with the wheel, without an index, once for each choice; returns its folder.

    The dependencies are this interpreter's own packages, less those that are left out. They are lent by a line of a
    .pth file, which adds a folder but reads none of its .pth files: this checkout is not found there.
    """

    def install(*left_out: str) -> Path:
        def fill(place: Path) -> None:
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

        return make_once("-".join(("installed", *left_out)), fill) / "venv"

    return install
