"""Check whether a running server can do its work: no check, TCP, HTTP, a command or a function.

Checks run in threads of their own, so that none delays an observation. A server is ready after
several passed checks in a row, since a single one may pass by chance.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from scaler.errors import ExtensionError
from scaler.hooks.processes import CommandProcess, cannot_be_run
from scaler.model import CheckResult, Readiness, Server
from scaler.support.clock import Clock
from scaler.support.environment import CommandEnvironment
from scaler.support.text import LONGEST, named, one_line
from scaler.support.values import dataclass

CHECK_WITHIN_S = 5.0
"""The time limit of one check."""

_LONGEST_PROBE_S = 2 * CHECK_WITHIN_S
"""A check that has not ended by then gives no answer: it may take a moment beyond its time limit."""

_PAUSE_S = 1.0
"""Between two checks of one server."""

_REMEMBERED_S = 3600.0
"""For how long the checks of a server are remembered after it was asked about last."""

_LOOK_S = 0.02
"""Between two looks at checks that go on."""

Check = Callable[[Readiness, Server], str | None]
"""Return None if the server passes, else what is wrong; `Unreachable` if that tells nothing of the server."""

Boot: TypeAlias = tuple[str, str | None, datetime]
"""A boot of a server: its name, its cloud id, and when it entered its status."""

_GATEWAY_TROUBLE = (502, 503, 504)
"""The answers of a proxy that does not reach the server."""


_TELLS_NOTHING = (124, 126, 127, 255)
"""How commands end that found out nothing: of `timeout`, of a shell without the program, and of `ssh`."""


class Unreachable(str):
    """Why a check tells nothing of a server: that may be the trouble of this machine, or of the check."""

    __slots__ = ()


class RunningCheck:
    """One check of one server, in a daemon thread: a check that hangs delays nothing, not even the process's exit."""

    def __init__(self, check: Check, how: Readiness, server: Server) -> None:
        self._began = time.monotonic()
        self.done = False
        self.problem: str | None = None
        self.thread = threading.Thread(target=self._run, args=(check, how, server), name="ready", daemon=True)
        self.thread.start()

    def _run(self, check: Check, how: Readiness, server: Server) -> None:
        try:
            self.problem = _cleaned(check(how, server))
        except Exception as error:
            self.problem = Unreachable(one_line(f"{type(error).__name__}: {error}", LONGEST))
        self.done = True

    @property
    def age_s(self) -> float:
        """For how many seconds it has been under way."""
        return time.monotonic() - self._began

    @property
    def result(self) -> CheckResult:
        """What came of it; a check that is not done by now counts as one without an answer."""
        if not self.done or isinstance(self.problem, Unreachable):
            return CheckResult.NO_ANSWER
        return CheckResult.FAILED if self.problem else CheckResult.PASSED


@dataclass
class _History:
    """The checks of one server since its last boot."""

    passed: int = 0
    """Passed checks in a row."""
    last_problem: str | None = None
    running: RunningCheck | None = None
    next_at: float = 0.0
    """When the next check may start, in seconds of the clock's `monotonic`."""
    asked_at: float = 0.0
    """When somebody asked last."""


class ReadinessChecker:
    """`ports.ReadinessChecks`: checks all servers of a run."""

    def __init__(
        self,
        clock: Clock,
        folder: Path,
        checks: Mapping[str, Check] | None = None,
        environ: CommandEnvironment | None = None,
        share_s: float | None = None,
    ) -> None:
        """`checks` adds kinds of checks, or replaces some.

        `folder` is the working directory of commands, and `environ` their environment. `share_s` is how long `finish`
        and `probe` wait for one check; None: as long as it may take.
        """
        self._share_s = share_s
        self._clock = clock
        self._checks = {**checks_in(folder, environ), **(checks or {})}
        self._histories: dict[Boot, _History] = {}
        self._probes: dict[Boot, RunningCheck] = {}
        """Checks of probes that have outlasted this tick's call, or the last tick's."""
        self._earlier_probes: dict[Boot, RunningCheck] = {}

    def is_ready(self, how: Readiness, server: Server) -> bool:
        """Return whether enough checks in a row have passed by now. If not, start the next one without waiting."""
        if how.kind == "none":
            return True
        history = self._histories.setdefault(boot_key(server), _History())
        history.asked_at = self._clock.monotonic()
        self._collect(history)
        if history.passed >= how.successes:
            return True
        if history.running is None and self._clock.monotonic() >= history.next_at:
            history.running = RunningCheck(self._checks[how.kind], how, server)
        return False

    def finish(self, asked: Sequence[tuple[Readiness, Server]]) -> frozenset[str]:
        """Go on with the checks of these servers; return the names of those that are ready.

        It ends when each server is ready, failed a check, or had the time that a check and the pauses take.
        """
        until = self._clock.monotonic() + CHECK_WITHIN_S + max((how.successes for how, _ in asked), default=0)
        ready: set[str] = set()
        waiting = list(asked)
        while waiting and self._clock.monotonic() < until:
            ready |= {server.name for how, server in waiting if self.is_ready(how, server)}
            waiting = [one for one in waiting if one[1].name not in ready and self._goes_well(one[1])]
            if waiting:
                self._clock.sleep(_LOOK_S)
        return frozenset(ready)

    def _goes_well(self, server: Server) -> bool:
        history = self._histories[boot_key(server)]
        if self._share_s is not None and history.running:
            return history.running.age_s < self._share_s
        return history.last_problem is None or history.passed > 0

    def forget_unasked(self) -> None:
        """Forget the servers that nobody has asked about for long, and probes that the last tick did not ask for."""
        self._probes, self._earlier_probes = {}, self._probes
        oldest = self._clock.monotonic() - _REMEMBERED_S
        self._histories = {key: known for key, known in self._histories.items() if known.asked_at >= oldest}

    def trouble(self, server: Server) -> str | None:
        """Return what was wrong in the last failed check; None if no check has failed."""
        history = self._histories.get(boot_key(server))
        return history.last_problem if history else None

    def probe(self, how: Readiness, servers: Sequence[Server]) -> dict[str, CheckResult]:
        """Check each of these servers once, all at the same time, and wait for that; the results by name.

        With a `share_s`, checks that outlast it go on, and there is no result before all have ended: the results
        say together whether anybody can be reached from here. A later call has them.
        """
        earlier = {**self._earlier_probes, **self._probes}
        probes = {
            key: earlier.get(key) or RunningCheck(self._checks[how.kind], how, server)
            for server in servers
            for key in [boot_key(server)]
        }
        until = time.monotonic() + (_LONGEST_PROBE_S if self._share_s is None else self._share_s)
        for check in probes.values():
            check.thread.join(max(0.0, until - time.monotonic()))
        if self._share_s is not None and not all(
            check.done or check.age_s >= _LONGEST_PROBE_S for check in probes.values()
        ):
            self._probes |= probes
            return {}
        for known in (self._probes, self._earlier_probes):
            for key in probes:
                known.pop(key, None)
        return {name: check.result for (name, _, _), check in probes.items()}

    def _collect(self, history: _History) -> None:
        """Enter the result of the running check, if it is done."""
        if history.running is None or not history.running.done:
            return
        problem = history.running.problem
        history.passed = 0 if problem else history.passed + 1
        history.last_problem = problem or history.last_problem
        history.running = None
        history.next_at = self._clock.monotonic() + _PAUSE_S


def checks_in(folder: Path, environ: CommandEnvironment | None) -> dict[str, Check]:
    """Return the checks by kind; commands run in `folder` with this environment."""
    return {
        "tcp": _check_tcp,
        "http": _check_http,
        "command": _command_check(folder, environ),
        "function": _check_function,
    }


def _cleaned(problem: str | None) -> str | None:
    """Return what a check found wrong, as it can be shown: commands, functions and servers have written it."""
    if problem is None:
        return None
    line = one_line(problem, LONGEST)
    return Unreachable(line) if isinstance(problem, Unreachable) else line


def boot_key(server: Server) -> Boot:
    """Identify a boot: a check before a reboot, or of an earlier machine with this name, does not count."""
    return server.name, server.id, server.since


def _check_tcp(how: Readiness, server: Server) -> str | None:
    if not _address(server):
        return Unreachable("it has no address")
    try:
        with socket.create_connection((_address(server), how.port or 0), timeout=CHECK_WITHIN_S):
            return None
    except OSError as error:
        problem = f"port {how.port}: {error.strerror or error}"
        return problem if isinstance(error, ConnectionError) else Unreachable(problem)


def _check_http(how: Readiness, server: Server) -> str | None:
    import requests

    from scaler.support.http import Session

    url = how.url or ""
    if "{ip}" in url and not _address(server):
        return Unreachable("it has no address")
    if "{private_ip}" in url and not server.private_ip:
        return Unreachable("it has no private address")
    url = fill_in(url, server, bracketed=True)
    try:
        # Follow no redirect and read no body: a redirect may lead to another server, and a body may never end.
        with Session() as session, session.get(url, timeout=CHECK_WITHIN_S, stream=True) as answer:
            problem = f"{url}: HTTP {answer.status_code}"
            if answer.status_code in _GATEWAY_TROUBLE and _is_proxied(url):
                return Unreachable(f"{problem} of a proxy")
            return None if answer.status_code < 400 else problem
    except requests.exceptions.InvalidProxyURL as error:
        return Unreachable(f"{url}: {error}")
    except requests.exceptions.ConnectionError as error:
        problem = f"{url}: {type(error).__name__}"
        return problem if _was_answered(error) else Unreachable(problem)
    except requests.RequestException as error:
        return f"{url}: {type(error).__name__}"


def _is_proxied(url: str) -> bool:
    """Return whether requests to a URL go through a proxy, by the environment."""
    import requests.utils

    return bool(requests.utils.get_environ_proxies(url))


def _was_answered(error: BaseException) -> bool:
    """Return whether a connection failed by an answer of the server's: it was refused, or reset."""
    import requests

    if isinstance(error, requests.exceptions.ProxyError):
        return False
    if isinstance(error, requests.exceptions.SSLError):
        return True
    seen: list[object] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or one in seen:
            continue
        if isinstance(one, ConnectionError):
            return True
        seen.append(one)
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return False


def _command_check(folder: Path, environ: CommandEnvironment | None) -> Check:
    def check(how: Readiness, server: Server) -> str | None:
        if not server.private_ip and any("{private_ip}" in word for word in how.command):
            return Unreachable("it has no private address")
        words = [fill_in(word, server) for word in how.command]
        try:
            process = CommandProcess(words, folder, environ=environ)
        except (OSError, ValueError) as error:
            return Unreachable(f"{how.command[0]} {cannot_be_run(error)}")
        problem = process.finish(CHECK_WITHIN_S)
        if not problem:
            return None
        code = process.ended()
        # A negative one was killed, by us when its time was up.
        tells = code is not None and code >= 0 and code not in _TELLS_NOTHING
        return (str if tells else Unreachable)(f"{how.command[0]} {problem}")

    return check


def _check_function(how: Readiness, server: Server) -> str | None:
    if how.function is None:
        return Unreachable("there is no function to ask")
    try:
        answer = how.function(server)
    except ExtensionError as error:
        return Unreachable(f"{how.function}: {error.why}")
    if answer is None or (answer and isinstance(answer, str)):
        return answer
    return Unreachable(f"{how.function} answered {named(repr(answer))}, not None or what is wrong")


def fill_in(text: str, server: Server, *, bracketed: bool = False) -> str:
    """Replace `{ip}`, `{private_ip}` and `{name}` by the server's; what it does not have becomes nothing.

    `bracketed` writes an IPv6 address as URLs need it, `[::1]`.
    """

    def written(address: str) -> str:
        return f"[{address}]" if bracketed and ":" in address else address

    text = text.replace("{ip}", written(_address(server)))
    return text.replace("{private_ip}", written(server.private_ip or "")).replace("{name}", server.name)


def _address(server: Server) -> str:
    """Return the public address, or the private one of a server without."""
    return server.ipv4 or server.ipv6 or server.private_ip or ""
