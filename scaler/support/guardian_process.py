"""End the processes that scaler left behind, whatever ended it, SIGKILL too. A program of its own.

`scaler.support.guardian` starts it. It reads lines from standard input: `+ PID BEGAN GRACE` for a process that leads a
session, with when it began (0: not known), and `- PID` when that has ended. The input ends with the process that writes
it, since nobody else has the other end of the pipe. Then it kills the sessions that are left; one with a GRACE
is first asked to end by SIGINT, and has so many seconds for that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from scaler.support.sessions import kill_session, members
from scaler.support.values import dataclass

_POLL_S = 0.05


@dataclass(frozen=True)
class _Left:
    leader: int
    began: int | None
    grace_s: float


def main() -> int:
    """Read until the end of the input, then end what is left."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    left: dict[int, _Left] = {}
    for line in sys.stdin:
        sign, leader, *more = line.split()
        if sign == "+":
            began, grace = more
            left[int(leader)] = _Left(int(leader), int(began) or None, float(grace))
        else:
            left.pop(int(leader), None)
    _end(list(left.values()))
    return 0


def _end(left: list[_Left]) -> None:
    for each in left:
        if each.grace_s:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(each.leader, signal.SIGINT)
        else:
            kill_session(each.leader, each.began)
    began = time.monotonic()
    waiting = [each for each in left if each.grace_s]
    while waiting:
        time.sleep(_POLL_S)
        passed = time.monotonic() - began
        over = [each for each in waiting if passed >= each.grace_s or not _lives(each)]
        for each in over:
            # Its children may live on when it has ended.
            kill_session(each.leader, each.began)
        waiting = [each for each in waiting if each not in over]


def _lives(each: _Left) -> bool:
    if each.began is not None:
        return each.leader in members(each.leader, each.began)
    try:
        os.kill(each.leader, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
