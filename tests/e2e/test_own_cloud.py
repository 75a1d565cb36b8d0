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


def scaler(folder: Path, *arguments: str, also: str = "") -> subprocess.CompletedProcess[str]:
    # The package's folder on the path, with its dist-info, is what an installation would be.
    search = os.pathsep.join(filter(None, [str(PACKAGE), str(Path(__file__).parents[2]), also]))
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
    (tmp_path / "stacks" / "dev.yaml").write_text(SPEC.replace("folder", "foldr"))
    refused = scaler(tmp_path, "validate")
    assert refused.returncode == 65
    (problem,) = json.loads(refused.stdout)["error"]["problems"]
    assert problem["message"] == "cloud must be hetzner or digitalocean or folder, not 'foldr'"
    assert problem["fix"] == "did you mean folder?"


def test_init_knows_the_clouds_of_packages(tmp_path: Path) -> None:
    unknown = scaler(tmp_path, "init", "--cloud", "foldr")
    assert (unknown.returncode, json.loads(unknown.stdout)["error"]["fix"]) == (64, "Did you mean folder?")
    assert list(tmp_path.iterdir()) == []
    assert scaler(tmp_path, "init", "--cloud", "folder").returncode == 0
    path = tmp_path / "stacks" / "dev.yaml"
    assert scaler(tmp_path, "validate").returncode == 0
    # What nobody but its owner knows has to be filled in.
    path.write_text(path.read_text().replace("[TYPE]", "[small]").replace("[LOCATION]", "[here]"))
    assert scaler(tmp_path, "preview", "1").returncode == 0


def test_a_cloud_that_calls_itself_something_else_is_told_so(tmp_path: Path) -> None:
    """The package is installed under another name than the one that its class has."""
    offered = tmp_path / "site" / "renamed-1.dist-info"
    offered.mkdir(parents=True)
    (offered / "METADATA").write_text("Metadata-Version: 2.1\nName: renamed\nVersion: 1\n")
    (offered / "entry_points.txt").write_text("[scaler.clouds]\nbox = folder_cloud:VENDOR\nlost = folder_cloud:NONE\n")
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: own\nmain: stacks\nruntime: python\n")
    for cloud, code, words in (
        ("box", "cloud_name", "The cloud box calls itself folder."),
        ("lost", "cloud_not_loaded", "The cloud lost cannot be loaded."),
    ):
        (tmp_path / "stacks" / "dev.yaml").write_text(SPEC.replace("folder", cloud))
        told = scaler(tmp_path, "preview", "1", also=str(tmp_path / "site"))
        error = json.loads(told.stdout)["error"]
        assert (told.returncode, error["code"], error["message"]) == (1, code, words)
        assert "entry point" in error["why"]
