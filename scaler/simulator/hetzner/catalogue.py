"""What Hetzner sells: locations, server types with their prices, images of its own.

Prices are the list prices of 2026-09 in EUR, net. An hour costs a month divided by 624.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from scaler.support.values import dataclass

VAT = Decimal("0.19")
HOURS_TO_CAP = 624
IPV4_MONTHLY = Decimal("0.5000")
IPV4_HOURLY = Decimal("0.0008")
IMAGE_GB_MONTHLY = Decimal("0.0110")
TRAFFIC = 21_990_232_555_520
"""Bytes per month that come with a server: 20 TB."""


@dataclass(frozen=True)
class Location:
    """A place where servers stand."""

    id: int
    name: str
    description: str
    country: str
    city: str
    latitude: float
    longitude: float
    network_zone: str


@dataclass(frozen=True)
class ServerType:
    """A size of server, and where it is sold."""

    id: int
    name: str
    cores: int
    memory: int
    """GB."""
    disk: int
    """GB."""
    monthly: Decimal
    locations: tuple[str, ...]
    category: str
    architecture: str = "x86"
    dedicated: bool = False
    withdrawn: str | None = None
    """RFC 3339: not to be ordered any more since then."""

    @property
    def hourly(self) -> Decimal:
        """EUR net per started hour."""
        return (self.monthly / HOURS_TO_CAP).quantize(Decimal("0.0001"))


@dataclass(frozen=True)
class SystemImage:
    """An image that Hetzner provides."""

    id: int
    name: str
    description: str
    flavor: str
    version: str
    created: str
    architecture: str = "x86"
    disk: int = 5
    deprecated: str | None = None


def _by_name(*items: Location) -> Mapping[str, Location]:
    return {item.name: item for item in items}


LOCATIONS = _by_name(
    Location(1, "fsn1", "Falkenstein DC Park 1", "DE", "Falkenstein", 50.47612, 12.370071, "eu-central"),
    Location(2, "nbg1", "Nuremberg DC Park 1", "DE", "Nuremberg", 49.452102, 11.076665, "eu-central"),
    Location(3, "hel1", "Helsinki DC Park 1", "FI", "Helsinki", 60.169855, 24.938379, "eu-central"),
    Location(4, "ash", "Ashburn, VA", "US", "Ashburn, VA", 39.045821, -77.487073, "us-east"),
    Location(5, "hil", "Hillsboro, OR", "US", "Hillsboro, OR", 45.54222, -122.951924, "us-west"),
    Location(6, "sin", "Singapore", "SG", "Singapore", 1.283333, 103.833333, "ap-southeast"),
)

_EUROPE = ("fsn1", "nbg1", "hel1")
_EUROPE_AND_ASIA = (*_EUROPE, "sin")
_EVERYWHERE = tuple(LOCATIONS)


def _type(
    id: int,
    name: str,
    size: tuple[int, int, int],
    monthly: str,
    locations: tuple[str, ...],
    category: str,
    *,
    architecture: str = "x86",
    dedicated: bool = False,
    withdrawn: str | None = None,
) -> ServerType:
    return ServerType(id, name, *size, Decimal(monthly), locations, category, architecture, dedicated, withdrawn)


_COST, _REGULAR, _GENERAL = "cost_optimized", "regular_purpose", "general_purpose"
_WITHDRAWN = "2026-01-01T00:00:00Z"

SERVER_TYPES: Mapping[str, ServerType] = {
    kind.name: kind
    for kind in (
        _type(1, "cx11", (1, 2, 20), "3.79", _EUROPE, _COST, withdrawn="2024-09-06T00:00:00Z"),
        _type(22, "cpx11", (2, 2, 40), "4.99", _EVERYWHERE, _REGULAR, withdrawn=_WITHDRAWN),
        _type(45, "cax11", (2, 4, 40), "5.99", _EUROPE, _COST, architecture="arm"),
        _type(93, "cax21", (4, 8, 80), "9.99", _EUROPE, _COST, architecture="arm"),
        _type(94, "cax31", (8, 16, 160), "18.99", _EUROPE, _COST, architecture="arm"),
        _type(96, "ccx13", (2, 8, 80), "42.99", _EVERYWHERE, _GENERAL, dedicated=True),
        _type(97, "ccx23", (4, 16, 160), "85.99", _EVERYWHERE, _GENERAL, dedicated=True),
        _type(98, "ccx33", (8, 32, 240), "138.49", _EVERYWHERE, _GENERAL, dedicated=True),
        _type(99, "ccx43", (16, 64, 360), "275.99", _EVERYWHERE, _GENERAL, dedicated=True),
        _type(108, "cpx12", (1, 2, 40), "8.99", _EUROPE_AND_ASIA, _REGULAR),  # the price is a guess
        _type(109, "cpx22", (2, 4, 80), "19.49", _EUROPE_AND_ASIA, _REGULAR),
        _type(110, "cpx32", (4, 8, 160), "35.49", _EUROPE_AND_ASIA, _REGULAR),
        _type(111, "cpx42", (8, 16, 320), "69.49", _EUROPE_AND_ASIA, _REGULAR),
        _type(112, "cpx52", (12, 24, 480), "100.49", _EUROPE_AND_ASIA, _REGULAR),
        _type(113, "cpx62", (16, 32, 640), "129.99", _EUROPE_AND_ASIA, _REGULAR),
        _type(114, "cx23", (2, 4, 40), "5.49", _EUROPE, _COST),
        _type(115, "cx33", (4, 8, 80), "8.49", _EUROPE, _COST),
        _type(116, "cx43", (8, 16, 160), "15.99", _EUROPE, _COST),
        _type(117, "cx53", (16, 32, 320), "29.49", _EUROPE, _COST),
    )
}

_UBUNTU, _DEBIAN = "ubuntu", "debian"

IMAGES: Mapping[int, SystemImage] = {
    image.id: image
    for image in (
        SystemImage(
            15512617,
            "ubuntu-20.04",
            "Ubuntu 20.04",
            _UBUNTU,
            "20.04",
            "2020-04-23T17:55:14Z",
            deprecated="2025-05-22T00:00:00Z",
        ),
        SystemImage(67794396, "ubuntu-22.04", "Ubuntu 22.04", _UBUNTU, "22.04", "2022-04-21T13:32:38Z"),
        SystemImage(103908130, "ubuntu-22.04", "Ubuntu 22.04", _UBUNTU, "22.04", "2023-03-20T10:10:04Z", "arm"),
        SystemImage(114690387, "debian-12", "Debian 12", _DEBIAN, "12", "2023-06-13T06:00:00Z"),
        SystemImage(114690389, "debian-12", "Debian 12", _DEBIAN, "12", "2023-06-13T06:00:00Z", "arm"),
        SystemImage(161547269, "ubuntu-24.04", "Ubuntu 24.04", _UBUNTU, "24.04", "2024-04-25T13:26:27Z"),
        SystemImage(161547270, "ubuntu-24.04", "Ubuntu 24.04", _UBUNTU, "24.04", "2024-04-25T13:26:51Z", "arm"),
        SystemImage(310557660, "debian-13", "Debian 13", _DEBIAN, "13", "2025-08-11T09:00:00Z"),
        SystemImage(310557661, "debian-13", "Debian 13", _DEBIAN, "13", "2025-08-11T09:00:00Z", "arm"),
        SystemImage(310557700, "rocky-9", "Rocky Linux 9", "rocky", "9", "2025-08-11T09:00:00Z"),
        SystemImage(310557710, "fedora-42", "Fedora 42", "fedora", "42", "2025-08-11T09:00:00Z"),
    )
}

ISOS: tuple[Mapping[str, object], ...] = tuple(
    {
        "id": number,
        "name": name,
        "description": description,
        "type": "public",
        "architecture": architecture,
        "deprecation": None,
    }
    for number, name, description, architecture in (
        (8637, "windows-server-2022-en.iso", "Windows Server 2022 English", "x86"),
        (8638, "windows-server-2022-de.iso", "Windows Server 2022 German", "x86"),
        (8639, "debian-12.5.0-arm64-netinst.iso", "Debian 12.5.0 (arm64/netinstall)", "arm"),
    )
)
"""Disks that a server can start from. The first two ids are the vendor's; the names are made up."""
