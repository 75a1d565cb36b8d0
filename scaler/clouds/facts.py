"""What a cloud says of itself: images, prices and stock, the account's limits."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

from scaler.model.sound import check_sound, is_id, is_text
from scaler.support.values import dataclass

Reference = Literal["ssh_key", "network", "firewall", "placement_group", "vpc"]
"""The kinds of things that a spec names beside images."""

Work = Literal["delete", "reboot"]
"""What a cloud accepts at once, and can fail to carry out afterwards without a trace on the machine."""

_LEAST_PRICE, _HIGHEST_PRICE = Decimal("1e-9"), Decimal("1e9")


def amount(value: object) -> Decimal | None:
    """Return a price that a cloud names; None for what is no amount of money, such as `NaN`, -5 or `1e9999`.

    Such a price must not be added up: every sum with it would pass any budget, or be no number either.
    """
    try:
        price = Decimal(str(value))
    except ArithmeticError:
        return None
    if not price.is_finite() or not 0 <= price <= _HIGHEST_PRICE:
        return None
    return price if price >= _LEAST_PRICE else Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that a server can be made from."""

    id: str
    """As digits; what a create request names."""
    name: str
    created: datetime
    available: bool
    disk: int
    """The smallest disk that it needs, in GB."""
    architecture: str
    """`x86` or `arm`."""
    locations: frozenset[str] | None = None
    """Where it can be used; None means everywhere."""

    def __post_init__(self) -> None:
        check_sound(self, id=is_id(self.id), name=is_text(self.name), architecture=is_text(self.architecture))


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One server type at one location: its list price, net, and whether it can be ordered now."""

    type: str
    location: str
    available: bool
    per_hour: Decimal | None
    """None, as per month: the cloud says none, or none that is an amount of money (`amount`)."""
    per_month: Decimal | None
    disk: int
    """GB."""
    architecture: str
    deprecated_after: datetime | None = None

    def __post_init__(self) -> None:
        check_sound(
            self,
            type=is_text(self.type),
            location=is_text(self.location),
            architecture=is_text(self.architecture),
        )


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What the cloud sells."""

    currency: str
    offers: tuple[Offer, ...]
    ipv4_per_hour: Decimal | None = Decimal(0)
    ipv4_per_month: Decimal | None = Decimal(0)
    keeps_prices: bool = False
    """Whether a server keeps the price at which it was ordered, whatever a new one costs later."""

    def __post_init__(self) -> None:
        check_sound(self, currency=is_text(self.currency))

    @property
    def types(self) -> frozenset[str]:
        return frozenset(offer.type for offer in self.offers)

    @property
    def locations(self) -> frozenset[str]:
        return frozenset(offer.location for offer in self.offers)

    def offer(self, type: str, location: str) -> Offer | None:
        """Return the offer for a type at a location, or None if it is not sold there."""
        for offer in self.offers:
            if (offer.type, offer.location) == (type, location):
                return offer
        return None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the account is allowed, as far as the cloud says."""

    servers: int | None = None
    in_use: int | None = None
    """The account's servers, of all stacks; only if `servers` is known."""
    requests_left: int | None = None
    requests_reset: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Room:
    """How many servers fit into something that new ones are put into: a placement group, a private network."""

    kind: Reference
    id: str
    name: str
    most: int
    """How many it can have, in the zone that was asked about."""
    members: frozenset[str]
    """The ids of the servers in it, of all stacks."""
    why: str
    """What sets the bound."""

    @property
    def title(self) -> str:
        """Such as `placement group web`."""
        return f"{self.kind.replace('_', ' ')} {self.name}"
