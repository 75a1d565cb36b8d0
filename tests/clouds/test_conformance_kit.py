"""The conformance that `scaler.testing` offers to authors of clouds, over our two and one of one's own (Q12)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud_vendors import ENVIRON

from scaler.clock import SystemClock
from scaler.clouds import Cloud
from scaler.clouds.registry import open_cloud
from scaler.testing import CloudConformance, EmbeddedCloud, embedded_cloud

sys.path.insert(0, str(Path(__file__).parent / "own_cloud"))

from folder_cloud import FolderCloud

__all__ = ["embedded_cloud"]


def snapshot(cloud: EmbeddedCloud, name: str) -> str:
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
    request_facts = {"type": "small", "location": "here", "image": "1"}

    @pytest.fixture
    def cloud(self, tmp_path: Path) -> Cloud:
        return FolderCloud(tmp_path / "machines")
