"""Compute what servers cost by the billing rules of their cloud. Pure.

Hetzner bills each started hour, at most the monthly price per calendar month and server.
DigitalOcean bills each second, at least 60 s and at least 0.01, at most the monthly price per
calendar month and server.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal

from scaler.model import Price

Lifetime = tuple[datetime, datetime]
"""A server's creation and its end, both in UTC."""


def bill(cloud: str, price: Price, lifetimes: Iterable[Lifetime]) -> Decimal:
    """Return the total cost of these servers."""
    one = _hetzner if cloud == "hetzner" else _digitalocean
    return sum((one(price, part) for lifetime in lifetimes for part in _by_month(*lifetime)), Decimal(0))


def _hetzner(price: Price, seconds: float) -> Decimal:
    return _capped(price, price.per_hour * math.ceil(round(seconds / 3600, 6)))


def _digitalocean(price: Price, seconds: float) -> Decimal:
    cost = price.per_hour * Decimal(max(60.0, seconds)) / 3600
    return _capped(price, max(Decimal("0.01"), cost))


def _capped(price: Price, cost: Decimal) -> Decimal:
    return cost if price.per_month is None else min(cost, price.per_month)


def _by_month(start: datetime, end: datetime) -> Iterator[float]:
    """Yield the seconds of a lifetime in each calendar month, at least once: an empty lifetime yields 0."""
    while True:
        following = (start.replace(day=28) if start.day > 28 else start).replace(
            year=start.year + start.month // 12,
            month=start.month % 12 + 1,
            day=1,
            hour=0,
            minute=0,
            second=0,
            microsecond=0,
        )
        if end <= following:
            yield (end - start).total_seconds()
            return
        yield (following - start).total_seconds()
        start = following
