"""Two machines changed the records that both had read: make one of both. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from scaler.model import Server
from scaler.model.orders import newest
from scaler.planning.names import natural
from scaler.records.state import State

T = TypeVar("T")


def chosen(base: T, ours: T, theirs: T, both: Callable[[T, T], T]) -> T:
    """Return what changed since `base`; if that is both and they differ, what `both` makes of ours and theirs."""
    if ours in (base, theirs):
        return theirs
    return ours if theirs == base else both(ours, theirs)


def merge(base: State | None, ours: State, theirs: State) -> State:
    """Return the state with what either side changed since `base`, server by server.

    Where both changed the same server, the later change holds. None is lost: a server that one side has
    forgotten and the other has changed stays.
    """
    before = base.records if base else {}
    names = sorted({*ours.records, *theirs.records}, key=natural)
    servers = [chosen(before.get(name), ours.records.get(name), theirs.records.get(name), _later) for name in names]
    orders = chosen(base.orders if base else None, ours.orders, theirs.orders, lambda own, shared: newest(shared, own))
    assert orders is not None  # noqa: S101 - both sides have orders
    return replace(
        theirs,
        serial=max(ours.serial, theirs.serial),
        updated=max(ours.updated, theirs.updated),
        wanted=orders.wanted,
        servers=tuple(server for server in servers if server),
        identity=chosen(
            base.identity if base else None, ours.identity, theirs.identity, lambda own, shared: shared or own
        ),
        orders=orders,
    )


def _later(ours: Server | None, theirs: Server | None) -> Server | None:
    if ours is None or theirs is None:
        return ours or theirs
    return ours if ours.since > theirs.since else theirs
