"""Which of the machines that carry a stack's names are the stack's (`contract.md` §7.1). Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from scaler.model import Machine
from scaler.model.ownership import ID, Owner
from scaler.support.durations import format_duration
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a run does about unclaimed servers."""

    everything: bool = False
    """Take all of them (`--adopt`)."""
    names: frozenset[str] = frozenset()
    """Take those of these names, or ids at the cloud."""
    leave_others: bool = False
    """Go on beside those that are not taken, instead of refusing the run."""
    moves: bool = False
    """Record another place than the recorded one, where all recorded servers are seen there."""

    def chosen(self, unclaimed: Iterable[Machine]) -> list[str]:
        """Return the ids of the machines to take."""
        return [machine.id for machine in unclaimed if self.everything or {machine.name, machine.id} & self.names]


def claim_of(names: Collection[str]) -> Claim:
    """Return what `scaler adopt` does: it takes these, or all, and moves the stack to where its servers are."""
    return Claim(everything=not names, names=frozenset(names), leave_others=bool(names), moves=not names)


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """Machines, by whose they are."""

    ours: tuple[Machine, ...]
    unclaimed: tuple[Machine, ...]
    """With the stack's names, and another id or none; or of the stack's records, with another id."""
    claimed: tuple[Machine, ...]
    """Those of ours that a run was told to take and that do not carry the stack's id yet."""
    relabelled: frozenset[str]
    """Ids of machines of the stack's records that carry another id, or the names of another project or stack."""


def sort_out(machines: Sequence[Machine], recorded: Collection[str], owner: Owner, claims: Collection[str]) -> Sorted:
    """Sort machines by whose they are.

    `recorded` are the ids of the machines that the stack's records know, `claims` those that a run
    was told to take. A recorded machine whose labels are absent is the stack's; one that is not
    recorded is so only with the stack's id. A claimed machine has the stack's labels from now on.
    """
    ours, claimed, unclaimed, relabelled = [], [], [], []
    for machine in machines:
        if owner.owns(machine.labels):
            ours.append(machine)
        elif machine.id in claims:
            claimed.append(replace(machine, labels=owner.claim(machine.labels)))
        elif machine.id not in recorded:
            unclaimed.append(machine)
        elif owner.excludes(machine.labels):
            relabelled.append(machine.id)
            if owner.is_anothers(machine.labels):
                unclaimed.append(machine)
        else:
            ours.append(machine)
    return Sorted(
        ours=(*ours, *claimed),
        claimed=tuple(claimed),
        unclaimed=tuple(unclaimed),
        relabelled=frozenset(relabelled),
    )


def describe_unclaimed(machine: Machine, now: datetime) -> str:
    """Return an unclaimed server in words: its name, its id at the cloud, whose it is, and its age."""
    whose = f"of the stack with the id {machine.labels[ID]}" if machine.labels.get(ID) else "without a stack's id"
    age = format_duration(max(now - machine.created, timedelta(0)))
    return f"{machine.name} ({machine.id}), {whose}, {age} old"


def describe_claimed(machine: Machine) -> str:
    """Return what happens to a machine that is claimed, in words."""
    return f"claiming {machine.name} ({machine.id})"
