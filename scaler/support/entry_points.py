"""Find the clouds that installed packages offer."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

ENTRY_POINTS = "scaler.clouds"
"""The entry point group: each entry is a `scaler.clouds.registry.Vendor` under the cloud's name."""


def cloud_entry_points() -> dict[str, EntryPoint]:
    """Return the entry points by the cloud's name, without loading any."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
