"""The clouds behind one small Protocol.

An adapter is a module that states facts: what exists, what was refused and why. It decides
nothing, retries only what provably changed nothing, and never waits for a machine to boot.
`scaler.clouds.registry` is the list of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

from scaler.errors import ExitCode, ScalerError
from scaler.model import ImageRef, Machine, MachineRequest, Requests
from scaler.model.ownership import Owner

# ---------------------------------------------------------------------------------------------
# Errors: what a refused or lost request means for the caller


class CloudError(ScalerError):
    """The cloud did not do what it was asked. Its own code and words are in `why`."""

    code = "cloud_error"


class GoneError(CloudError):
    """The machine does not exist (any more)."""

    code = "gone"


class NoCapacityError(CloudError):
    """No machine of this type to be had at this location now; another may do."""

    code = "no_capacity"


class QuotaError(CloudError):
    """The account may not have more."""

    code = "quota"


class NameTakenError(CloudError):
    """A machine of this name exists."""

    code = "name_taken"


class RateLimitedError(CloudError):
    """Too many requests; nothing happened. `reset` is when to ask again."""

    exit_code = ExitCode.UNAVAILABLE
    code = "rate_limited"

    def __init__(self, what: str, *, why: str = "", fix: str = "", reset: datetime | None = None) -> None:
        super().__init__(what, why=why, fix=fix)
        self.reset = reset


class TransientError(CloudError):
    """A passing trouble, and nothing happened: the request can be sent again."""

    exit_code = ExitCode.UNAVAILABLE
    code = "transient"


class AmbiguousError(CloudError):
    """A changing request's answer never came: it may have been carried out."""

    code = "ambiguous"


class AuthError(CloudError):
    """The credentials were refused."""

    exit_code = ExitCode.CREDENTIALS
    code = "credentials"


class InvalidError(CloudError):
    """The request is wrong and will stay so."""

    code = "invalid"


class ProtectedError(CloudError):
    """The machine is protected against this in the cloud."""

    code = "protected"


class BusyError(CloudError):
    """Another action runs on the machine; nothing happened, it can be asked again."""

    code = "busy"


# ---------------------------------------------------------------------------------------------
# Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that a server can be made from."""

    id: str
    """Digits; what a create request names."""
    name: str
    created: datetime
    available: bool
    disk: int
    """GB that it needs at least."""
    architecture: str
    """`x86` or `arm`."""
    locations: frozenset[str] | None = None
    """Where it can be used; None: everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One server type at one location: its list price, net, and whether it can be ordered now."""

    type: str
    location: str
    available: bool
    per_hour: Decimal
    per_month: Decimal
    disk: int
    """GB."""
    architecture: str
    deprecated_after: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What the cloud sells."""

    currency: str
    offers: tuple[Offer, ...]
    ipv4_per_hour: Decimal = Decimal(0)
    ipv4_per_month: Decimal = Decimal(0)

    @property
    def types(self) -> frozenset[str]:
        return frozenset(offer.type for offer in self.offers)

    @property
    def locations(self) -> frozenset[str]:
        return frozenset(offer.location for offer in self.offers)

    def offer(self, type: str, location: str) -> Offer | None:
        """The offer for a type at a location, or None if it is not sold there."""
        for offer in self.offers:
            if (offer.type, offer.location) == (type, location):
                return offer
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the account may do, as far as the cloud tells."""

    servers: int | None = None
    in_use: int | None = None
    """The account's servers, of whatever stack; only where `servers` is known."""
    requests_left: int | None = None
    requests_reset: datetime | None = None


Reference = Literal["ssh_key", "network", "firewall", "placement_group", "vpc"]


class Cloud(Protocol):
    """One account at one cloud. Safe to call from several threads.

    Every method raises a `CloudError` subclass when the cloud does not do it, and nothing else.
    Every request has a deadline of its own.
    """

    name: str
    """`hetzner` or `digitalocean`."""

    def list_owned(self, owner: Owner) -> list[Machine]:
        """The owner's machines, oldest first: one request per page."""

    def get(self, id: str) -> Machine:
        """One machine by its id; GoneError."""

    def find(self, name: str, owner: Owner) -> list[Machine]:
        """The owner's machines of exactly this name, oldest first."""

    def create(self, request: MachineRequest) -> Machine:
        """Ask for a machine; returns as soon as the cloud accepted and told an id."""

    def delete(self, id: str) -> None:
        """Ask for a machine's removal; returns on acceptance. GoneError if there is none."""

    def power_on(self, id: str) -> None:
        """Returns on acceptance, as do the next three."""

    def power_off(self, id: str) -> None: ...

    def shutdown(self, id: str) -> None: ...

    def reboot(self, id: str) -> None: ...

    def cpu(self, id: str) -> float | None:
        """How busy a machine is, by the cloud's newest measurement: 1 is all its cores. None: not measured yet.

        InvalidError where the cloud does not measure it. Clouds older than this method may lack it.
        """

    def set_labels(self, id: str, labels: Mapping[str, str]) -> None:
        """Make the machine's labels exactly these."""

    def find_image(self, image: ImageRef, architecture: str, location: str) -> Image:
        """The image that a spec means; InvalidError names what there is instead."""

    def reference(self, kind: Reference, name: str) -> str:
        """The id (as digits or UUID) of a thing that a spec names; InvalidError names what there is instead."""

    def catalogue(self) -> Catalogue:
        """Types, locations, prices and stock."""

    def limits(self) -> Limits:
        """What the account may do; asks the cloud only where it can tell."""

    @property
    def requests(self) -> Requests:
        """Requests sent so far, by kind."""

    def close(self) -> None:
        """Close the connections."""


def oldest_first(machines: Sequence[Machine]) -> list[Machine]:
    """By creation time, then by number."""
    return sorted(machines, key=lambda machine: (machine.created, len(machine.id), machine.id))
