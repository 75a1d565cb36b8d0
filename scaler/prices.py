"""What servers cost by the cloud's list prices. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from scaler.clouds import Catalogue
from scaler.model import Cost, Server


def cost(catalogue: Catalogue | None, before: Iterable[Server], after: Iterable[Server]) -> Cost | None:
    """Per hour before and after, and per month after; None when the prices were not looked at."""
    if catalogue is None:
        return None
    hour_before, _ = _total(catalogue, before)
    hour_after, month_after = _total(catalogue, after)
    return Cost(
        currency=catalogue.currency,
        per_hour_before=float(hour_before),
        per_hour_after=float(hour_after),
        per_month_after=float(month_after),
    )


def _total(catalogue: Catalogue, servers: Iterable[Server]) -> tuple[Decimal, Decimal]:
    hour = month = Decimal(0)
    for server in servers:
        offer = catalogue.offer(server.type or "", server.location or "")
        if offer:
            hour += offer.per_hour + catalogue.ipv4_per_hour
            month += offer.per_month + catalogue.ipv4_per_month
    return hour, month
