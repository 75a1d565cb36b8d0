"""What servers cost at the vendor's list prices."""

from __future__ import annotations

from decimal import Decimal

from scaler.support.values import dataclass


@dataclass(frozen=True)
class Price:
    """The list price of a server, net, its addresses included."""

    currency: str
    per_hour: Decimal
    per_month: Decimal | None = None
    """The most that a month costs; None: there is no such cap."""


@dataclass(frozen=True)
class Cost:
    """What a stack costs before and after a plan, net, at list prices; a month as the vendor caps it."""

    currency: str
    per_hour_before: float
    per_hour_after: float
    per_month_after: float
    per_month_before: float
