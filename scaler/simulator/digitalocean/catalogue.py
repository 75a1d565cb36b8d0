"""What DigitalOcean sells: regions, sizes with their prices, and its own images, as its API has them."""

from __future__ import annotations

from scaler.support.values import dataclass

GIB = 1024
"""MiB in a GiB: `memory` is in MiB."""


@dataclass(frozen=True)
class Size:
    """A droplet size. `memory` is in MiB, `disk` in GiB, `transfer` in TB a month, prices in USD, net."""

    slug: str
    description: str
    vcpus: int
    memory: int
    disk: int
    transfer: float
    price_monthly: float
    price_hourly: float


@dataclass(frozen=True)
class BaseImage:
    """An operating system image of DigitalOcean's own. `min_disk` is in GiB."""

    id: int
    slug: str
    name: str
    distribution: str
    created: str
    min_disk: int
    size_gigabytes: float


DISTRIBUTIONS = (
    *("Arch Linux", "CentOS", "CoreOS", "Debian", "Fedora", "Fedora Atomic", "FreeBSD", "Gentoo", "openSUSE"),
    *("RancherOS", "Rocky Linux", "Ubuntu", "Unknown"),
)
"""What an image can be called to be of (the vendor's document)."""

REGIONS = {
    "nyc3": "New York 3",
    "ams3": "Amsterdam 3",
    "sfo3": "San Francisco 3",
    "sgp1": "Singapore 1",
    "lon1": "London 1",
    "fra1": "Frankfurt 1",
}
"""Slugs and names."""

REGION_FEATURES = ("backups", "ipv6", "metadata", "install_agent", "storage", "image_transfer")

FOUNDED = "2024-01-01T00:00:00Z"
"""Since when the account, its project and its default VPCs exist."""

SIZES = {
    size.slug: size
    for size in (
        Size("s-1vcpu-512mb-10gb", "Basic", 1, 512, 10, 0.5, 4.0, 0.00595),
        Size("s-1vcpu-1gb", "Basic", 1, GIB, 25, 1.0, 6.0, 0.00893),
        Size("s-1vcpu-1gb-amd", "Basic AMD", 1, GIB, 25, 1.0, 7.0, 0.01042),
        Size("s-1vcpu-2gb", "Basic", 1, 2 * GIB, 50, 2.0, 12.0, 0.01786),
        Size("s-2vcpu-2gb", "Basic", 2, 2 * GIB, 60, 3.0, 18.0, 0.02679),
        Size("s-2vcpu-4gb", "Basic", 2, 4 * GIB, 80, 4.0, 24.0, 0.03571),
        Size("s-4vcpu-8gb", "Basic", 4, 8 * GIB, 160, 5.0, 48.0, 0.07143),
        Size("s-8vcpu-16gb", "Basic", 8, 16 * GIB, 320, 6.0, 96.0, 0.14286),
        Size("c-2", "CPU-Optimized", 2, 4 * GIB, 25, 4.0, 42.0, 0.0625),
        Size("c-4", "CPU-Optimized", 4, 8 * GIB, 50, 5.0, 84.0, 0.125),
        Size("g-2vcpu-8gb", "General Purpose", 2, 8 * GIB, 25, 4.0, 63.0, 0.09375),
        Size("m-2vcpu-16gb", "Memory-Optimized", 2, 16 * GIB, 50, 4.0, 84.0, 0.125),
    )
}

BASE_IMAGES = (
    BaseImage(155133621, "ubuntu-24-04-x64", "24.04 (LTS) x64", "Ubuntu", "2024-05-09T18:12:20Z", 7, 0.61),
    BaseImage(129211873, "ubuntu-22-04-x64", "22.04 (LTS) x64", "Ubuntu", "2023-02-28T10:04:51Z", 7, 0.69),
    BaseImage(133519370, "debian-12-x64", "12 x64", "Debian", "2023-06-12T21:07:55Z", 7, 0.58),
    BaseImage(134312453, "fedora-40-x64", "40 x64", "Fedora", "2024-05-06T14:33:09Z", 15, 1.02),
    BaseImage(133536742, "rockylinux-9-x64", "9 x64", "Rocky Linux", "2023-06-13T09:25:13Z", 10, 1.83),
)
