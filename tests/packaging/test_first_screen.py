"""The README's first screen, in an empty folder with an empty home: from nothing to five embedded servers.

The test that is always run has the wheel and the packages of this interpreter. With SCALER_TEST_INSTALLERS=1, as in
`make night`, uv, pipx and pip fetch the packages as a user's do, and the engine is installed too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from scaler.engine import binary
from tests.support.project import ROOT

BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
TWO_COMMANDS, KEPT = BLOCKS[:2]
"""The README.md's first examples, of the language "sh"."""

PACKAGE = "'pulumi-scaler[hetzner,simulator]'"

pytestmark = pytest.mark.engine


def bash(script: str, folder: Path, environ: Mapping[str, str], *, within_s: float = 300) -> str:
    """Run a script as a person pastes it; what is typed at its questions is yes."""
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout


def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "workers"
    folder.mkdir()
    (tmp_path / "home").mkdir()
    return folder


def test_the_readme_begins_with_it() -> None:
    assert [line.split("#")[0].strip() for line in TWO_COMMANDS.splitlines()] == [
        f"uvx {PACKAGE} init --yes",
        f"uvx {PACKAGE} ensure 5 --yes",
    ]
    assert [line.split("#")[0].strip() for line in KEPT.splitlines()] == [
        f"pipx install {PACKAGE}",
        "scaler init",
        "scaler ensure 5",
    ]


def test_two_commands_make_five_servers(installed: Callable[..., Path], tmp_path: Path) -> None:
    """The wheel is installed before, and the engine is there: nothing is fetched."""
    folder = empty(tmp_path)
    engine = tmp_path / "home" / ".cache" / "scaler" / "engine" / binary.PINNED
    engine.mkdir(parents=True)
    (engine / "pulumi").symlink_to(binary.find(os.environ))
    command = installed() / "bin" / "pulumi-scaler"
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8"}
    told = bash(TWO_COMMANDS.replace(f"uvx {PACKAGE}", str(command)), folder, environ)
    assert "written  stacks/dev.yaml" in told
    assert "dev: 5 of 5 ready (+5, -0)" in told


# ---------------------------------------------------------------------------------------------
# With the real installers, over the network


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder, empty at first: the engine is installed once for all installers."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def fresh(wheel: Path, engines: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a user with Python, uv and pipx. The package is on no index yet, and is found as a wheel."""
    if not os.environ.get("SCALER_TEST_INSTALLERS"):
        pytest.skip("fetches packages and the engine: make night, or SCALER_TEST_INSTALLERS=1")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("uv", "uvx", "pipx"):
        (programs / name).symlink_to(Path(sys.executable).with_name(name))
    (programs / "python3").symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    given = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "UV_", "SSL_", "GOPROXY"))}
    environ = {
        **given,
        "PATH": f"{tmp_path / 'home' / '.local' / 'bin'}:{programs}:/usr/bin:/bin",
        "HOME": str(tmp_path / "home"),
        "LANG": "C.UTF-8",
        "XDG_CACHE_HOME": str(engines),
        "UV_FIND_LINKS": str(wheel.parent),
        "PIP_FIND_LINKS": f"{wheel.parent} {os.environ.get('PIP_FIND_LINKS', '')}",
    }
    if go := shutil.which("go"):
        environ["PATH"] += f":{Path(go).parent}"
        # What Go has fetched and built is lent: an engine takes 4 minutes otherwise.
        for name in ("GOMODCACHE", "GOCACHE"):
            environ[name] = subprocess.run(
                ["go", "env", name], capture_output=True, text=True, check=True
            ).stdout.strip()
    return environ


@pytest.mark.parametrize("tool", ["uvx", "pipx run"])
def test_two_commands_with_an_installer(tool: str, fresh: dict[str, str], tmp_path: Path) -> None:
    folder = empty(tmp_path)
    told = bash(TWO_COMMANDS.replace("uvx", tool), folder, fresh, within_s=3600)
    assert "dev: 5 of 5 ready (+5, -0)" in told
    assert (folder / ".gitignore").read_text(encoding="utf-8") == ".scaler/\n"


@pytest.mark.parametrize("tool", ["pipx install", "uv tool install", "pip install"])
def test_kept_with_an_installer(tool: str, fresh: dict[str, str], tmp_path: Path) -> None:
    """Nobody is there to be asked: its two questions are answered beforehand."""
    folder = empty(tmp_path)
    if tool == "pip install":
        venv.create(tmp_path / "venv", with_pip=True)
        fresh["PATH"] = f"{tmp_path / 'venv' / 'bin'}:{fresh['PATH']}"
    script = KEPT.replace("pipx install", tool).replace("scaler init", "scaler init --yes")
    told = bash(script.replace("ensure 5", "ensure 5 --yes"), folder, fresh, within_s=3600)
    assert "dev: 5 of 5 ready (+5, -0)" in told
