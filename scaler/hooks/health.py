"""Check whether servers in service can still do their work, all side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from scaler.hooks.readiness import CHECK_WITHIN_S, Boot, Check, RunningCheck, boot_key, checks_in
from scaler.model import CheckReport, CheckResult, Readiness, Server
from scaler.support.environment import CommandEnvironment

_AT_ONCE = 200
"""How many checks are under way at a time: each has a thread, and may have a process."""

_LONGEST_S = CHECK_WITHIN_S + 0.5
"""A check may take a moment beyond its own time limit to say what was wrong."""


class HealthChecker:
    """`ports.HealthChecks`: the checks that `ready` has too."""

    def __init__(
        self,
        folder: Path,
        checks: Mapping[str, Check] | None = None,
        environ: CommandEnvironment | None = None,
        share_s: float | None = None,
    ) -> None:
        """`checks` adds kinds of checks, or replaces some; commands run in `folder`, with `environ`.

        `share_s` is how long `check` waits; None: as long as a check may take.
        """
        self._checks = {**checks_in(folder, environ), **(checks or {})}
        self._share_s = share_s
        self._under_way: dict[Boot, RunningCheck] = {}
        """Checks that have outlasted the call which began them."""

    def check(self, asked: Sequence[tuple[Readiness, Server]]) -> dict[str, CheckReport]:
        """Check each of these servers once and wait for that, at most as long as one check may take.

        With a shorter `share_s`, a check that outlasts it goes on, and the call that finds it ended reports it. No
        server has two checks under way.
        """
        reports, to_begin = self._earlier(asked)
        until = time.monotonic() + (_LONGEST_S if self._share_s is None else self._share_s)
        begun: dict[str, RunningCheck] = {}
        room = max(0, _AT_ONCE - len(self._under_way)) if self._share_s is not None else len(to_begin)
        waiting = iter(to_begin[:room])
        pool = [
            threading.Thread(target=self._work, args=(waiting, begun, until), name="healthy", daemon=True)
            for _ in range(min(len(to_begin), _AT_ONCE))
        ]
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join(max(0.0, until - time.monotonic()))
        servers = {server.name: server for _, server in to_begin}
        for name, check in list(begun.items()):
            if check.done or self._share_s is None:
                reports[name] = _report(check)
            else:
                self._under_way[boot_key(servers[name])] = check
        return reports

    def _earlier(
        self, asked: Sequence[tuple[Readiness, Server]]
    ) -> tuple[dict[str, CheckReport], list[tuple[Readiness, Server]]]:
        """Return what came of earlier checks, and the servers to check now."""
        reports: dict[str, CheckReport] = {}
        to_begin = []
        for how, server in asked:
            earlier = self._under_way.get(boot_key(server))
            if earlier and (earlier.done or earlier.age_s >= _LONGEST_S):
                reports[server.name] = _report(earlier)
            if earlier is None or earlier.done:
                to_begin.append((how, server))
        self._under_way = {key: check for key, check in self._under_way.items() if not check.done}
        return reports, to_begin

    def _work(self, waiting: Iterator[tuple[Readiness, Server]], begun: dict[str, RunningCheck], until: float) -> None:
        """Carry out one check after another, until all are begun or the time is up."""
        # Taking the next of an iterator over a sequence is atomic.
        for how, server in waiting:
            left = until - time.monotonic()
            if left <= 0:
                return
            begun[server.name] = check = RunningCheck(self._checks[how.kind], how, server)
            check.thread.join(left)


def _report(check: RunningCheck) -> CheckReport:
    result = check.result
    if result is CheckResult.PASSED:
        return CheckReport(result)
    problem = check.problem if check.done else None
    return CheckReport(result, problem or f"no answer within {CHECK_WITHIN_S:g}s")
