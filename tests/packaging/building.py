"""Build the package, and run what was built."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

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


def packages_of(folder: Path) -> Path:
    """Where a virtual environment keeps its packages."""
    [packages] = (folder / "lib").glob("python*/site-packages")
    return packages
