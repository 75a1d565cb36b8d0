"""Establish: make the stack's id durable before a server carries it, and give it to claimed servers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from scaler.clouds import GoneError
from scaler.converge.knowledge import Knowledge
from scaler.converge.ports import Ports
from scaler.converge.recognise import yield_to_backend
from scaler.converge.record import save
from scaler.model import Machine, Step
from scaler.planning.claims import describe_claimed

_AT_ONCE = 10


def establish(knowledge: Knowledge, steps: Sequence[Step], ports: Ports) -> Knowledge:
    """Save the stack's id, and what is claimed, in the backend and the state file; then claim.

    `steps` are those of the plan. One engine process; none if the backend has all that already. Where
    another run has saved another id meanwhile, and no server carries ours, theirs is the stack's: the
    run must observe again.
    """
    if not is_established(knowledge):
        assert knowledge.identity is not None  # noqa: S101 - an observation keeps it
        ports.stack.establish(knowledge.identity)
        knowledge = yield_to_backend(replace(knowledge, stack=ports.stack.read()), ports.place)
        save(knowledge, ports, steps)
    if knowledge.claimed:
        save(knowledge, ports, steps)
        _claim(knowledge.claimed, knowledge, ports)
    return knowledge


def is_established(knowledge: Knowledge) -> bool:
    """Return whether the backend has the stack's id and place, and all that is claimed."""
    saved, identity = knowledge.stack.identity, knowledge.identity
    if saved is None or identity is None:
        return identity is None
    is_same = (saved.id, saved.place) == (identity.id, identity.place)
    return is_same and set(identity.claims) <= set(saved.claims)


def _claim(machines: Sequence[Machine], knowledge: Knowledge, ports: Ports) -> None:
    """Give machines the stack's labels. What is claimed is recorded: a run after a kill goes on."""

    def label(machine: Machine) -> None:
        with suppress(GoneError):
            ports.cloud.set_labels(machine.id, knowledge.owner.claim(machine.labels))

    for machine in machines:
        ports.progress.note(describe_claimed(machine))
    if machines:
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            list(pool.map(label, machines))
