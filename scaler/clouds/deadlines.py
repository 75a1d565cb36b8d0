"""How long a request may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds: to connect, then between bytes and for the whole body, and to wait for the vendor's rate limit."""

    connect: float = 5
    read: float = 30
    budget: float = 300
