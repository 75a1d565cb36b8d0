"""Durations and ages, and what rendering loads."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest

from scaler.output.words import format_age, format_elapsed
from tests.support.results import NOW


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (0.44, "0.4s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (67, "1m07s"),
        (3599.6, "1h00m"),
        (3900, "1h05m"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_elapsed(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "just now"), (0, "just now"), (42, "42 s ago"), (180, "3 min ago"), (7200, "2 h ago"), (800_000, "9 d ago")],
)
def test_ages(seconds: int, text: str) -> None:
    assert format_age(NOW - timedelta(seconds=seconds), NOW) == text


def test_rendering_loads_neither_pulumi_nor_rich_nor_yaml() -> None:
    script = (
        "import sys, scaler.output.render; "
        "print([name for name in ('pulumi', 'pydantic', 'rich', 'yaml') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
