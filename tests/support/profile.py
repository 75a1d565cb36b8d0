"""The profile of the embedded clouds that the end-to-end tests run on: `SCALER_TEST_PROFILE`, `instant` without it.

`make night` sets it to `hostile`. A test that only holds on a pleasant cloud says so with the marker
`calm("why")`, and one that counts requests ends there: both are skipped then, with the reason.
"""

from __future__ import annotations

import os

import pytest

from scaler.simulator import SimulatedWorld

PROFILE = os.environ.get("SCALER_TEST_PROFILE", "instant")
SPEED = float(os.environ.get("SCALER_TEST_SPEED", "1"))
"""How much faster than real time goes in the clouds, for a sample."""

IS_CALM = PROFILE != "hostile"

REPEATED = frozenset() if IS_CALM else frozenset({1, 4, 69})
"""Exit codes after which a run is repeated, since the next one repairs what the cloud spoiled."""

REPEATS = 5


def set_profile(world: SimulatedWorld) -> None:
    """Give a new world the profile of this test run."""
    world.set_profile(PROFILE)
    if SPEED != 1:
        world.set_speed(SPEED)


def require_calm(reason: str) -> None:
    """Skip the rest of a test unless the clouds are pleasant."""
    if not IS_CALM:
        pytest.skip(f"not on a {PROFILE} cloud: {reason}")
