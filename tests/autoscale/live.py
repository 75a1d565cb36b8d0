"""A stack that follows its load, with the real `autoscale` and `ensure` on the fake cloud and a moved clock."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from scaler.autoscale.decision import Decision, Sample
from scaler.autoscale.memory import Memory
from scaler.autoscale.tick import Tick, run_tick
from scaler.converge.demand import Options
from scaler.model.autoscaling import Backlog, HttpSource, Policy
from tests.autoscale.load import policy
from tests.support.fakes import Setting
from tests.support.fakes import group as server_group
from tests.support.fakes import spec as stack_spec

JOBS = Backlog(metric="jobs", per_server=10)


def web(made: Policy) -> Policy:
    """The policy with sources that a test stands in for."""
    return replace(
        made, metrics={name: replace(one, source=HttpSource(url="http://x/")) for name, one in made.metrics.items()}
    )


class Live(Setting):
    """Ticks of the loop, one by one."""

    def __init__(
        self, folder: Path, made: Policy | None = None, *, count: int = 2, limit: int | None = None, **bounds: Any
    ) -> None:
        bounds = {"min": 0, "max": 20, **bounds}
        worker = server_group(count=count, autoscale=web(made or policy(JOBS)), **bounds)
        super().__init__(stack_spec(worker, limit=limit))
        self.memory = Memory.of(folder, self.spec.stack, self.progress.warn)
        self.decisions: list[Decision] = []

    def tick(self, options: Options | None = None, **values: float | Sample | None) -> Tick:
        """Decide on these values now."""
        now = self.clock.now()
        samples = {name: one if isinstance(one, Sample) else Sample(one, now) for name, one in values.items()}
        done = run_tick(
            self.spec,
            {"worker": samples},
            self.memory,
            self.around,
            now=now,
            options=options or Options(wait=False, patient=False),
        )
        self.decisions += done.decisions.values()
        return done

    def loop(self, ticks: int, interval: float = 60, **values: float | None) -> None:
        """Tick by the clock, whatever a tick takes."""
        for _ in range(ticks):
            following = self.clock.passed + interval
            self.tick(None, **values)
            self.clock.passed = max(following, self.clock.passed)

    def wait(self, length: timedelta) -> None:
        self.clock.passed += length.total_seconds()

    @property
    def counts(self) -> list[int]:
        return [decision.count for decision in self.decisions]

    @property
    def created(self) -> int:
        return sum(1 for operation, _ in self.cloud.calls if operation == "create")
