"""The wheel and the source distribution: built from a copy of the repository, installed, and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from scaler.support.version import VERSION
from tests.support.project import ROOT

DATA = {
    "scaler/config/schema/spec.schema.json",
    "scaler/engine/build/go.mod",
    "scaler/engine/build/go.sum",
    "scaler/page/static/page.css",
    "scaler/page/static/page.js",
    "scaler/page/static/uplot/LICENSE",
    "scaler/page/static/uplot/uPlot-1.6.32.iife.min.js",
    "scaler/page/static/uplot/uPlot-1.6.32.min.css",
    "scaler/page/templates/page.html",
    "scaler/py.typed",
}
"""What the package needs beside its modules."""

_DEADLINE_S = 300

# What `pip wheel` and `build` call, with the setuptools that is installed here: nothing is fetched.
_BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def run(words: Sequence[str | Path], folder: Path, *, code: int = 0) -> str:
    """What the program prints: to stdout, or to stderr if it is to fail with this code."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "SCALER"))}
    done = subprocess.run(
        words, check=False, cwd=folder, env=environ, capture_output=True, text=True, timeout=_DEADLINE_S
    )
    assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stderr if code else done.stdout


def build(kind: str, source: Path, target: Path) -> Path:
    """Build `sdist` or `wheel` of the source folder; returns the file."""
    printed = run([sys.executable, "-c", _BUILD, f"build_{kind}", target], source)
    return target / printed.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, of what a fresh clone has."""
    copy = tmp_path_factory.mktemp("clone")
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], ROOT)
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    return build("sdist", copy, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as an installer without a wheel does."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    [source] = folder.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


def test_the_source_distribution_has_the_package_and_its_data(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert sdist.name == f"pulumi_scaler-{VERSION}.tar.gz"
    assert {*DATA, "LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "pyproject.toml"} <= names
    assert not {name for name in names if name.startswith(("tests/", ".github/"))}


def test_the_wheel_has_every_module_and_no_other_folder(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "scaler").rglob("*.py")}
    assert wheel.name == f"pulumi_scaler-{VERSION}-py3-none-any.whl"
    assert {name.split("/")[0] for name in names} == {"scaler", f"pulumi_scaler-{VERSION}.dist-info"}
    assert {name for name in names if name.startswith("scaler/")} == modules | DATA


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Callable[..., Path]:
    """Make a virtual environment with the wheel, without an index; returns its folder.

    The dependencies are this interpreter's own packages, less those that are left out. They are lent by a line of a
    .pth file, which adds a folder but reads none of its .pth files: this checkout is not found there.
    """

    def install(*left_out: str) -> Path:
        folder, lent = tmp_path / "venv", tmp_path / "lent"
        venv.create(folder, with_pip=False)
        options = ["--no-index", "--no-deps", "--disable-pip-version-check", "--quiet"]
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
        run([*pip, *options, wheel], tmp_path)
        lent.mkdir()
        for package in Path(sysconfig.get_path("purelib")).iterdir():
            if package.name.split("-")[0] not in left_out:
                (lent / package.name).symlink_to(package)
        (packages_of(folder) / "lent.pth").write_text(f"{lent}\n", encoding="utf-8")
        return folder

    return install


def packages_of(folder: Path) -> Path:
    """Where a virtual environment keeps its packages."""
    [packages] = (folder / "lib").glob("python*/site-packages")
    return packages


def test_the_installed_wheel_runs_and_finds_its_data(installed: Callable[..., Path], tmp_path: Path) -> None:
    folder = installed()
    packages = packages_of(folder)
    code = "import scaler, importlib.metadata as m; print(scaler.__file__); print(m.version('pulumi-scaler'))"
    file, version = run([folder / "bin" / "python", "-c", code], tmp_path).splitlines()
    assert Path(file) == packages / "scaler" / "__init__.py"
    assert version == VERSION
    assert run([folder / "bin" / "scaler", "--version"], tmp_path) == f"scaler {VERSION}\n"
    assert {name for name in DATA if (packages / name).is_file()} == DATA
    # It reads a file of the package's data.
    run([folder / "bin" / "scaler", "init", "-C", "."], tmp_path)
    schema = packages / "scaler" / "config" / "schema" / "spec.schema.json"
    assert (tmp_path / "stacks" / "spec.schema.json").read_bytes() == schema.read_bytes()


def test_without_the_extra_the_embedded_cloud_says_how_to_install_it(
    installed: Callable[..., Path], tmp_path: Path
) -> None:
    command = installed("starlette", "uvicorn") / "bin" / "scaler"
    run([command, "init", "-C", "."], tmp_path)
    run([command, "validate"], tmp_path)
    for words in (["sim", "serve"], ["preview", "1"]):
        printed = run([command, *words], tmp_path, code=1)
        assert "The embedded cloud is not installed." in printed
        assert re.search(r"pip install '?\S+\.whl\[simulator\]'?", printed), "as it was installed: from the wheel"
