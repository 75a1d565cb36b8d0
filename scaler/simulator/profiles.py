"""How long things take and how often they fail: the knobs of each cloud, and four named settings of them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Literal, get_args

from scaler.simulator.bodies import amount
from scaler.support.values import dataclass

CloudName = Literal["hetzner", "digitalocean"]
CLOUDS: tuple[CloudName, ...] = get_args(CloudName)


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """Durations in seconds of the world's time, except `http_*`, which are real seconds."""

    http_latency_s: float = 0.0
    http_jitter_s: float = 0.0
    """Each answer takes up to this much longer, at random."""
    boot_s: float = 0.0
    """From the create request to `running` or `active`."""
    boot_spread: float = 0.0
    """Servers differ by up to this share of `boot_s`, each always in the same way."""
    snapshot_boot_factor: float = 1.0
    """A server made from a snapshot boots this much longer."""
    attach_s: float = 0.0
    """From `running` until a new server has its networks and firewalls (Hetzner)."""
    delete_s: float = 0.0
    """Until the delete action is finished."""
    visible_after_delete_s: float = 0.0
    """Until a deleted server is gone from gets and lists."""
    power_s: float = 0.0
    """Power on, power off, reboot."""
    shutdown_s: float = 0.0
    """From the ACPI signal to `off`."""
    snapshot_s_per_gb: float = 0.0
    action_lag_s: float = 0.0
    """An action is not found for this long."""
    list_lag_s: float = 0.0
    """Lists of servers show what there was this long ago, new and deleted servers and their number included."""
    ip_release_lag_s: float = 0.0
    """A deleted server's addresses count towards the quota for this long after its deletion has ended."""
    read_lag_s: float = 0.0
    """A changed name, label or tag is read back as it was for this long."""
    withdrawn_listed_s: float = 3600.0
    """A server type stands in lists for this long after it was withdrawn from sale."""
    keys_per_minute: float = 10.0
    """How often an account's SSH keys may be listed (DigitalOcean)."""
    failing_requests: float = 0.0
    """The share of requests that end with 429, 503, or a closed connection, carried out or not."""
    failing_actions: float = 0.0
    """The share of actions on servers that fail half-way."""
    failing_creates: float = 0.0
    """The share of creations that are accepted and fail later."""

    metrics_s: float = 1.0
    """The distance of a machine's measured values in time."""

    def boot_of(self, key: str, *, from_snapshot: bool) -> float:
        """Seconds that the server named `key` takes to boot: always the same for the same key."""
        share = zlib.crc32(key.encode()) / 0xFFFFFFFF
        base = self.boot_s * (self.snapshot_boot_factor if from_snapshot else 1.0)
        return base * (1 + self.boot_spread * (2 * share - 1))


PROFILES: Mapping[str, Mapping[CloudName, Knobs]] = {
    "instant": {"hetzner": Knobs(), "digitalocean": Knobs()},
    "fast": {
        "hetzner": Knobs(
            boot_s=3.0, boot_spread=0.3, delete_s=0.5, power_s=0.5, shutdown_s=1.0, snapshot_s_per_gb=0.05
        ),
        "digitalocean": Knobs(
            boot_s=3.0,
            boot_spread=0.3,
            delete_s=1.0,
            visible_after_delete_s=1.0,
            power_s=0.5,
            shutdown_s=1.0,
            snapshot_s_per_gb=0.05,
        ),
    },
    "realistic": {
        "hetzner": Knobs(
            http_latency_s=0.12,
            http_jitter_s=0.08,
            boot_s=12.0,
            boot_spread=0.5,
            snapshot_boot_factor=3.0,
            attach_s=1.0,
            delete_s=2.0,
            power_s=2.0,
            shutdown_s=8.0,
            snapshot_s_per_gb=0.7,
            ip_release_lag_s=5.0,
            metrics_s=15.0,
        ),
        "digitalocean": Knobs(
            http_latency_s=0.2,
            http_jitter_s=0.15,
            boot_s=32.0,
            boot_spread=0.4,
            snapshot_boot_factor=1.5,
            delete_s=8.0,
            visible_after_delete_s=8.0,
            power_s=5.0,
            shutdown_s=10.0,
            snapshot_s_per_gb=5.0,
            metrics_s=60.0,
        ),
    },
    "hostile": {
        "hetzner": Knobs(
            http_latency_s=0.01,
            http_jitter_s=0.02,
            boot_s=3.0,
            boot_spread=0.5,
            attach_s=2.0,
            delete_s=8.0,
            power_s=0.5,
            shutdown_s=1.0,
            snapshot_s_per_gb=0.05,
            action_lag_s=0.5,
            list_lag_s=8.0,
            ip_release_lag_s=2.0,
            read_lag_s=2.0,
            withdrawn_listed_s=0.0,
            failing_requests=0.01,
            failing_actions=0.02,
            failing_creates=0.02,
        ),
        "digitalocean": Knobs(
            http_latency_s=0.01,
            http_jitter_s=0.02,
            boot_s=3.0,
            boot_spread=0.5,
            delete_s=8.0,
            visible_after_delete_s=8.0,
            power_s=0.5,
            shutdown_s=1.0,
            snapshot_s_per_gb=0.05,
            action_lag_s=0.5,
            list_lag_s=8.0,
            read_lag_s=2.0,
            keys_per_minute=3.0,
            failing_requests=0.01,
            failing_actions=0.02,
            failing_creates=0.02,
        ),
    },
}
DEFAULT_PROFILE = "fast"


def knobs(profile: str, cloud: CloudName, overrides: Mapping[str, float]) -> Knobs:
    """The knobs of one cloud under a profile, with single ones overridden; ValueError for an unknown name."""
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}: it is one of {', '.join(PROFILES)}")
    known = {field.name for field in fields(Knobs)}
    if unknown := set(overrides) - known:
        raise ValueError(f"no knob {', '.join(sorted(unknown))}: it is one of {', '.join(sorted(known))}")
    for name, value in overrides.items():
        if not amount(value):
            raise ValueError(f"{name} must be a number of 0 or more, not {value!r}")
    return replace(PROFILES[profile][cloud], **overrides)
