"""Every Python name of scaler, and every file of the repository, that a page mentions exists."""

from __future__ import annotations

import re
from pathlib import Path
from pkgutil import resolve_name

ROOT = Path(__file__).parents[2]
PAGES = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
FILES = {"scaler.service", "scaler.timer", "scaler.fish", "scaler.yml"}
"""Files of systemd, of a shell and of GitHub, and no Python names."""


def exists(name: str) -> bool:
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


NAMES = {name for page in PAGES for name in re.findall(r"\bscaler(?:\.\w+)+", page.read_text(encoding="utf-8"))}
# Resolved here and not in the test: the import of an HTTP client opens a socket, which a unit test must not.
MISSING = sorted(name for name in NAMES - FILES if not exists(name))


def test_every_name_on_a_page_exists() -> None:
    assert {"scaler.clouds.Cloud", "scaler.model.ownership.encode_tags"} <= NAMES
    assert MISSING == []
    assert not exists("scaler.ownership.encode_tags")


def test_every_file_on_a_page_exists() -> None:
    pages = {page for page in PAGES if page.parent != ROOT or page.name == "README.md"}
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    named = set(re.findall(r"`((?:scaler|tests|ci|policies)/[\w./-]+\.\w+)`", text))
    assert "tests/e2e/test_ci.py" in named
    assert sorted(path for path in named if not (ROOT / path).exists()) == []
