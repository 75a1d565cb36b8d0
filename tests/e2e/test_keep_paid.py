"""`keep_paid`: what is not needed is off while its hour is paid, comes back as the same machine, and goes in time."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from scaler.api import Scaler
from scaler.model import Action, Outcome
from scaler.support.clock import SystemClock
from tests.support.project import Project


class Later(SystemClock):
    """The machine's clock, some time from now."""

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        return super().now() + self._by


@pytest.mark.parametrize("stop", [{}, {"drain": ["./drain.sh", "{name}"]}], ids=["plain", "drained"])
def test_a_server_whose_hour_is_paid_is_taken_back_or_deleted_when_that_is_over(
    hetzner: Project, stop: dict[str, list[str]]
) -> None:
    drain = hetzner.folder / "drain.sh"
    drain.write_text('#!/bin/sh\necho "$1" >> drained\n', encoding="utf-8")
    drain.chmod(0o755)
    hetzner.describe(groups={"worker": {"keep_paid": True, "stop": stop}})
    hetzner.ensure("3")
    three = hetzner.agreed()
    oldest, *younger = hetzner.by_age

    # Two are not needed: they are powered off, and stay.
    preview = hetzner.run("preview", "1", "-o", "json")
    hetzner.world.clear_log()
    down = hetzner.ensure("1")
    assert down.steps == preview.steps
    assert sorted((action, server) for action, server, _ in down.steps) == [
        ("power_off", name) for name in sorted(younger)
    ]
    assert (down.document["outcome"], down.named("running"), down.named("stopped")) == (
        "converged",
        {oldest},
        set(younger),
    )
    assert set(down.document["kept"]) == set(younger)
    assert hetzner.agreed(off=younger) == three
    assert not [request for request in hetzner.changes if request.method == "DELETE"]
    drained = hetzner.folder / "drained"
    assert sorted(drained.read_text().split() if stop else younger) == sorted(younger)

    # Nothing to do, until one is needed again: the same machine comes back.
    assert hetzner.ensure("1").document["outcome"] == "unchanged"
    up = hetzner.ensure("2")
    assert [(action, server) for action, server, _ in up.steps] == [("power_on", min(younger))]
    assert up.named("running") == {oldest, min(younger)}
    assert hetzner.creates == []
    assert hetzner.agreed(off=[max(younger)]) == three

    # Shortly before its hour is over, the other goes.
    late = Scaler(hetzner.folder, environ=hetzner.environ)
    late._clock = Later(timedelta(minutes=56))
    result = late.ensure({"worker": 2})
    assert [(report.step.action, report.step.server) for report in result.steps] == [(Action.DELETE, max(younger))]
    assert result.outcome is Outcome.CONVERGED
    assert hetzner.agreed() == {name: three[name] for name in (oldest, min(younger))}


def test_destroy_keeps_nothing(hetzner: Project) -> None:
    hetzner.describe(groups={"worker": {"keep_paid": True}})
    hetzner.ensure("2")
    hetzner.ensure("1")
    (kept,) = set(hetzner.by_age[1:])
    assert len(hetzner.agreed(off=[kept])) == 2
    hetzner.run("destroy", "--yes")
    assert hetzner.agreed() == {}
