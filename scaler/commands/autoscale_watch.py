"""`scaler autoscale --watch`: the loop with its signals, and what it reports."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import click

from scaler.autoscale.describe import decision_document
from scaler.autoscale.tick import Tick, require_policy
from scaler.autoscale.watch import Listener, Turn, Watch
from scaler.commands.autoscale_tick import Ticker
from scaler.commands.context import Context, Output
from scaler.commands.document import as_json
from scaler.commands.running import load_stack
from scaler.errors import ExitCode, ScalerError, Terminated, UnrecognisedError, UsageError
from scaler.model import Spec
from scaler.model.orders import Pause
from scaler.output.sentences import health_remarks
from scaler.records.codec import pause_to_json
from scaler.support.clock import format_time
from scaler.support.installation import install_command
from scaler.support.text import one_line
from scaler.wiring import open_lease

if TYPE_CHECKING:
    from scaler.autoscale.exposition import Exposition


def run_watch(context: Context, spec: Spec, ticker: Ticker, interval: timedelta, listen: str | None) -> int:
    """Tick until a signal comes, and return the exit code."""
    require_policy(spec)
    with ExitStack() as stack:
        lease = stack.enter_context(
            open_lease(ticker.project, spec, os.environ, interval, partial(click.echo, err=True))
        )
        listeners: list[Listener] = [_Reporter(context)]
        if listen is not None:
            exposition = stack.enter_context(_exposition(context, spec, interval, listen, lease))
            click.echo(f"metrics on {exposition.address}/metrics", err=True)
            listeners.append(exposition)
        loop = Watch(
            interval=interval,
            clock=context.clock,
            load=lambda: load_stack(context)[1],
            # A lock that another run holds for longer must not make this watch stand still.
            tick=replace(
                ticker, lock=replace(ticker.lock, timeout=min(ticker.lock.timeout, interval)), lease=lease
            ).tick,
            listener=_Listeners(listeners),
            turn=lease,
        )
        stack.enter_context(_signals_end(loop))
        loop.run()
    click.echo("stopped", err=True)
    return ExitCode.OK


def _exposition(context: Context, spec: Spec, interval: timedelta, listen: str, turn: Turn | None) -> Exposition:
    try:
        from scaler.autoscale.exposition import Exposition
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--metrics-listen needs {error.name}, which is not installed.", fix=install_command("autoscale")
        ) from None
    return Exposition(spec.stack, listen, interval, context.clock, turn)


@contextmanager
def _signals_end(loop: Watch) -> Iterator[None]:
    """While the block runs, the first signal ends the loop after its tick, and the second one at once."""

    def obey(number: int, _frame: FrameType | None) -> None:
        if loop.stopping:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated
        loop.stop()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # `nohup` has one of them ignored, and a shell's `&` another.
    obeyed = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, obey) for number in obeyed}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class _Listeners:
    """Several listeners as one."""

    listeners: list[Listener]

    def ticked(self, done: Tick, took_s: float) -> None:
        self._each(lambda listener: listener.ticked(done, took_s))

    def failed(self, error: Exception, took_s: float) -> None:
        self._each(lambda listener: listener.failed(error, took_s))

    def reloaded(self, spec: Spec) -> None:
        self._each(lambda listener: listener.reloaded(spec))

    def stands_by(self, active: str) -> None:
        self._each(lambda listener: listener.stands_by(active))

    def reload_failed(self, error: Exception) -> None:
        self._each(lambda listener: listener.reload_failed(error))

    def _each(self, report: Callable[[Listener], None]) -> None:
        for listener in self.listeners:
            report(listener)


_LONGEST = 2000
"""Characters of a problem that are shown."""


@dataclass
class _Reporter:
    """Prints each change, and each problem once, for a person or a journal."""

    context: Context
    problem: str | None = None
    spec_problem: str | None = None
    reported: set[str] = field(default_factory=set)
    """Groups with a decision that was printed."""
    pause: Pause | None = None
    """The pause that was printed."""
    active: str | None = None
    """The other watch that was printed as acting."""
    health: tuple[str, ...] = ()
    """What was printed of servers that cannot be checked, or are unhealthy and stay."""

    def ticked(self, done: Tick, took_s: float) -> None:
        del took_s
        if self.active is not None:
            click.echo("active: this watch acts now", err=True)
        self.active = None
        if self.problem is not None:
            click.echo("all is well again", err=True)
        self.problem = None
        self._report_pause(done)
        self._report_health(done)
        if done.pause:
            return
        for name, decision in done.decisions.items():
            if not decision.change and name in self.reported:
                continue
            self.reported.add(name)
            if self.context.output is Output.JSON:
                click.echo(as_json(decision_document(decision)))
            else:
                click.echo(f"{format_time(decision.at)} {name}: {one_line(decision.reason)}")

    def _report_pause(self, done: Tick) -> None:
        """Print when a pause begins and ends."""
        if done.pause == self.pause:
            return
        self.pause = done.pause
        if self.context.output is Output.JSON:
            document = {"stack": done.stack, "at": format_time(done.at), "pause": pause_to_json(done.pause)}
            click.echo(as_json(document))
        else:
            text = one_line(str(done.pause or "autoscaling goes on"))
            click.echo(f"{format_time(done.at)} {done.stack}: {text}")

    def _report_health(self, done: Tick) -> None:
        """Warn once of servers that cannot be checked, or are unhealthy and not replaced now."""
        health = tuple(health_remarks(done.unchecked, done.held))
        for sentence in health:
            if sentence not in self.health:
                click.echo(f"! {one_line(sentence, _LONGEST)}", err=True)
        self.health = health

    def failed(self, error: Exception, took_s: float) -> None:
        del took_s
        problem = _kind(error)
        if self.problem != problem:
            click.echo(f"Error: {_words(error)}", err=True)
        self.problem = problem
        if self.context.debug:
            traceback.print_exception(error)

    def stands_by(self, active: str) -> None:
        if self.active != active:
            click.echo(f"standby: {active} acts", err=True)
        self.active = active

    def reloaded(self, spec: Spec) -> None:
        self.spec_problem = None
        click.echo(f"{spec.path.name} has changed and is in force from now on", err=True)

    def reload_failed(self, error: Exception) -> None:
        text = one_line("; ".join(map(str, getattr(error, "problems", ()))), _LONGEST) or _words(error)
        if text != self.spec_problem:
            click.echo(f"Error: the spec as it was stays in force: {text}", err=True)
        self.spec_problem = text


def _kind(error: Exception) -> str:
    """Return what makes a problem another one: the ages in the reasons of a refusal change with each tick."""
    return f"{error.code}: {error.what}" if isinstance(error, UnrecognisedError) else _words(error)


def _words(error: Exception) -> str:
    if isinstance(error, ScalerError):
        return one_line(str(error), _LONGEST)
    return f"an internal error of scaler: {type(error).__name__}"
