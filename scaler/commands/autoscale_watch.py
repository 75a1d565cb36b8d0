"""`scaler autoscale --watch`: the loop with its signals, and what it reports."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from scaler.autoscale.describe import decision_document
from scaler.autoscale.service import Service
from scaler.autoscale.tick import Tick, require_policy
from scaler.autoscale.watch import Duty, Listener, Watch
from scaler.commands.autoscale_tick import Ticker
from scaler.commands.context import Context, Output
from scaler.commands.document import as_json
from scaler.commands.printing import print_note, print_result
from scaler.commands.recorded import recorded
from scaler.commands.running import load_stack
from scaler.errors import ExitCode, ScalerError, Terminated, UnrecognisedError, UsageError
from scaler.hooks.checks import TICK_SHARE_S, Checks
from scaler.model import Spec
from scaler.model.orders import Pause
from scaler.output.sentences import health_remarks
from scaler.records.codec import pause_to_json
from scaler.records.lock_note import Heard
from scaler.records.state_file import stacks_without_spec
from scaler.support.clock import Clock, format_time
from scaler.support.installation import install_command
from scaler.support.places import Places
from scaler.support.text import one_line
from scaler.support.values import dataclass
from scaler.wiring import Commons, open_lease

if TYPE_CHECKING:
    from scaler.autoscale.exposition import Exposition
    from scaler.autoscale.figures import Figures


_PLACES = 8
"""Ticks at a time that end in time."""

_PATIENCE = timedelta(seconds=5)
"""A tick that takes longer holds no other one up: it waits for something, or has an engine at work."""

_ENGINE_PATIENCE = timedelta(seconds=30)

_PATIENCE_OF_READERS = timedelta(seconds=1)
"""How long a page waits for the records that other machines share."""

_LOOK_EVERY = timedelta(seconds=5)
"""How often a service looks for new specs."""


def run_watch(ticker: Ticker, spec: Spec, interval: timedelta, listening: PageAddress | None) -> int:
    """Serve one stack until a signal comes, and return the exit code."""
    require_policy(spec)
    with ExitStack() as stack:
        exposition = stack.enter_context(_exposition(ticker, interval, listening))
        loop = _Watches(ticker, interval, exposition).of(spec.stack)
        stack.enter_context(_signals_end(loop))
        loop.run()
    print_note("stopped")
    return ExitCode.OK


def run_service(
    ticker: Ticker, stacks: Callable[[], list[str]], interval: timedelta, listening: PageAddress | None
) -> int:
    """Serve several stacks side by side until a signal comes, and return the exit code."""
    clock = ticker.context.clock
    with ExitStack() as stack:
        exposition = stack.enter_context(_exposition(ticker, interval, listening))
        commons = make_commons(clock)
        ticker = replace(ticker, commons=commons)
        watches = _Watches(ticker, interval, exposition, make_places(clock, commons))
        look_every = min(interval, _LOOK_EVERY)
        loop = Service(
            stacks, watches.of, clock, _Announcer(exposition), look_every.total_seconds(), commons.engines.are_taken
        )
        stack.enter_context(_signals_end(loop))
        loop.run()
    print_note("stopped")
    return ExitCode.OK


def make_places(clock: Clock, commons: Commons) -> Places:
    """Return the places for ticks of several stacks.

    A stack's first tick may start several engines. So only as many begin as there is room for, and each is short.
    """
    engines = commons.engines
    return Places(_PLACES, _PATIENCE, clock, newcomers=engines.number, is_busy=engines.has)


def make_commons(clock: Clock) -> Commons:
    """Return what several stacks share: two engines for each core that are quick."""
    return Commons(Places(2 * (os.cpu_count() or 1), _ENGINE_PATIENCE, clock))


@dataclass(frozen=True)
class _Watches:
    """Makes the watch of each stack."""

    ticker: Ticker
    interval: timedelta
    exposition: Exposition | None
    places: Places | None = None
    """None: there is one stack only."""

    def of(self, stack: str) -> Watch:
        context = self.ticker.context.only(stack)
        label = f"{stack}: " if self.places else ""
        figures = self.exposition.of(stack) if self.exposition else None
        watch = Watch(
            interval=self.interval,
            clock=context.clock,
            load=lambda: load_stack(context)[1],
            open=partial(
                self._duty, replace(self.ticker, context=context, checks=Checks(TICK_SHARE_S)), label, figures
            ),
            listener=_Listeners([_Reporter(context, label), *([figures] if figures else [])]),
        )
        if self.places:
            watch.place = partial(self.places.taken, stack, lambda: watch.stopping)
        return watch

    @contextmanager
    def _duty(self, ticker: Ticker, label: str, figures: Figures | None, spec: Spec) -> Iterator[Duty]:
        """Take part in the stack's lease while the block runs."""

        def warn(text: str) -> None:
            print_note(f"{label}{text}")

        # A lock that another run holds for longer must not make this watch stand still.
        lock = replace(ticker.lock, timeout=min(ticker.lock.timeout, self.interval))
        with open_lease(ticker.project, spec, os.environ, self.interval, warn) as lease:
            if figures:
                figures.settle(lease)
            yield Duty(replace(ticker, lock=lock, lease=lease, heard=Heard()).tick, lease)


@dataclass(frozen=True)
class PageAddress:
    """Where a watch shows what it does, and to whom."""

    address: str
    """HOST:PORT."""
    token_file: Path | None = None


@contextmanager
def _exposition(ticker: Ticker, interval: timedelta, listening: PageAddress | None) -> Iterator[Exposition | None]:
    """Serve what the watches do while the block runs; None: nowhere."""
    if listening is None:
        yield None
        return
    context, project = ticker.context, ticker.project
    try:
        from scaler.autoscale.exposition import Exposition
        from scaler.page.access import read_token
        from scaler.page.address import is_loopback, listen
        from scaler.page.app import make_app
        from scaler.page.records import PageRecords
        from scaler.page.server import PageServer
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--metrics-listen needs {error.name}, which is not installed.", fix=install_command("autoscale")
        ) from None
    token = read_token(listening.token_file) if listening.token_file else None
    listener = listen(listening.address, has_token=token is not None)
    exposition = Exposition(interval, context.clock)
    records = PageRecords(
        lambda stack: recorded(context, project, stack, _PATIENCE_OF_READERS, warn=_ignore),
        lambda: stacks_without_spec(project.state_dir, project.stacks()),
        context.clock,
    )
    is_local = is_loopback(listener.getsockname()[0])
    app = make_app(exposition, records, context.clock, token=token, only_loopback=is_local)
    with PageServer(listener, app) as server:
        print_note(f"page on {server.url}/, metrics on {server.url}/metrics")
        yield exposition


def _ignore(text: str) -> None:
    """Print nothing: a page is asked for again and again."""


@dataclass
class _Announcer:
    """Prints which stacks a service serves."""

    exposition: Exposition | None

    def took_up(self, stack: str) -> None:
        print_note(f"{stack}: served from now on")

    def dropped(self, stack: str) -> None:
        if self.exposition:
            self.exposition.forget(stack)
        print_note(f"{stack}: its spec is gone, so its servers are left alone")

    def awaits(self, stacks: Sequence[str]) -> None:
        print_note(f"stopping: the ticks of {', '.join(stacks)} are still at work; a second signal ends them")

    def broke(self, stack: str, error: Exception) -> None:
        print_note(f"{stack}: Error: its watch ended, and begins again: {_words(error)}")


@contextmanager
def _signals_end(loop: Watch | Service) -> Iterator[None]:
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

    def began(self, waited_s: float, skipped: int) -> None:
        self._each(lambda listener: listener.began(waited_s, skipped))

    def ticked(self, done: Tick, took_s: float) -> None:
        self._each(lambda listener: listener.ticked(done, took_s))

    def failed(self, error: Exception, took_s: float) -> None:
        self._each(lambda listener: listener.failed(error, took_s))

    def reloaded(self, spec: Spec) -> None:
        self._each(lambda listener: listener.reloaded(spec))

    def stands_by(self, active: str) -> None:
        self._each(lambda listener: listener.stands_by(active))

    def rests(self, spec: Spec) -> None:
        self._each(lambda listener: listener.rests(spec))

    def reload_failed(self, error: Exception, spec: Spec | None) -> None:
        self._each(lambda listener: listener.reload_failed(error, spec))

    def _each(self, report: Callable[[Listener], None]) -> None:
        for listener in self.listeners:
            report(listener)


_LONGEST = 2000
"""Characters of a problem that are shown."""


@dataclass
class _Reporter:
    """Prints each change, and each problem once, for a person or a journal."""

    context: Context
    label: str = ""
    """What each line begins with, where there are several stacks."""
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

    rested: bool = False
    """Whether it was printed that there is nothing to scale."""

    def began(self, waited_s: float, skipped: int) -> None:
        """Print nothing."""

    def ticked(self, done: Tick, took_s: float) -> None:
        del took_s
        if self.active is not None:
            self._say("active: this watch acts now")
        self.active = None
        if self.problem is not None:
            self._say("all is well again")
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
                click.echo(as_json({"stack": done.stack, **decision_document(decision)}))
            else:
                print_result(f"{format_time(decision.at)} {self.label}{name}: {one_line(decision.reason)}")

    def _say(self, text: str) -> None:
        print_note(f"{self.label}{text}")

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
            print_result(f"{format_time(done.at)} {done.stack}: {text}")

    def _report_health(self, done: Tick) -> None:
        """Warn once of servers that cannot be checked, or are unhealthy and not replaced now."""
        health = tuple(health_remarks(done.unchecked, done.held))
        for sentence in health:
            if sentence not in self.health:
                self._say(f"! {one_line(sentence, _LONGEST)}")
        self.health = health

    def failed(self, error: Exception, took_s: float) -> None:
        del took_s
        problem = _kind(error)
        if self.problem != problem:
            self._say(f"Error: {_words(error)}")
        self.problem = problem
        if self.context.debug:
            traceback.print_exception(error)

    def stands_by(self, active: str) -> None:
        if self.active != active:
            self._say(f"standby: {active} acts")
        self.active = active

    def rests(self, spec: Spec) -> None:
        if not self.rested:
            self._say(f"{spec.path.name} has no group with an autoscale block: its servers are left alone")
        self.rested, self.spec_problem = True, None

    def reloaded(self, spec: Spec) -> None:
        self.rested, self.spec_problem = False, None
        self._say(f"{spec.path.name} has changed and is in force from now on")

    def reload_failed(self, error: Exception, spec: Spec | None) -> None:
        text = one_line("; ".join(map(str, getattr(error, "problems", ()))), _LONGEST) or _words(error)
        if text != self.spec_problem:
            stays = "the spec as it was stays in force" if spec else "it is served once its spec is valid"
            self._say(f"Error: {stays}: {text}")
        self.spec_problem = text


def _kind(error: Exception) -> str:
    """Return what makes a problem another one: the ages in the reasons of a refusal change with each tick."""
    return f"{error.code}: {error.what}" if isinstance(error, UnrecognisedError) else _words(error)


def _words(error: Exception) -> str:
    if isinstance(error, ScalerError):
        return one_line(str(error), _LONGEST)
    return f"an internal error of scaler: {type(error).__name__}"
