"""Recognise: is this the world that the stack's records are of, and what is recorded of it from now on?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from scaler.clouds import CloudError
from scaler.converge.knowledge import Knowledge
from scaler.converge.ports import Ports
from scaler.model import Machine, Spec, StackState
from scaler.model.identity import Identity, Place, new_id
from scaler.model.ownership import ID
from scaler.planning.recognition import check_account, check_place


def recorded_identity(stack: StackState, ports: Ports) -> Identity | None:
    """Return the stack's identity: as its outputs have it, which everyone shares, else as our records have it."""
    recorded = ports.records.identity()
    return stack.identity.united_with(recorded) if stack.identity else recorded


def recognise_place(spec: Spec, identity: Identity | None, ports: Ports) -> None:
    """Refuse a place other than the recorded one; ask whose a new token is, where the cloud says it."""
    if identity is None:
        return
    check_place(spec, identity, ports.place)
    if identity.account and not identity.is_proven(ports.place):
        check_account(spec, identity, _account(ports))


def is_known(recorded: Identity | None) -> bool:
    """Return whether the stack has an id: one that an older version recorded has none."""
    return recorded is not None and bool(recorded.id)


def identity_or_new(recorded: Identity | None, ports: Ports) -> Identity:
    """Return the recorded identity, or one with a new id, which nobody has seen yet."""
    if recorded is not None and recorded.id:
        return recorded
    return Identity(id=new_id(), project=ports.place.project, cloud=ports.place.cloud)


def identity_here(identity: Identity, claimed: Iterable[Machine], ports: Ports) -> Identity:
    """Return the identity to record from now on: the token has seen all servers that there should be.

    `claimed` are the machines that do not carry the stack's id yet; other claims are done, or pointless.
    """
    account = identity.account
    if not account and not identity.tokens:
        account = _account(ports) or ""
    claims = tuple(sorted(machine.id for machine in claimed))
    identity = replace(identity, account=account, claims=claims)
    return identity.at(ports.place).with_token(ports.place)


def yield_to_backend(knowledge: Knowledge, place: Place) -> Knowledge:
    """Take the backend's id for the stack's, if another run saved it and no server carries ours."""
    ours, theirs = knowledge.identity, knowledge.stack.identity
    if ours is None or theirs is None or theirs.id in ("", ours.id):
        return knowledge
    claimed = {machine.id for machine in knowledge.claimed}
    machines = (machine for machine in knowledge.world.machines.values() if machine.id not in claimed)
    if any(machine.labels.get(ID) == ours.id for machine in machines):
        return knowledge
    return replace(knowledge, identity=theirs.claiming(ours.claims).at(place).with_token(place))


def _account(ports: Ports) -> str | None:
    """Return the account's own id; None if the cloud does not say it, or not with this token."""
    ask: Callable[[], str | None] | None = getattr(ports.cloud, "account", None)
    if ask is None:
        return None
    try:
        return ask()
    except CloudError:
        return None
