"""The wheel and the source distribution: built from a copy of the repository, installed, and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from scaler.support.version import VERSION
from tests.packaging.building import packages_of, run
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


USER_PROGRAM = """\
from datetime import timedelta

from scaler import Scaler
from scaler.clouds import Cloud
from scaler.errors import LimitError, ScalerError
from scaler.model import Outcome, Result, Server


def ready(result: Result) -> list[Server]:
    return [server for server in result.servers if server.running]


def scale(folder: str, number: int, cloud: Cloud) -> int:
    stack = Scaler(folder, stack="prod", lock_timeout=30)
    try:
        result = stack.ensure({"worker": number}, timeout=timedelta(minutes=5), max_change=3)
    except LimitError as error:
        raise SystemExit(error.fix) from error
    except ScalerError:
        return 1
    addresses: list[str | None] = [server.ipv4 for server in ready(result)]
    ages: list[float] = [(event.at - result.servers[0].since).total_seconds() for event in stack.history() if event.at]
    tick = stack.autoscale(apply=False)
    wanted: dict[str, int] = {name: decision.count for name, decision in tick.decisions.items()}
    return len(addresses) + len(ages) + len(wanted) if result.outcome is Outcome.CONVERGED else 1


def wrong(stack: Scaler, number: str, server: Server) -> str:
    stack.ensure({"worker": number})  # dict-item
    stack.ensure(3, max_changes=3)  # call-arg
    server.ipv5  # attr-defined
    return stack.why("prod-worker-1").server
"""
"""What a user may write; a comment is the mistake that mypy must find in its line."""


INNER = "scaler.wiring,scaler.engine.*,scaler.hooks.*,scaler.config.*,pulumi.*,pydantic.*,hcloud.*,requests.*,rich.*"
"""What no program of a user sees: reading it too takes mypy four times as long."""


def test_a_users_program_is_checked_against_the_packages_types(installed: Callable[..., Path], tmp_path: Path) -> None:
    """Of an installed package, mypy reads the types only where it says that it has them."""
    (tmp_path / "program.py").write_text(USER_PROGRAM, encoding="utf-8")
    settings = f"[mypy]\nstrict = True\n[mypy-{INNER.replace(',', ',mypy-')}]\nfollow_imports = skip\n"
    (tmp_path / "mypy.ini").write_text(settings, encoding="utf-8")
    python = installed() / "bin" / "python"
    mypy: list[str | Path] = [sys.executable, "-m", "mypy", "--python-executable", python, "--cache-dir", os.devnull]
    done = subprocess.run([*mypy, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    found = re.findall(r"program.py:(\d+): error: .* \[(.+)\]", done.stdout)
    lines = enumerate(USER_PROGRAM.splitlines(), 1)
    assert found == [(str(number), line.split("  # ")[1]) for number, line in lines if "  # " in line], done.stdout


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
