"""The numbers to reach, by how many servers there are: this kind of machine, quiet, a boot of 8 s."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What is asked of one number of servers; None: nothing is."""

    over_boot_s: float
    """From nothing, beyond one boot."""
    requests: int
    cpu_s: float | None = None
    """Of all processes together."""
    memory_mb: float | None = None
    """Of all processes together, at its highest."""
    idle_s: float
    """With nothing to do."""
    over_delete_s: float
    """Down to ten, beyond one deletion."""
    of_terraform: float | None = None
    """From nothing, as a multiple of Terraform's time with as many requests at a time as there are servers."""


TARGETS = {
    50: Targets(over_boot_s=2, requests=70, idle_s=0.4, over_delete_s=1, of_terraform=1.15),
    200: Targets(over_boot_s=3, requests=250, cpu_s=4, memory_mb=250, idle_s=0.5, over_delete_s=1.5, of_terraform=1.1),
    1000: Targets(over_boot_s=9, requests=1150, cpu_s=15, memory_mb=400, idle_s=1.0, over_delete_s=5),
}
HELP_S, STATUS_S = 0.07, 0.09
"""Of `scaler --help` and `scaler status`, over a bare interpreter."""


def targets_of(size: int) -> Targets:
    """Return the targets of the smallest number that is not below a size, or of the greatest."""
    return TARGETS[min((known for known in TARGETS if known >= size), default=max(TARGETS))]
