"""What servers cost by the vendor's list."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """A server's list price, net, addresses included."""

    currency: str
    per_hour: Decimal
    per_month: Decimal | None = None
    """Where the month's bill ends; None: nowhere."""


@dataclass(frozen=True, slots=True)
class Cost:
    """List prices, net; a month as the vendor caps it."""

    currency: str
    per_hour_before: float
    per_hour_after: float
    per_month_after: float
    per_month_before: float
