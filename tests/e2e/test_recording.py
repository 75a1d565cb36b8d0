"""The script that makes the README's recording of a terminal still runs, and shows what the README says."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.project import ROOT, Project

SVG = "{http://www.w3.org/2000/svg}"
RECORDING = ROOT / "docs" / "recording"


def shown(path: Path) -> str:
    """Return every text of an animation, without its spaces."""
    texts = ElementTree.parse(path).getroot().iter(f"{SVG}text")  # noqa: S314 - our own file
    return "".join("".join(text.itertext()) for text in texts).replace("\xa0", "").replace(" ", "")


def check(path: Path) -> None:
    assert path.stat().st_size < 200_000
    text = shown(path)
    for wanted in ("$scalerinit--yes", "$scalerensure5", "Plan:5toadd", "5of5ready", "$scalerstatus"):
        assert wanted in text
    # Pages show it as an image, and nothing in it is run or fetched.
    source = path.read_text(encoding="utf-8")
    assert "<script" not in source
    assert not re.findall(r"""(?:href|src)=["']http|url\(["']?http""", source)


def test_the_recording_of_the_readme_shows_five_servers() -> None:
    assert "docs/recording/first-run.svg" in (ROOT / "README.md").read_text(encoding="utf-8")
    check(RECORDING / "first-run.svg")


def test_the_recording_can_be_made_again(hetzner: Project, tmp_path: Path) -> None:
    if not importlib.util.find_spec("termtosvg"):
        pytest.skip("termtosvg-ng is not installed: make")
    target = tmp_path / "again.svg"
    environ = {**hetzner.environ, "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, RECORDING / "record.py", target], env=environ, check=True, timeout=600)
    check(target)
