"""A watch whose lease is lost in the middle of a tick changes nothing more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.converge.demand import Demand, Options
from scaler.converge.ensure import ensure
from scaler.model import StopPolicy
from scaler.records.lease import LeaseLostError
from tests.support.fakes import Setting, group, spec


def lose() -> None:
    raise LeaseLostError("prod")


@pytest.mark.parametrize("count", [0, 1, 4])
def test_without_its_lease_a_run_neither_creates_nor_drains_nor_deletes(count: int) -> None:
    stops = StopPolicy(drain=("./drain.sh", "{name}"))
    setting = Setting(spec(group(count=2, stop=stops))).with_servers(worker=2)
    before = setting.owned
    with pytest.raises(LeaseLostError):
        ensure(
            setting.spec,
            Demand({"worker": count}),
            Options(wait=False, allow_zero=True),
            replace(setting.around, require_turn=lose),
        )
    assert setting.owned == before
    assert setting.drains.starts == []
    assert setting.stack.processes == 0
    assert setting.ensure(2).outcome == "unchanged"
