"""Scaler as a library: the commands as methods, with the same results, and nothing printed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from scaler.config import spec
from scaler.config.project import Project
from scaler.converge import operate
from scaler.converge.counts import all_counts, check_by, known_group, only_group
from scaler.converge.demand import Demand, Options
from scaler.converge.ensure import ensure
from scaler.converge.ports import Surroundings
from scaler.model import Result, Spec
from scaler.records.state import State
from scaler.records.state_file import StateFile
from scaler.support.clock import SystemClock
from scaler.wiring import RunSettings, open_ports

_LOG = logging.getLogger("scaler")
# Without this, Python prints warnings of a program that set no logging up.
_LOG.addHandler(logging.NullHandler())

TIMEOUT = timedelta(minutes=15)


class Scaler:
    """One stack of a project.

    Each method that changes something is a run of its own, as each command is: it waits for other
    runs, reads the spec anew, and leaves the same records behind. It returns a `Result` also when
    not all could be done: look at `outcome`, and at `failures`. It raises a `ScalerError` when it
    was refused or stopped before it changed anything.

    What goes on is logged by the logger `scaler`: steps as INFO, troubles as WARNING.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] = ".",
        stack: str | None = None,
        state_dir: str | os.PathLike[str] | None = None,
        *,
        lock_timeout: timedelta = timedelta(minutes=2),
        steal_after: timedelta | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """The stack of a project folder; the only one, when none is named.

        `state_dir` is relative to the folder, and `.scaler` when not given. `lock_timeout` is how
        long a run waits for another one, `steal_after` the age from which a lock of another machine
        is taken away. Credentials and settings are read from `environ`, by
        default the process's own. Raises UsageError when there is no such project or stack.
        """
        folder = Path(directory).resolve()
        self._project = Project.find(folder, folder / (state_dir or ".scaler"))
        self._lock_timeout = lock_timeout
        self._steal_after = steal_after
        self._environ = os.environ if environ is None else environ
        self._clock = SystemClock()
        self.stack = self._project.choose(stack)

    # -- the number of servers -----------------------------------------------------------------

    def ensure(
        self,
        counts: int | Mapping[str, int] | None = None,
        *,
        wait: bool = True,
        timeout: timedelta = TIMEOUT,
        expect_current: int | None = None,
        max_change: int | None = None,
        allow_zero: bool = False,
    ) -> Result:
        """Make exactly so many servers exist.

        `counts` is a number, for a spec of one group, or numbers by group; groups that it does not
        name get the spec's count. With `wait=False`, nothing is confirmed: the next run does that.
        `expect_current` refuses the run when there are not so many servers now; `max_change`, when
        more are to be created and deleted together. Only with `allow_zero` does the whole stack go
        from some servers to none.
        """
        made = self._spec()
        options = Options(
            timeout=timeout, wait=wait, expect_current=expect_current, max_change=max_change, allow_zero=allow_zero
        )
        return self._ensure(made, Demand(_wanted(made, counts)), options, "ensure")

    def plan(self, counts: int | Mapping[str, int] | None = None) -> Result:
        """What `ensure` would do, as `scaler preview` tells it: its steps are pending, and nothing is changed."""
        made = self._spec()
        return self._ensure(made, Demand(_wanted(made, counts)), Options(apply=False), "plan")

    def increase(
        self, by: int = 1, group: str | None = None, *, wait: bool = True, timeout: timedelta = TIMEOUT
    ) -> Result:
        """Add servers to those that are there."""
        return self._change("increase", check_by(by), group, Options(timeout=timeout, wait=wait))

    def decrease(
        self, by: int = 1, group: str | None = None, *, wait: bool = True, timeout: timedelta = TIMEOUT
    ) -> Result:
        """Remove servers; never fewer than none are left."""
        return self._change("decrease", -check_by(by), group, Options(timeout=timeout, wait=wait))

    def stop(self, *names: str, timeout: timedelta = TIMEOUT) -> Result:
        """Drain, shut down and remove exactly these servers."""
        return self._ensure(self._spec(), Demand(remove=frozenset(names)), Options(timeout=timeout), "stop")

    def replace(self, *names: str, timeout: timedelta = TIMEOUT) -> Result:
        """New servers for these; each goes when a new one is ready."""
        return self._ensure(self._spec(), Demand(renew=frozenset(names)), Options(timeout=timeout), "replace")

    def destroy(self, *, timeout: timedelta = TIMEOUT) -> Result:
        """Remove every server of the stack, protected ones and orphans included. Nothing is asked."""
        made = self._spec()
        return self._ensure(
            made, Demand(dict.fromkeys(made.groups, 0)), Options(timeout=timeout, everything=True), "destroy"
        )

    # -- servers that are there ----------------------------------------------------------------

    def status(self, *, refresh: bool = False) -> State | None:
        """The recorded servers: no engine, no network; None when nothing was recorded yet.

        With `refresh`, the cloud is asked first, and a lost or damaged state file is rebuilt.
        """
        if refresh:
            made = self._spec()
            self._run(made, "status --refresh", lambda around: operate.look(made, around))
        return StateFile(self._project.state_dir, self.stack).load()

    def refresh(self) -> Result:
        """Compare the records with the cloud and record what is there; `drift` tells what differed."""
        made = self._spec()
        return self._run(made, "refresh", lambda around: operate.refresh(made, around))

    def reboot(self, *names: str, group: str | None = None, wait: bool = True, timeout: timedelta = TIMEOUT) -> Result:
        """Reboot these servers, or all of a group, or all; one that is starting is rebooted once it runs."""
        made = self._spec()
        return self._run(
            made,
            "reboot",
            lambda around: operate.reboot(made, around, names=names, group=group, timeout=timeout, wait=wait),
        )

    def protect(self, *names: str) -> Result:
        """Keep servers from scale-down."""
        made = self._spec()
        return self._run(made, "protect", lambda around: operate.protect(made, names, around, protected=True))

    def unprotect(self, *names: str) -> Result:
        """Let protected servers go again."""
        made = self._spec()
        return self._run(made, "unprotect", lambda around: operate.protect(made, names, around, protected=False))

    # -- runs ----------------------------------------------------------------------------------

    def _spec(self) -> Spec:
        return spec.load(self._project.spec_path(self.stack), self._project.name)

    def _change(self, what: str, by: int, group: str | None, options: Options) -> Result:
        made = self._spec()
        name = only_group(made, fix="Name one: group=...") if group is None else known_group(made, group)
        return self._ensure(made, Demand(by={name: by}), options, what)

    def _ensure(self, made: Spec, demand: Demand, options: Options, what: str) -> Result:
        return self._run(made, what, lambda around: ensure(made, demand, options, around))

    def _run(self, made: Spec, what: str, use_case: Callable[[Surroundings], Result]) -> Result:
        run = RunSettings(
            project=self._project,
            spec=made,
            cause=f"{what} (library)",
            lock_timeout=self._lock_timeout,
            steal_after=self._steal_after,
            environ=self._environ,
        )
        with open_ports(run, clock=self._clock, progress=_Log()) as around:
            return use_case(around)


def _wanted(made: Spec, counts: int | Mapping[str, int] | None) -> dict[str, int]:
    if counts is None:
        return all_counts(made, {})
    if isinstance(counts, Mapping):
        return all_counts(made, counts)
    return all_counts(made, {only_group(made, fix="Give a number by group: {'name': 5}."): counts})


class _Log:
    """`ports.Progress` for a program: told to its log."""

    def phase(self, text: str) -> None:
        _LOG.info("%s", text)

    def server(self, name: str, status: str, note: str = "") -> None:
        _LOG.debug("%s is %s%s", name, status, f": {note}" if note else "")

    def waiting(self, ready: int, wanted: int, elapsed_s: float) -> None:
        _LOG.debug("%d of %d ready after %.0f s", ready, wanted, elapsed_s)

    def note(self, text: str) -> None:
        _LOG.info("%s", text)

    def warn(self, text: str) -> None:
        _LOG.warning("%s", text)
