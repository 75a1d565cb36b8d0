"""What the engine itself costs: the same program, with a cloud that answers at once and nothing."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from scaler.clouds import Cloud, GoneError
from scaler.engine.stack import PulumiStack
from scaler.model import Machine, MachineRequest
from scaler.model.lifecycle import Phase
from scaler.model.ownership import Owner
from tests.engine.stack_project import Project, names


class EmptyCloud:
    """A cloud whose machines exist as soon as they are asked for."""

    name = "hetzner"

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}

    def create(self, request: MachineRequest) -> Machine:
        """Make a machine."""
        machine = Machine(
            id=str(len(self.machines) + 1),
            name=request.name,
            phase=Phase.RUNNING,
            vendor_status="running",
            labels=request.labels,
            type=request.type,
            location=request.location,
            image=request.image,
            created=datetime.now(UTC),
        )
        self.machines[machine.id] = machine
        return machine

    def get(self, id: str) -> Machine:
        """Return a machine by its id."""
        try:
            return self.machines[id]
        except KeyError:
            raise GoneError(f"There is no {id}.") from None

    def list_owned(self, owner: Owner) -> list[Machine]:
        """Return all machines."""
        return list(self.machines.values())

    def find(self, name: str, owner: Owner) -> list[Machine]:
        """Return the machines of a name."""
        return [machine for machine in self.machines.values() if machine.name == name]

    def set_labels(self, id: str, labels: Mapping[str, str]) -> None:
        """Label a machine."""
        self.machines[id] = dataclasses.replace(self.machines[id], labels=labels)


def engine_s(size: int) -> float:
    """Seconds that one `up` of so many servers takes where the cloud takes none."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder), "http://127.0.0.1:9/v1")
        cloud: Cloud = EmptyCloud()  # type: ignore[assignment]  # an `up` asks for nothing else
        project.cloud = cloud
        project.stack = PulumiStack(project.spec, lambda: project.engine, project.backend, cloud, project.clock)
        project.scale(names(1))
        started = time.monotonic()
        applied = project.scale(names(size))
        assert len(applied.accepted) == size - 1, applied.failure
        return time.monotonic() - started
