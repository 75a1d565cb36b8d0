"""Scaler as a library: one method per command that works on a stack, with the same results. Nothing is printed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from scaler.config.project import Project
from scaler.config.spec import load
from scaler.converge import operate, pausing
from scaler.converge.counts import all_counts, check_by, known_group, only_group
from scaler.converge.demand import Demand, Options, Reviewed, order_by_hand, order_by_itself, order_of_plan
from scaler.converge.ensure import ensure
from scaler.converge.ports import Ports
from scaler.errors import UsageError
from scaler.model import Result, Server, Spec
from scaler.model.events import Event
from scaler.model.orders import Orders
from scaler.planning.claims import Claim, claim_of
from scaler.planning.names import as_words, natural
from scaler.records.explanation import Explanation, explain_server
from scaler.records.lease import Lease
from scaler.records.plan_file import check_plan_file, read_plan_file
from scaler.records.recorded import Recorded
from scaler.records.state import State
from scaler.support.clock import SystemClock
from scaler.support.durations import LONGEST
from scaler.support.suggestions import nearest
from scaler.support.text import answered
from scaler.wiring import RunSettings, held_for_roll, open_ports

if TYPE_CHECKING:
    from scaler.autoscale.tick import Tick
    from scaler.converge.snapshots import Taken

T = TypeVar("T")

_LOG = logging.getLogger("scaler")
# Without a handler, Python prints warnings to standard error in programs that do not configure logging.
_LOG.addHandler(logging.NullHandler())

Time = timedelta | float
"""A length of time: a timedelta, or seconds."""

TIMEOUT = timedelta(minutes=15)
"""How long a method waits for servers by default."""


class Scaler:
    """One stack of a project.

    Each method that changes something is one run, like the command of its name: it waits for other
    runs, reads the spec again, and writes the same records. It raises a `ScalerError` if it was
    refused, or failed, before it changed anything. Otherwise it returns a `Result`, also if only a
    part succeeded: check its `outcome` and `failures`.

    Times are timedeltas or seconds. The logger `scaler` gets the progress: steps as INFO, problems as WARNING.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] = ".",
        stack: str | None = None,
        state_dir: str | os.PathLike[str] | None = None,
        *,
        lock_timeout: Time = timedelta(minutes=2),
        steal_after: Time | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Open a stack of the project in this folder; `stack` may be omitted if there is only one.

        `state_dir` is relative to the folder; the default is `.scaler`. A run waits for another one
        for `lock_timeout`, and removes the lock of another machine once it is older than
        `steal_after`. Credentials and settings are read from `environ`, by default `os.environ`.
        Raises UsageError if there is no such project or stack.
        """
        folder = Path(directory).resolve()
        self._project = Project.find(folder, folder / (state_dir or ".scaler"))
        self._lock_timeout = as_time(lock_timeout)
        self._steal_after = None if steal_after is None else as_time(steal_after)
        self._environ = os.environ if environ is None else environ
        self._clock = SystemClock()
        self.stack = self._project.choose(stack)

    # -- the number of servers -----------------------------------------------------------------

    def ensure(
        self,
        counts: int | Mapping[str, int] | None = None,
        *,
        wait: bool = True,
        timeout: Time = TIMEOUT,
        expect_current: int | None = None,
        max_change: int | None = None,
        allow_zero: bool = False,
        accept_loss: bool = False,
        adopt: bool = False,
    ) -> Result:
        """Make exactly this many servers exist.

        `counts` is a number, if the spec has one group, or a mapping from groups to numbers; other
        groups get the spec's count. Without `counts`, outdated servers of groups with `image_changes: roll`
        are replaced too, each wave within `timeout`. With `wait=False` the run does not wait until servers are ready;
        the next run confirms them. The run is refused if the number of servers is not
        `expect_current` now, if it would create and delete more than `max_change` servers together,
        or, without `allow_zero`, if it would delete every server of the stack.
        """
        spec = self._spec()
        options = Options(
            timeout=as_timeout(timeout),
            wait=wait,
            expect_current=as_limit("expect_current", expect_current),
            max_change=as_limit("max_change", max_change),
            allow_zero=allow_zero,
            accept_loss=accept_loss,
            claim=Claim(everything=adopt),
            resumes=True,
            roll=order_by_itself(spec) if counts is None else None,
        )
        return self._ensure(spec, Demand(_wanted(spec, counts)), options, "ensure")

    def adopt(self, *names: str, timeout: Time = TIMEOUT) -> Result:
        """Claim these servers, or all that carry the stack's labels and not its id, and take them into the stack.

        Where the recorded servers are all seen at another place than the recorded one, record that place.
        """
        options = Options(timeout=as_timeout(timeout), claim=claim_of(names))
        return self._ensure(self._spec(), Demand(), options, "adopt")

    def plan(self, counts: int | Mapping[str, int] | None = None) -> Result:
        """Return what `ensure` would do, like `scaler preview`: all steps are pending, and nothing is changed."""
        spec = self._spec()
        roll = order_by_itself(spec) if counts is None else None
        return self._ensure(spec, Demand(_wanted(spec, counts)), Options(apply=False, roll=roll), "plan")

    def apply(
        self, plan: str | os.PathLike[str], *, max_age: Time = timedelta(hours=1), timeout: Time = TIMEOUT
    ) -> Result:
        """Carry out exactly the steps of a plan file that `scaler preview --out` wrote, or nothing.

        The plan of a roll has its first wave, and the size of each later one; `timeout` is then the time of a wave.
        Raises StalePlanError if the plan is older than `max_age`, or made for another world; UsageError if it is for
        another stack or other groups.
        """
        reviewed = read_plan_file(Path(plan))
        if reviewed.stack != self.stack:
            raise UsageError(f"The plan is for {reviewed.stack}, not for {self.stack}.", fix="Open that stack.")
        spec = self._spec()
        check_plan_file(reviewed, spec, now=self._clock.now(), max_age=as_time(max_age))
        if set(reviewed.wanted) != set(spec.groups):
            raise UsageError(
                "The groups of the plan are not the groups of the spec.",
                fix="Make a new plan with `scaler preview --out FILE`.",
            )
        order = order_of_plan(reviewed.roll)
        is_roll = order is not None and not order.by_itself
        same = Reviewed(reviewed.steps, reviewed.seen, reviewed.id, reviewed.waves)
        options = Options(timeout=as_timeout(timeout), reviewed=same, resumes=not is_roll, roll=order)
        if is_roll:
            return self._roll_alone(spec, "apply", options)
        return self._ensure(spec, Demand(reviewed.wanted), options, "apply")

    def autoscale(self, *, apply: bool = True, wait: bool = False, timeout: Time = TIMEOUT) -> Tick:
        """Read the metrics once, decide, and carry the decision out, like `scaler autoscale`; return both.

        With `apply=False` nothing is changed; with `wait=True` the run waits until the servers are ready. A stack in
        which no group has an `autoscale` block is an error: UsageError.
        """
        from scaler.autoscale.bounds import Prices
        from scaler.autoscale.memory import Memory
        from scaler.autoscale.metrics import Fleet, Sources
        from scaler.autoscale.tick import read_samples, run_tick, scales
        from scaler.wiring import opened_cloud

        spec, clock = self._spec(), self._clock
        if not scales(spec):
            raise UsageError(f"No group of {self.stack} has an autoscale block.", fix="Add one to the spec.")
        opener = partial(opened_cloud, self._project, spec, self._environ, clock)
        fleet = Fleet.of(spec.owner, self.status(), opener)
        now = clock.now()
        samples = read_samples(spec, Sources(self._environ, self._project.directory, clock), fleet)
        options = Options(apply=apply, wait=wait, patient=False, timeout=as_timeout(timeout))

        def tick(ports: Ports) -> Tick:
            memory = Memory.of(ports.records_folder, self.stack, ports.progress.warn)
            return run_tick(
                spec, samples, memory, ports, now=now, options=options, prices=Prices(clock), read=fleet.sent
            )

        return self._run(spec, "autoscale", tick, looks=not apply, timeout=options.timeout)

    def increase(
        self,
        by: int = 1,
        group: str | None = None,
        *,
        wait: bool = True,
        timeout: Time = TIMEOUT,
        new: bool = False,
    ) -> Result:
        """Add `by` servers to those that exist.

        A repeat goes on with what the same call did not finish, unless `new` is set.
        """
        return self._change("increase", check_by(by), group, Options(timeout=as_timeout(timeout), wait=wait, anew=new))

    def decrease(
        self,
        by: int = 1,
        group: str | None = None,
        *,
        wait: bool = True,
        timeout: Time = TIMEOUT,
        new: bool = False,
    ) -> Result:
        """Remove `by` servers, or all if there are fewer; repeats as for `increase`."""
        return self._change("decrease", -check_by(by), group, Options(timeout=as_timeout(timeout), wait=wait, anew=new))

    def remove(self, *names: str, timeout: Time = TIMEOUT, new: bool = False) -> Result:
        """Drain, shut down and delete exactly these servers; repeats as for `increase`."""
        return self._named("remove", Demand(remove=frozenset(names)), Options(timeout=as_timeout(timeout), anew=new))

    stop = remove

    def replace(self, *names: str, timeout: Time = TIMEOUT, new: bool = False) -> Result:
        """Create a new server for each of these, and remove the old one when it is ready; repeats as for `increase`."""
        return self._named("replace", Demand(renew=frozenset(names)), Options(timeout=as_timeout(timeout), anew=new))

    def roll(
        self,
        group: str | None = None,
        *,
        surge: int | None = None,
        unavailable: int | None = None,
        canary: int | None = None,
        bake: Time | None = None,
        timeout: Time = TIMEOUT,
        max_change: int | None = None,
    ) -> Result:
        """Replace outdated servers, of this group or of all, in waves: new ones first.

        It begins with `canary` servers (0: as many as in other waves); then each wave has `surge` servers beside the
        wanted ones, and `unavailable` out of service. New servers must have been ready and healthy for `bake` before
        old ones go. What is None is as the spec's `roll` says. `timeout` is the time of one wave.

        A call after an interrupted one goes on with its roll. A wave that fails ends the roll: its servers are
        removed, the old ones stay, and the outcome is `failed`. Raises LockedError if another roll of the stack goes
        on, also on another machine, and LimitError if the whole roll has no room, or changes more than `max_change`.
        """
        options = Options(timeout=as_timeout(timeout), max_change=as_limit("max_change", max_change))
        return self._roll("roll", group, options, surge=surge, unavailable=unavailable, canary=canary, bake=bake)

    def plan_roll(
        self,
        group: str | None = None,
        *,
        surge: int | None = None,
        unavailable: int | None = None,
        canary: int | None = None,
        bake: Time | None = None,
    ) -> Result:
        """Return what `roll` would do, like `scaler roll --preview`: `schedules` has all waves, their time and cost."""
        options = Options(apply=False)
        return self._roll("roll", group, options, surge=surge, unavailable=unavailable, canary=canary, bake=bake)

    def roll_back(self, group: str | None = None, *, timeout: Time = TIMEOUT) -> Result:
        """Replace the servers that the last roll made by ones on the image of before, in waves as for `roll`.

        Raises RefusedError if that image does not exist any more, or the spec changed since.
        """
        return self._roll("back", group, Options(timeout=as_timeout(timeout)))

    def abandon_roll(self, group: str | None = None, *, timeout: Time = TIMEOUT) -> Result:
        """End a roll where it is; only the new servers of its open wave are removed."""
        return self._roll("abandon", group, Options(timeout=as_timeout(timeout)))

    def destroy(self, *, timeout: Time = TIMEOUT, accept_loss: bool = False) -> Result:
        """Remove every server of the stack, including protected ones and orphans, without confirmation."""
        spec = self._spec()
        options = Options(timeout=as_timeout(timeout), everything=True, accept_loss=accept_loss)
        return self._ensure(spec, Demand(dict.fromkeys(spec.groups, 0)), options, "destroy")

    # -- servers that exist --------------------------------------------------------------------

    def status(self, *, refresh: bool = False) -> State | None:
        """Return the recorded servers, without engine or cloud; None if nothing was recorded yet.

        They are those that all machines share, where the backend is a bucket or a database that can be reached.

        With `refresh`, observe the cloud first, and rebuild a lost or damaged state file.
        """
        if refresh:
            spec = self._spec()
            self._run(spec, "status --refresh", lambda ports: operate.look(spec, ports))
        return self._recorded().state()

    def history(self, server: str | None = None) -> list[Event]:
        """Return the events of the stack, or of one server, oldest first, without engine or cloud.

        UsageError for a server without any.
        """
        return self._recorded().events(server)

    def why(self, server: str) -> Explanation:
        """Return what explains a server's state: the decision, and the run. UsageError if it was never there."""
        spec, recorded = self._spec(), self._recorded()
        state, events = recorded.state(), recorded.events()
        records = state.records if state else {}
        found = explain_server(server, events, records.get(server), spec.groups)
        if found is None:
            known = sorted({*records, *(event.server for event in events if event.server)}, key=natural)
            raise UsageError(f"There are no records of a server {server} in {self.stack}.", fix=nearest(server, known))
        return found

    def _recorded(self) -> Recorded:
        return Recorded(
            state_dir=self._project.state_dir,
            project=self._project.name,
            stack=self.stack,
            backend=self._project.backend_of(self.stack, self._environ),
            environ=self._environ,
            clock=self._clock,
            warn=_Log().warn,
        )

    def refresh(self) -> Result:
        """Compare the records with the cloud, and record what exists; the result's `drift` lists what differed."""
        spec = self._spec()
        return self._run(spec, "refresh", lambda ports: operate.refresh(spec, ports))

    def reboot(
        self,
        *names: str,
        group: str | None = None,
        at_once: bool = False,
        wait: bool = True,
        timeout: Time = TIMEOUT,
    ) -> Result:
        """Reboot these servers, or all of a group, or all; a starting server is rebooted once it runs.

        Without names, at most a quarter of a group is away at a time, unless it is to be `at_once`.
        """
        spec, length = self._spec(), as_timeout(timeout)
        return self._run(
            spec,
            "reboot",
            lambda ports: operate.reboot(
                spec, ports, names=names, group=group, at_once=at_once, timeout=length, wait=wait
            ),
            timeout=length,
        )

    def protect(self, *names: str) -> Result:
        """Never choose these servers for scale-down."""
        spec = self._spec()
        return self._run(spec, "protect", lambda ports: operate.protect(spec, names, ports, protected=True))

    def unprotect(self, *names: str) -> Result:
        """Allow scale-down to choose these servers again."""
        spec = self._spec()
        return self._run(spec, "unprotect", lambda ports: operate.protect(spec, names, ports, protected=False))

    def snapshot(
        self,
        server: str,
        *,
        labels: Mapping[str, str] | None = None,
        keep: int | None = None,
        power_off: bool = False,
        apply: bool = True,
        timeout: Time = TIMEOUT,
    ) -> Taken:
        """Make a snapshot of a server, and delete the oldest ones with its labels beyond `keep`.

        Without `labels` it has those that the spec's selector asks for. With `apply=False`, only return what would be
        made and deleted. A repeat after a lost answer goes on with what the same call began.
        """
        from scaler.converge.snapshots import SnapshotOrder, take

        spec, length = self._spec(), as_timeout(timeout)
        order = SnapshotOrder(
            server=server,
            labels=labels or {},
            keep=as_limit("keep", keep, 1),
            power_off=power_off,
            timeout=length,
            apply=apply,
        )
        return self._run(spec, "snapshot", lambda ports: take(spec, ports, order), timeout=length, looks=not apply)

    def orphans(self) -> list[Server]:
        """Return the servers that carry the stack's id and are in no state; every changing run takes them in."""
        spec = self._spec()
        return list(self._run(spec, "orphans", lambda ports: operate.orphans(spec, ports), looks=True))

    def delete_orphans(self, *, timeout: Time = TIMEOUT) -> Result:
        """Delete these servers, and no others, like `scaler orphans --delete`."""
        return self._named("orphans --delete", Demand(remove_orphans=True), Options(timeout=as_timeout(timeout)))

    def pause(self, length: Time | None = None, reason: str = "") -> Orders:
        """Have autoscaling leave the stack alone for this time, or until `resume`; return what is asked of it."""
        spec = self._spec()
        pause = None if length is None else as_time(length)
        return self._run(spec, "pause", lambda ports: pausing.pause(spec, ports, length=pause, reason=reason))

    def resume(self) -> Orders:
        """End the pause of autoscaling, whether `pause` or `destroy` began it; return what is asked of the stack."""
        spec = self._spec()
        return self._run(spec, "resume", lambda ports: pausing.resume(spec, ports))

    # -- runs ----------------------------------------------------------------------------------

    def _spec(self) -> Spec:
        return load(self._project.spec_path(self.stack), self._project.name)

    def _change(self, what: str, by: int, group: str | None, options: Options) -> Result:
        spec = self._spec()
        name = only_group(spec, fix="Name one: group=...") if group is None else known_group(spec, group)
        command = f"{what} {abs(by)} --group {name}"
        return self._ensure(spec, Demand(by={name: by}), replace(options, command=command), what)

    def _named(self, what: str, demand: Demand, options: Options) -> Result:
        command = f"{what} {as_words(demand.remove | demand.renew)}"
        return self._ensure(self._spec(), demand, replace(options, command=command), what)

    def _roll(
        self,
        do: Literal["roll", "back", "abandon"],
        group: str | None,
        options: Options,
        *,
        bake: Time | None = None,
        **given: int | None,
    ) -> Result:
        spec = self._spec()
        names = list(spec.groups) if group is None else [known_group(spec, group)]
        pace = {**given, "bake": None if bake is None else as_time(bake)}
        order = order_by_hand(spec, names, pace, do)
        options = replace(options, roll=order)

        if not options.apply:
            return self._ensure(spec, Demand(as_wanted=True), options, "roll")
        return self._roll_alone(spec, "roll", options)

    def _roll_alone(self, spec: Spec, what: str, options: Options) -> Result:
        """Roll while no other run rolls, not even between two waves."""

        def use_case(ports: Ports) -> Result:
            return ensure(spec, Demand(as_wanted=True), options, ports)

        with held_for_roll(
            self._project, spec, self._environ, self._clock, within=self._lock_timeout, note=_Log().note
        ) as lease:
            return self._run(spec, what, use_case, timeout=options.timeout, lease=lease)

    def _ensure(self, spec: Spec, demand: Demand, options: Options, what: str) -> Result:
        return self._run(
            spec,
            what,
            lambda ports: ensure(spec, demand, options, ports),
            timeout=options.timeout,
            looks=not options.apply,
        )

    def _run(
        self,
        spec: Spec,
        what: str,
        use_case: Callable[[Ports], T],
        *,
        timeout: timedelta | None = None,
        looks: bool = False,
        lease: Lease | None = None,
    ) -> T:
        run = RunSettings(
            project=self._project,
            spec=spec,
            cause=f"{what} (library)",
            lock_timeout=self._lock_timeout,
            timeout=timeout,
            steal_after=self._steal_after,
            environ=self._environ,
            looks=looks,
            lease=lease,
        )
        with open_ports(run, clock=self._clock, progress=_Log()) as ports:
            return use_case(ports)


def as_time(time: Time) -> timedelta:
    """Return a length of time given as a timedelta or in seconds; UsageError for what is neither."""
    if isinstance(time, timedelta):
        return _not_negative(time)
    if isinstance(time, bool) or not isinstance(time, int | float) or not abs(time) <= LONGEST.total_seconds():
        raise UsageError(f"{answered(time)} is no length of time.", fix="Give seconds, or a timedelta.")
    return _not_negative(timedelta(seconds=time))


def _not_negative(time: timedelta) -> timedelta:
    if time < timedelta(0):
        raise UsageError("A length of time is negative.", fix="Give 0 or more.")
    return time


def as_timeout(time: Time) -> timedelta:
    """Return how long a run may take; UsageError for no time at all, as of the commands' --timeout."""
    length = as_time(time)
    if not length:
        raise UsageError("timeout must be more than 0.", fix="Leave it out, or give seconds or a timedelta.")
    return length


def as_limit(name: str, value: int | None, least: int = 0) -> int | None:
    """Return a number that a caller may give, or None; UsageError for what is no whole number, or less than `least`."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise UsageError(f"{name} must be {least} or more.", fix=f"Give {least} or more, or None.")
    return value


def _wanted(spec: Spec, counts: int | Mapping[str, int] | None) -> dict[str, int]:
    if counts is None:
        return all_counts(spec, {})
    if isinstance(counts, Mapping):
        return all_counts(spec, counts)
    return all_counts(spec, {only_group(spec, fix="Give a number by group: {'name': 5}."): counts})


class _Log:
    """`ports.Progress` that writes to the logger `scaler`."""

    def phase(self, text: str) -> None:
        _LOG.info("%s", text)

    def server(self, name: str, status: str, note: str = "") -> None:
        _LOG.debug("%s is %s%s", name, status, f": {note}" if note else "")

    def waiting(self, ready: int, wanted: int) -> None:
        _LOG.debug("%d of %d ready", ready, wanted)

    def note(self, text: str) -> None:
        _LOG.info("%s", text)

    def warn(self, text: str) -> None:
        _LOG.warning("%s", text)
