"""What servers cost by the cloud's list prices. Pure.

A month is the most that a server can cost in one: both clouds stop the meter at their monthly price
(Hetzner after about 624 started hours, DigitalOcean after 672 hours).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from scaler.clouds import Catalogue, amount
from scaler.model import Cost, Price, Server, Spec, Step
from scaler.model.lifecycle import Status
from scaler.support.values import dataclass

_HOUR = timedelta(hours=1)

_HOURS_PER_MONTH = 31 * 24
"""Of the longest month: what a recorded price without a monthly cap is multiplied by."""

_DELETED_BEFORE = timedelta(minutes=5)
"""How long before the end of its paid hour a server is deleted: deleting takes time, and so may the next run."""


@dataclass(frozen=True)
class Priced:
    """What a server's price depends on."""

    type: str
    location: str
    ipv4: bool
    """Whether it has a public IPv4 address, which Hetzner bills for itself."""
    recorded: Price | None = None
    """The price in its record. A withdrawn type is in no list of prices, and its servers still cost that."""


def existing(server: Server) -> Priced:
    """Return what the price of an existing server depends on."""
    return Priced(server.type or "", server.location or "", server.ipv4 is not None, server.price)


def coming(spec: Spec, step: Step) -> Priced:
    """Return what the price of the server of a create step depends on."""
    return Priced(step.type or "", step.location or "", spec.groups[step.group].public_ipv4)


def cost(catalogue: Catalogue | None, before: Iterable[Priced], after: Iterable[Priced]) -> Cost | None:
    """Return the cost per hour and month, before and after; None without a catalogue.

    A server of a type that is not sold any more counts with the price in its record. One whose price is not known
    counts as 0: `unpriced` returns those.
    """
    if catalogue is None:
        return None
    hour_before, month_before = _total(catalogue, before)
    hour_after, month_after = _total(catalogue, after)
    return Cost(
        currency=catalogue.currency,
        per_hour_before=float(hour_before),
        per_hour_after=float(hour_after),
        per_month_before=float(month_before),
        per_month_after=float(month_after),
    )


def price_of(catalogue: Catalogue, server: Priced) -> Price | None:
    """Return a server's price: the list's, or the recorded one of a type that is in no list any more; None without.

    A price of the list that is no amount of money is none.
    """
    offer = catalogue.offer(server.type, server.location)
    if offer is None:
        is_comparable = server.recorded is not None and server.recorded.currency == catalogue.currency
        return server.recorded if is_comparable else None
    hour, month = (catalogue.ipv4_per_hour, catalogue.ipv4_per_month) if server.ipv4 else (Decimal(0), Decimal(0))
    per_hour, per_month = _both(offer.per_hour, hour), _both(offer.per_month, month)
    return None if per_hour is None or per_month is None else Price(catalogue.currency, per_hour, per_month)


def _both(machine: Decimal | None, address: Decimal | None) -> Decimal | None:
    """Return the sum of two prices, None if one is none: also a plug-in's cloud may say what is no amount."""
    of_machine, of_address = amount(machine), amount(address)
    return None if of_machine is None or of_address is None else (of_machine + of_address).normalize()


def unpriced(catalogue: Catalogue | None, servers: Iterable[Priced]) -> tuple[str, ...]:
    """Return the types, each with its location, of servers whose price is not known; a sum leaves them out."""
    if catalogue is None:
        return ()
    unknown = {f"{item.type} in {item.location}" for item in servers if item.type and not price_of(catalogue, item)}
    return tuple(sorted(unknown))


def _total(catalogue: Catalogue, servers: Iterable[Priced]) -> tuple[Decimal, Decimal]:
    known = [price for server in servers if (price := price_of(catalogue, server))]
    return _sum([replace(price, per_month=_month(price)) for price in known])


def _sum(prices: Sequence[Price]) -> tuple[Decimal, Decimal]:
    """Return the sums per hour and per month."""
    hour = sum((price.per_hour for price in prices), Decimal(0))
    return hour, sum((price.per_month or Decimal(0) for price in prices), Decimal(0))


def _month(price: Price) -> Decimal:
    """Return the most that a month costs: by the hour where the price has no cap of its own."""
    return _HOURS_PER_MONTH * price.per_hour if price.per_month is None else price.per_month


@dataclass(frozen=True)
class RecordedCost:
    """What servers cost by the prices in their records; no request is sent."""

    currency: str | None
    """None if no price is known."""
    per_hour: float
    per_month: float
    known: int
    """Servers whose price is known."""
    unknown: int
    """Servers that are paid for at an unknown price."""


def recorded_cost(servers: Iterable[Server]) -> RecordedCost:
    """Sum up the servers that are paid for: those that have a machine which is not being deleted."""
    paid = [server for server in servers if server.id and server.status not in (Status.DELETING, Status.DELETED)]
    known = [server.price for server in paid if server.price]
    # An account has one currency. If it was changed, earlier prices count as unknown.
    currency = known[-1].currency if known else None
    known = [price for price in known if price.currency == currency]
    hour, month = _sum(known)
    return RecordedCost(currency, float(hour), float(month), len(known), len(paid) - len(known))


def paid_left(cloud: str, created: datetime, now: datetime) -> timedelta:
    """Return how long a server is already paid for.

    At Hetzner until its started hour ends: more than 0 and at most an hour. DigitalOcean bills
    by the second, so nothing is paid ahead.
    """
    if cloud != "hetzner":
        return timedelta(0)
    return _HOUR - (now - created) % _HOUR


def paid_until(spec: Spec, server: Server, now: datetime) -> datetime | None:
    """Return until when a server that is not needed stays, off, for its paid hour; None: it is deleted now.

    The hour in which it was powered off counts: if no run came in time, it is not kept for another hour.
    """
    group = spec.groups.get(server.group)
    if group is None or not group.keep_paid or server.created is None:
        return None
    until = stays_until(spec.cloud, server.created, server.since if server.status is Status.STOPPED else now)
    return until if now < until else None


def stays_until(cloud: str, created: datetime, off_since: datetime) -> datetime:
    """Return when a server that was powered off is deleted; a past moment if nothing or too little is paid ahead."""
    return off_since + paid_left(cloud, created, off_since) - _DELETED_BEFORE


def is_kept(spec: Spec, server: Server, now: datetime) -> bool:
    """Return whether a server is off and stays so while its hour is paid, or until it is needed."""
    return server.status is Status.STOPPED and paid_until(spec, server, now) is not None
