"""One tick of `scaler autoscale`: read the metrics, then decide and act with the stack's lock held."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING

from scaler.clouds import Cloud
from scaler.commands.context import Context
from scaler.commands.options import LockPolicy
from scaler.commands.running import announce, ask, opened_ports
from scaler.config.project import Project
from scaler.model import Spec
from scaler.support.values import dataclass

if TYPE_CHECKING:
    from scaler.autoscale.bounds import Prices
    from scaler.autoscale.metrics import Fleet, Sources
    from scaler.autoscale.tick import Tick
    from scaler.hooks.checks import Checks
    from scaler.records.lease import Lease
    from scaler.records.lock_note import Heard
    from scaler.wiring import Commons


@dataclass(frozen=True, kw_only=True)
class Ticker:
    """How each tick is carried out, and what the ticks of one stack share."""

    context: Context
    project: Project
    prices: Prices
    apply: bool
    wait: bool
    asking: bool
    timeout: timedelta
    lock: LockPolicy
    quiet: bool
    lease: Lease | None = None
    """What a watch must hold for each change."""
    commons: Commons | None = None
    """What the stacks share, where there are several."""
    checks: Checks | None = None
    """The checks that go on between the ticks of a watch."""
    heard: Heard | None = None
    """What its ticks have seen of who has the stack's lock."""

    @cached_property
    def _sources(self) -> Sources:
        from scaler.autoscale.metrics import Sources

        return Sources(os.environ, self.project.directory, self.context.clock)

    def tick(self, spec: Spec, now: datetime) -> Tick:
        """Decide at this moment, and carry the decision out."""
        from scaler.autoscale.memory import Memory
        from scaler.autoscale.tick import read_samples, run_tick
        from scaler.converge.demand import Options
        from scaler.wiring import opened_cloud

        context = self.context
        opener = partial(opened_cloud, self.project, spec, os.environ, context.clock, self.commons)
        fleet = fleet_of(context, self.project, spec, opener)
        samples = read_samples(spec, self._sources, fleet)
        with opened_ports(
            context,
            self.project,
            spec,
            cause="autoscale",
            lock=self.lock,
            timeout=self.timeout,
            quiet=self.quiet,
            looks=not self.apply,
            lease=self.lease,
            commons=self.commons,
            checks=self.checks,
            heard=self.heard,
        ) as ports:
            options = Options(
                apply=self.apply,
                wait=self.wait,
                patient=False,
                timeout=self.timeout,
                approve=ask(context, spec, ports) if self.asking else None,
                announce=None if self.quiet else announce(context, spec, ports),
            )
            memory = Memory.of(ports.records_folder, spec.stack, ports.progress.warn)
            return run_tick(spec, samples, memory, ports, now=now, options=options, prices=self.prices, read=fleet.sent)


def fleet_of(
    context: Context, project: Project, spec: Spec, opener: Callable[[], AbstractContextManager[Cloud]]
) -> Fleet:
    """Return the stack's servers for metrics that the cloud measures: by the stack's id, where that is recorded."""
    from scaler.autoscale.metrics import Fleet
    from scaler.commands.recorded import recorded
    from scaler.errors import StateError
    from scaler.records.state_file import StateFile

    try:
        # A folder that has records needs no other ones for this: the run that follows brings them up to date.
        state = StateFile(project.state_dir, spec.stack).load() or recorded(context, project, spec.stack).state()
    except StateError:
        # The run repairs the file, or reports what is wrong with it.
        state = None
    return Fleet.of(spec.owner, state, opener)
