"""A disk that is full when servers were created: the run says that something changed, and the next one finds them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.project import Project, finish, wait_until

CHUNK = b"\0" * 4096


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 4 MB at this folder; yields the path of a file to fill it with."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder / "ballast"
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(ballast: Path) -> None:
    """Write until nothing more fits."""
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(CHUNK)
        except OSError:
            return


@pytest.mark.one_cloud
def test_w18_a_disk_that_is_full_after_two_creates(served: Project, tmp_path: Path) -> None:
    served.world.set_knobs(boot_s=2)
    outputs, document = tmp_path / "outputs.env", tmp_path / "result.json"
    with small_disk(served.state_dir) as ballast:
        running = served.start(
            *("ensure", "2", "--yes", "-o", "json", "--dotenv", str(outputs), "--json-file", str(document))
        )
        wait_until(lambda: len(served.world.servers(served.vendor.name)) == 2, "two creates")
        fill(ballast)
        ran = finish(running)
        there = served.machines
        assert (ran.code, len(there)) == (1, 2), ran.stderr
        assert "no space left on device" in ran.stderr.lower()
        assert [step["result"] for step in ran.document["steps"] if step["action"] == "create"] == ["done", "done"]
        assert json.loads(document.read_text(encoding="utf-8")) == ran.document
        facts = dict(line.split("=", 1) for line in outputs.read_text(encoding="utf-8").splitlines())
        assert (facts["SCALER_CHANGED"], facts["SCALER_CREATED"], facts["SCALER_EXIT_CODE"]) == ("true", "2", "1")
        assert facts["SCALER_OUTCOME"] == "failed"

        # Full from the beginning: nothing is asked for, and nothing is said to have changed.
        asked = len(served.changes)
        ran = finish(served.start("ensure", "4", "--yes", "-o", "json", "--dotenv", str(outputs)))
        assert ran.code != 0
        assert served.machines == there
        if len(served.changes) == asked:
            assert "SCALER_CHANGED=false" in outputs.read_text(encoding="utf-8")

        ballast.unlink()
        served.ensure("2")
        assert served.agreed() == there
