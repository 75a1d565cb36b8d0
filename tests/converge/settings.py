"""What the tests of `ensure` share: a stack of two groups, and a look at its records."""

from __future__ import annotations

import pytest

from scaler.model.lifecycle import Status
from tests.support.fakes import Setting, group, spec

BOTH = pytest.mark.parametrize("name", ["worker", "other"])
"""Run a test for each group of `two_groups`."""


def two_groups(**limits: int) -> Setting:
    """Make a stack of two groups without servers."""
    return Setting(spec(group("worker", 0), group("other", 0), **limits))


def status(setting: Setting, name: str) -> Status:
    """Return a server's recorded status."""
    return setting.records.servers[name].status
