"""A server's record. `Server.become` is the only way to change its status."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from scaler.model.drain import Drain
from scaler.model.health import Health
from scaler.model.lifecycle import IN_SERVICE, SUPPLY, Status, check_transition
from scaler.model.prices import Price
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Server:
    """The record of a server, as the state file and the stack's outputs hold it."""

    name: str
    group: str
    id: str | None
    status: Status
    since: datetime
    previous: Status | None = None
    ipv4: str | None = None
    ipv6: str | None = None
    private_ip: str | None = None
    """Its address in its private network, once the cloud has reported one."""
    type: str | None = None
    location: str | None = None
    image: str | None = None
    created: datetime | None = None
    error: str | None = None
    protected: bool = False
    """Set by `scaler protect`: never choose it for scale-down."""
    delete_protection: bool = False
    """Whether its delete protection was on at the cloud when a run last looked."""
    set_aside: bool = False
    """Its group label was changed at the cloud: it is no supply, and left alone."""
    missing_since: datetime | None = None
    """When the cloud first denied it, and has since; None: it was seen, or its absence is proven."""
    reboot_asked: bool = False
    """Reboot it as soon as it runs."""
    in_service: bool | None = None
    """Whether it carries its group's `in_service` label; None: the group has none."""
    drain_failed: str | None = None
    """How its last drain failed, after which it was kept: only a person's order tries again."""
    drain: Drain | None = None
    """How far it is on its way out of service; None: it is not, or it is deleted."""
    health: Health | None = None
    """What its health checks found; None: it was not checked since it is in service."""
    outdated: str | None = None
    """In what it differs from a new one, when a run last looked; None: in nothing that is known."""
    price: Price | None = None
    """The price when a run last read the prices; None: no run has read them since the server exists."""

    def become(self, status: Status, at: datetime, error: str | None = None) -> Server:
        """Return the record in its next status. IllegalTransitionError if `TRANSITIONS` does not allow it."""
        check_transition(self.name, self.status, status)
        if status is self.status:
            return replace(self, error=error)
        drain = None if status is Status.DELETED else self.drain
        health = self.health if status in IN_SERVICE else None
        missing = None if status is Status.DELETED else self.missing_since
        changed = replace(self, status=status, since=at, previous=self.status, error=error, drain=drain, health=health)
        return replace(changed, missing_since=missing)

    @property
    def counts(self) -> bool:
        """Whether it counts as supply."""
        return self.status in SUPPLY and not self.set_aside and self.drain is None

    @property
    def running(self) -> bool:
        """Whether it counts and is ready."""
        return self.status is Status.RUNNING and not self.set_aside and self.drain is None

    @property
    def unhealthy(self) -> bool:
        """Whether it is in service and its health checks fail."""
        return self.status is Status.UNHEALTHY and not self.set_aside and self.drain is None

    @property
    def finished(self) -> bool:
        """Whether its machine is deleted."""
        return self.status is Status.DELETED
