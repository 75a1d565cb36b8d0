"""A server at its cloud: what the cloud reports of it, and the request that creates it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from scaler.model.lifecycle import Phase
from scaler.model.sound import check_sound, is_address, is_id, is_name, is_text, is_text_by_name
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A server as its cloud reports it."""

    id: str
    name: str
    phase: Phase
    vendor_status: str
    labels: Mapping[str, str]
    type: str
    location: str
    image: str | None
    """The image's id, or its name or slug when it is one of the vendor's."""
    created: datetime
    ipv4: str | None = None
    ipv6: str | None = None
    private_ip: str | None = None
    """Its address in a private network; of several, in the one that the cloud names first."""
    locked: bool = False
    protected: bool = False
    """Whether the cloud refuses to delete it, because its owner turned delete protection on."""
    seen: bool = True
    """False: the cloud denies it, but that does not prove yet that it is gone; all else is as remembered."""
    details: Mapping[str, object] = field(default_factory=dict)
    """What only the engine's plugin needs, under the field names of the API."""

    def __post_init__(self) -> None:
        """Refuse what no cloud can mean: the one place that every cloud's answer comes through."""
        check_sound(
            self,
            id=is_id(self.id),
            name=is_name(self.name),
            vendor_status=is_text(self.vendor_status),
            labels=is_text_by_name(self.labels),
            type=is_text(self.type),
            location=is_text(self.location),
            image=self.image is None or is_text(self.image),
            ipv4=is_address(self.ipv4, 4),
            ipv6=is_address(self.ipv6, 6),
            private_ip=is_address(self.private_ip),
        )


@dataclass(frozen=True, kw_only=True)
class MachineRequest:
    """The content of a create request."""

    name: str
    type: str
    location: str
    image: str
    """The id of an image as digits, or the name or slug of a vendor's image."""
    labels: Mapping[str, str] = field(default_factory=dict)
    ssh_keys: tuple[str, ...] = ()
    user_data: str | None = None
    networks: tuple[str, ...] = ()
    firewalls: tuple[str, ...] = ()
    placement_group: str | None = None
    public_ipv4: bool = True
    public_ipv6: bool = True
    vpc: str | None = None
    monitoring: bool = False
    ipv6: bool = False

    @property
    def addresses(self) -> int:
        """How many public addresses it takes of the account's at Hetzner."""
        return self.public_ipv4 + self.public_ipv6


Placement = tuple[str, str]
"""A server type at a location."""
