"""The conformance that `scaler.testing` offers to authors of clouds, over our two and one of one's own (Q12)."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from scaler.clouds import AmbiguousError, Cloud
from scaler.clouds.registry import open_cloud
from scaler.model import MachineRequest
from scaler.support.clock import SystemClock
from scaler.testing import (
    OWNER,
    CloudConformance,
    EmbeddedClock,
    EmbeddedCloud,
    FaultRules,
    embedded_clock,
    embedded_cloud,
    embedded_faults,
)
from tests.support.own_cloud import OWN_CLOUD, FolderCloud
from tests.support.vendors import ENVIRON

__all__ = ["embedded_clock", "embedded_cloud", "embedded_faults"]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-cloud.md"


def snapshot(cloud: EmbeddedCloud, name: Literal["hetzner", "digitalocean"]) -> str:
    return str(cloud.world.find(name, "snapshot", "worker-golden")[0].id)


class TestHetzner(CloudConformance):
    @pytest.fixture
    def cloud(self, embedded_cloud: EmbeddedCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
        facts = {"type": "cx23", "location": "fsn1", "image": snapshot(embedded_cloud, "hetzner")}
        monkeypatch.setattr(type(self), "request_facts", facts)
        opened = open_cloud("hetzner", endpoint=embedded_cloud.hetzner_endpoint, environ=ENVIRON, clock=SystemClock())
        yield opened
        opened.close()


class TestDigitalOcean(CloudConformance):
    @pytest.fixture
    def cloud(self, embedded_cloud: EmbeddedCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
        facts = {"type": "s-1vcpu-2gb", "location": "fra1", "image": snapshot(embedded_cloud, "digitalocean")}
        monkeypatch.setattr(type(self), "request_facts", facts)
        opened = open_cloud(
            "digitalocean", endpoint=embedded_cloud.digitalocean_endpoint, environ=ENVIRON, clock=SystemClock()
        )
        yield opened
        opened.close()


class TestQ12FolderCloud(CloudConformance):
    request_facts: ClassVar[Mapping[str, Any]] = {"type": "small", "location": "here", "image": "1"}

    @pytest.fixture
    def cloud(self, tmp_path: Path) -> Cloud:
        cloud: Cloud = FolderCloud(tmp_path / "machines")
        return cloud


# ---------------------------------------------------------------------------------------------
# As a plugin of its author's tests


def author(folder: Path, **files: str) -> subprocess.CompletedProcess[str]:
    """The tests of somebody who uses the kit, run in a pytest of their own."""
    (folder / "conftest.py").write_text('pytest_plugins = ["scaler.testing"]\n', encoding="utf-8")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{OWN_CLOUD}:{Path(__file__).parents[2]}"},
        capture_output=True,
        text=True,
        check=False,
    )


def blocks() -> dict[str, str]:
    """The page's files, by their names without `.py`."""
    found = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return dict(found)


@pytest.mark.acceptance("Q12")
def test_the_documented_tests_pass(tmp_path: Path) -> None:
    ran = author(tmp_path, **blocks())
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "warning" not in ran.stdout


@pytest.mark.acceptance("Q12")
@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("def list_owned(self, owner): return []", "assert [] == ['1']"),
        ("def delete(self, id): pass", "it did not become so in time"),
        ("def set_labels(self, id, labels): pass", "it did not become so in time"),
    ],
    ids=["lists-nothing", "deletes-nothing", "labels-nothing"],
)
def test_a_cloud_that_does_not_do_it_fails_and_the_values_are_told(tmp_path: Path, broken: str, told: str) -> None:
    text = blocks()["test_folder_cloud"].replace("return FolderCloud(", "return Broken(")
    text = text.replace("class TestFolderCloud", f"class Broken(FolderCloud):\n    {broken}\n\n\nclass TestFolderCloud")
    ran = author(tmp_path, test_broken=text.replace("request_facts = ", "within_s = 0.3\n    request_facts = "))
    assert ran.returncode == 1
    assert told in ran.stdout


def test_the_clock_moves_only_when_somebody_sleeps(
    embedded_cloud: EmbeddedCloud, embedded_clock: EmbeddedClock
) -> None:
    before = (embedded_clock.now(), embedded_clock.monotonic())
    assert (embedded_clock.now(), embedded_clock.monotonic()) == before
    embedded_clock.sleep(90)
    assert embedded_clock.monotonic() - before[1] == 90
    assert embedded_cloud.world.now == embedded_clock.monotonic()
    assert embedded_clock.now() - before[0] == timedelta(seconds=90)


def test_a_fault_comes_about_and_one_that_does_not_is_told(
    embedded_cloud: EmbeddedCloud, embedded_faults: FaultRules
) -> None:
    embedded_faults("accept_then_drop", method="POST", path="/servers$")
    assert len(embedded_faults.unused) == 1
    opened = open_cloud("hetzner", endpoint=embedded_cloud.hetzner_endpoint, environ=ENVIRON, clock=SystemClock())
    order = MachineRequest(
        name="prod-worker-1",
        type="cx23",
        location="fsn1",
        image=snapshot(embedded_cloud, "hetzner"),
        labels=OWNER.group_labels("worker", "a1b2"),
    )
    with pytest.raises(AmbiguousError):
        opened.create(order)
    assert [machine.name for machine in opened.list_owned(OWNER)] == ["prod-worker-1"]
    assert embedded_faults.unused == []
    opened.close()
