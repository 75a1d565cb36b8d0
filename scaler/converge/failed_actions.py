"""Requests that the cloud accepted and failed to carry out: it tells so only whoever asks for the action."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from scaler.clouds import ActionFailedError, CloudError, Work
from scaler.converge.knowledge import Knowledge
from scaler.converge.ports import Ports
from scaler.model import Machine
from scaler.model.lifecycle import Phase, Status

_WORKS: Mapping[Status, tuple[Work, str]] = {
    Status.DELETING: ("delete", "deletion"),
    Status.REBOOTING: ("reboot", "reboot"),
}


def note_failed(knowledge: Knowledge, machines: Sequence[Machine], ports: Ports) -> Knowledge:
    """Ask of machines that are listed as if nothing were done to them whether what was asked for has failed.

    A machine whose deletion failed is there as before, and a server whose reboot failed was not rebooted.
    """
    ask: Callable[[Collection[str], Work], Mapping[str, str]] | None = getattr(ports.cloud, "failed", None)
    if ask is None:
        return knowledge
    records = {server.id: server for server in knowledge.records.values()}
    idle = [machine for machine in machines if machine.seen and not machine.locked and machine.id in records]
    for status, (work, called) in _WORKS.items():
        ids = [each.id for each in idle if records[each.id].status is status and each.phase is not Phase.DELETING]
        errors = {}
        for machine, why in _ask(ask, ids, work).items():
            name = records[machine].name
            errors[name] = ActionFailedError(
                f"The {called} of {name} failed at the cloud.", why=why, fix="Run the same command again."
            )
            ports.progress.note(f"the {called} of {name} failed at the cloud: {why}")
        if work == "delete":
            knowledge = replace(knowledge, undeleted={**knowledge.undeleted, **errors})
        else:
            knowledge = replace(knowledge, not_rebooted={**knowledge.not_rebooted, **errors})
    return knowledge


def _ask(
    ask: Callable[[Collection[str], Work], Mapping[str, str]], ids: Sequence[str], work: Work
) -> Mapping[str, str]:
    """Return nothing where the cloud cannot tell now: the next observation asks again."""
    try:
        return ask(ids, work) if ids else {}
    except CloudError:
        return {}
