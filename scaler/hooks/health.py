"""Check whether servers in service can still do their work, all side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from scaler.hooks.readiness import CHECK_WITHIN_S, Check, RunningCheck, checks_in
from scaler.model import CheckReport, CheckResult, Readiness, Server

_AT_ONCE = 200
"""How many checks are under way at a time: each has a thread, and may have a process."""

_GRACE_S = 0.5
"""What a check may take beyond its own time limit to say what was wrong."""


class HealthChecker:
    """`ports.HealthChecks`: the checks that `ready` has too."""

    def __init__(
        self, folder: Path, checks: Mapping[str, Check] | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        """`checks` adds kinds of checks, or replaces some; commands run in `folder`, with `environ`."""
        self._checks = {**checks_in(folder, environ), **(checks or {})}

    def check(self, asked: Sequence[tuple[Readiness, Server]]) -> dict[str, CheckReport]:
        """Check each of these servers once and wait for that, at most as long as one check may take."""
        until = time.monotonic() + CHECK_WITHIN_S + _GRACE_S
        begun: dict[str, RunningCheck] = {}
        waiting = iter(asked)
        pool = [
            threading.Thread(target=self._work, args=(waiting, begun, until), name="healthy", daemon=True)
            for _ in range(min(len(asked), _AT_ONCE))
        ]
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join(max(0.0, until - time.monotonic()))
        return {name: _report(check) for name, check in list(begun.items())}

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
