"""A cloud of one's own, offered by an installed package, through the whole engine path (Q12)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "clouds" / "own_cloud"
SPEC = """\
cloud: folder
groups:
  worker: {count: 2, image: any, type: small, location: here, labels: {role: worker}}
"""


def scaler(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The package's folder on the path, with its dist-info, is what an installation would be.
    search = os.pathsep.join([str(PACKAGE), str(Path(__file__).parents[2])])
    environ = {**os.environ, "PYTHONPATH": search, "FOLDER_CLOUD": f"http://localhost{folder / 'machines'}"}
    return subprocess.run(
        [sys.executable, "-m", "scaler", "-C", str(folder), *arguments, "-o", "json"],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )


def machines(folder: Path) -> list[str]:
    return sorted(json.loads(path.read_text())["name"] for path in (folder / "machines").glob("*.json"))


@pytest.mark.acceptance("Q12")
def test_the_whole_life_of_servers_at_a_cloud_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: own\nmain: stacks\nruntime: python\n")
    (tmp_path / "stacks" / "dev.yaml").write_text(SPEC)

    grown = scaler(tmp_path, "ensure", "3", "--yes")
    assert grown.returncode == 0, grown.stdout + grown.stderr
    assert machines(tmp_path) == ["dev-worker-1", "dev-worker-2", "dev-worker-3"]
    assert json.loads(scaler(tmp_path, "ensure", "3", "--yes").stdout)["outcome"] == "unchanged"

    (tmp_path / "machines" / "1.json").unlink()
    assert scaler(tmp_path, "ensure", "3", "--yes").returncode == 0
    assert len(machines(tmp_path)) == 3

    assert scaler(tmp_path, "ensure", "1", "--yes").returncode == 0
    assert len(machines(tmp_path)) == 1
    assert scaler(tmp_path, "destroy", "--yes").returncode == 0
    assert machines(tmp_path) == []


@pytest.mark.acceptance("Q12")
def test_an_unknown_cloud_is_still_refused(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: own\nmain: stacks\nruntime: python\n")
    (tmp_path / "stacks" / "dev.yaml").write_text(SPEC.replace("folder", "folders"))
    assert scaler(tmp_path, "validate").returncode == 65
