"""Recognise: is this the world that the stack's records are of, and what is recorded of it from now on?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from scaler.clouds import (
    CloudError,
)
from scaler.converge.ports import Ports
from scaler.model import Spec, StackState
from scaler.model.identity import Identity, new_id
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


def identity_here(recorded: Identity | None, ports: Ports) -> Identity:
    """Return the identity to record from now on: the token has seen all servers that there should be."""
    if recorded is None or not recorded.id:
        place = ports.place
        made = Identity(id=new_id(), project=place.project, cloud=place.cloud, endpoint=place.endpoint)
        return replace(made, account=_account(ports) or "").with_token(place)
    return recorded.at(ports.place).with_token(ports.place)


def _account(ports: Ports) -> str | None:
    """Return the account's own id; None if the cloud does not say it, or not with this token."""
    ask: Callable[[], str | None] | None = getattr(ports.cloud, "account", None)
    if ask is None:
        return None
    try:
        return ask()
    except CloudError:
        return None
