"""The documentation is a site whose links all lead somewhere, and which asks no other host for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make_site(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "-s", "-o", f"{sys.prefix}/.installed", "site", f"VENV={sys.prefix}", f"SITE={site}"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_the_site_has_every_page_and_needs_no_other_host(tmp_path: Path) -> None:
    built = make_site(ROOT, tmp_path / "site")
    assert built.returncode == 0, built.stdout + built.stderr
    html = tmp_path / "site" / "html"
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT).with_suffix(".html").as_posix().replace("README.html", "index.html")
        assert (html / name).is_file(), name
    for page in html.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"""<(?:script|img|link|iframe)[^>]*?(?:src|href)=["']?(?:https?:)?//[^>]*""", text) == []


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE", "action.yml", "Makefile"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "ci", root / "ci")
    shutil.copytree(ROOT / "docs", root / "docs")
    shutil.copytree(ROOT / "tests/clouds/own_cloud", root / "tests/clouds/own_cloud")
    with (root / "docs/how-to/ci.md").open("a", encoding="utf-8") as page:
        page.write("\nSee [there](nowhere.md) and [here](health.md#nowhere).\n")
    built = make_site(root, tmp_path / "site")
    assert built.returncode != 0
    told = re.sub(r"\x1b\[[0-9;]*m", "", built.stdout + built.stderr)
    assert "how-to/ci.md" in told
    assert "2 issues" in told
