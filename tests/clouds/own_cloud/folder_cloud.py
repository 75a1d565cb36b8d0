"""A cloud of one's own, complete: its machines are JSON files in a folder, and run at once.

What a package must do to offer a cloud: a `Vendor` under an entry point of the group
`scaler.clouds`, whose `open` returns something that satisfies `scaler.clouds.Cloud`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scaler.clouds import Catalogue, GoneError, Image, Limits, NameTakenError, Offer, Reference, oldest_first
from scaler.clouds.registry import Vendor
from scaler.model import ImageRef, Machine, MachineRequest, Requests
from scaler.model.lifecycle import Phase
from scaler.model.ownership import Owner
from scaler.support.clock import Clock, format_time, parse_time


class FolderCloud:
    """Every file `<id>.json` in the folder is a machine."""

    name = "folder"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._counts = {"total": 0, "create": 0, "list": 0}

    def list_owned(self, owner: Owner) -> list[Machine]:
        self._count("list")
        machines = [self._read(path) for path in self._folder.glob("*.json")]
        return oldest_first([machine for machine in machines if owner.owns(machine.labels)])

    def get(self, id: str) -> Machine:
        self._count()
        return self._read(self._path(id))

    def find(self, name: str, owner: Owner) -> list[Machine]:
        return [machine for machine in self.list_owned(owner) if machine.name == name]

    def create(self, request: MachineRequest) -> Machine:
        self._count("create")
        with self._lock:
            known = [self._read(path) for path in self._folder.glob("*.json")]
            if any(machine.name == request.name for machine in known):
                raise NameTakenError(f"there is a machine {request.name}")
            number = str(max((int(machine.id) for machine in known), default=0) + 1)
            told: dict[str, Any] = {"name": request.name, "status": "up", "created": format_time(datetime.now(UTC))}
            told |= {"labels": dict(request.labels), "type": request.type, "location": request.location}
            self._path(number).write_text(json.dumps(told | {"image": request.image}))
            return self._read(self._path(number))

    def delete(self, id: str) -> None:
        self._count()
        try:
            self._path(id).unlink()
        except FileNotFoundError:
            raise GoneError(f"there is no machine {id}") from None

    def power_on(self, id: str) -> None:
        self._change(id, status="up")

    def power_off(self, id: str) -> None:
        self._change(id, status="off")

    shutdown = power_off
    reboot = power_on

    def cpu(self, id: str) -> float | None:
        """What the file says, if it says something."""
        told = json.loads(self._path(self.get(id).id).read_text())
        return float(told["cpu"]) if "cpu" in told else None

    def set_labels(self, id: str, labels: Mapping[str, str]) -> None:
        self._change(id, labels=dict(labels))

    def find_image(self, image: ImageRef, architecture: str, location: str) -> Image:
        del location
        now = datetime.now(UTC)
        return Image(id="1", name=image.value, created=now, available=True, disk=1, architecture=architecture)

    def reference(self, kind: Reference, name: str) -> str:
        del kind
        return name

    def catalogue(self) -> Catalogue:
        free = Decimal(0)
        offer = Offer(
            type="small",
            location="here",
            available=True,
            disk=10,
            architecture="x86",
            per_hour=free,
            per_month=free,
        )
        return Catalogue(currency="EUR", offers=(offer,))

    def limits(self) -> Limits:
        return Limits()

    @property
    def requests(self) -> Requests:
        return Requests(**self._counts)

    def close(self) -> None:
        """Nothing is open."""

    # -- files ---------------------------------------------------------------------------------

    def _path(self, id: str) -> Path:
        return self._folder / f"{id}.json"

    def _read(self, path: Path) -> Machine:
        try:
            told = json.loads(path.read_text())
        except FileNotFoundError:
            raise GoneError(f"there is no machine {path.stem}") from None
        return Machine(
            id=path.stem,
            phase=Phase.RUNNING if told["status"] == "up" else Phase.OFF,
            vendor_status=told["status"],
            created=parse_time(told["created"]),
            ipv4="127.0.0.1",
            **{key: told[key] for key in ("name", "labels", "type", "location", "image")},
        )

    def _change(self, id: str, **facts: object) -> None:
        self._count()
        self.get(id)
        self._path(id).write_text(json.dumps(json.loads(self._path(id).read_text()) | facts))

    def _count(self, kind: str | None = None) -> None:
        with self._lock:
            self._counts["total"] += 1
            if kind:
                self._counts[kind] += 1


def _open(endpoint: str, _token: str, _clock: Clock, _deadlines: object) -> FolderCloud:
    return FolderCloud(Path(urlsplit(endpoint).path))


VENDOR = Vendor(
    title="Folder cloud",
    endpoint="http://localhost/tmp/folder-cloud",
    endpoint_variable="FOLDER_CLOUD",
    token_variables=(),
    client="folder_cloud",
    open=_open,
)
