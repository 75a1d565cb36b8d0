"""What the servers of a stack have cost, from the records, at list prices. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from scaler.autoscale.billing import bill
from scaler.model import Price, Server
from scaler.model.events import Event, EventName
from scaler.records.state import State
from scaler.support.values import dataclass

_ENDS = (EventName.DELETED, EventName.VANISHED)


@dataclass(frozen=True, kw_only=True)
class Life:
    """The time in which a server was paid for."""

    server: str
    group: str
    start: datetime
    end: datetime | None = None
    """None: it is still paid for."""


@dataclass(frozen=True)
class Spending:
    """What was spent in a time."""

    amounts: Mapping[str, Decimal]
    """By currency."""
    unknown: int
    """Servers without a known price, which are left out."""

    def __str__(self) -> str:
        known = " + ".join(f"{amount:.2f} {currency}" for currency, amount in sorted(self.amounts.items()))
        if not self.unknown:
            return known or "nothing"
        return f"{known} (without {self.unknown} of unknown price)" if known else "not known"


def spent(state: State | None, events: Iterable[Event], start: datetime, now: datetime) -> Spending:
    """Return what was spent between two times: the cost until the end, less the cost until the start."""
    amounts: dict[str, Decimal] = defaultdict(Decimal)
    unknown = 0
    prices = _prices(state)
    for life in lives(state, events):
        end = min(life.end or now, now)
        if end <= start or life.start >= end:
            continue
        price = prices.get(life.server) or prices.get(life.group)
        if price is None or state is None:
            unknown += 1
            continue
        amounts[price.currency] += _cost(state.cloud, price, life.start, end)
        if life.start < start:
            amounts[price.currency] -= _cost(state.cloud, price, life.start, start)
    return Spending(amounts, unknown)


def lives(state: State | None, events: Iterable[Event]) -> list[Life]:
    """Return the time in which each server was paid for, as far as the event log and the records say."""
    ended: list[Life] = []
    going: dict[str, Life] = {}
    for event in events:
        if event.server is None or event.at is None:
            continue
        name, known = event.server, going.get(event.server)
        if event.event in _ENDS:
            if known:
                ended.append(replace(going.pop(name), end=event.at))
        elif event.event == EventName.CREATING or known is None:
            # An attempt before it that has no end was refused, and cost nothing.
            going[name] = Life(server=name, group=event.group or "", start=event.at)
    return [*ended, *_recorded(state, going, {(life.server, life.end) for life in ended})]


def _recorded(
    state: State | None, going: Mapping[str, Life], ended: set[tuple[str, datetime | None]]
) -> Iterable[Life]:
    """Yield the servers that the records still have: the event log may have begun after them."""
    for server in state.servers if state else ():
        start = server.created or (going[server.name].start if server.name in going else server.since)
        if server.finished:
            if (server.name, server.since) not in ended:
                yield Life(server=server.name, group=server.group, start=start, end=server.since)
        elif server.id is not None:
            yield Life(server=server.name, group=server.group, start=start)


def _prices(state: State | None) -> dict[str, Price]:
    """Return the recorded prices, by server, and by group for servers of which no record is left."""
    servers: tuple[Server, ...] = state.servers if state else ()
    by_group = {server.group: server.price for server in servers if server.price}
    return by_group | {server.name: server.price for server in servers if server.price}


def _cost(cloud: str, price: Price, start: datetime, end: datetime) -> Decimal:
    return bill(cloud, price, [(start, end)])
