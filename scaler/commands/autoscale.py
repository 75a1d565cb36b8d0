"""`scaler autoscale`: the number from the load."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from scaler.commands.ci import keep_result, report_options
from scaler.commands.context import Context, Output, common_options
from scaler.commands.running import (
    EXIT_CODES,
    Duration,
    ask,
    load,
    lock_timeout_option,
    require_consent,
    steal_after_option,
    timeout_option,
)
from scaler.config.project import Project
from scaler.errors import ExitCode, ScalerError, Terminated, UsageError
from scaler.model import GroupReport, Outcome, Result, Spec
from scaler.support.installation import install_command

if TYPE_CHECKING:
    from scaler.autoscale.bounds import Prices
    from scaler.autoscale.metrics import Sources
    from scaler.autoscale.tick import Tick
    from scaler.autoscale.watch import Listener, Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """How one tick is carried out."""

    context: Context
    project: Project
    apply: bool = True
    wait: bool = False
    asking: bool = False
    timeout: timedelta
    lock_timeout: timedelta
    steal_after: timedelta | None
    quiet: bool = False


@click.command()
@click.option("--preview", is_flag=True, help="Show the decision and what it would change; change nothing.")
@click.option("--watch", type=Duration(), metavar="EVERY", help="Go on, and decide anew every so often, such as 60s.")
@click.option("--metrics-listen", metavar="HOST:PORT", help="With --watch: serve /metrics and /healthz there.")
@click.option("--wait", is_flag=True, help="Wait until the servers are ready; without it, the next run confirms them.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@timeout_option
@lock_timeout_option
@steal_after_option
@report_options
@common_options
def autoscale(
    context: Context,
    preview: bool,
    watch: timedelta | None,
    metrics_listen: str | None,
    wait: bool,
    yes: bool,
    timeout: timedelta,
    lock_timeout: timedelta,
    steal_after: timedelta | None,
) -> int:
    """Work the number of servers out from the load, and make it so.

    The groups' autoscale blocks say how. Without --watch it decides once, as a cron job does; what the next run must
    know is in the stack's records, so that both decide the same. A watch never asks, and ends at Ctrl-C or SIGTERM
    once the tick under way has ended; a second signal ends it at once.

    \b
    Examples:
      scaler autoscale --preview                what would be done, and why
      scaler autoscale --yes                    from cron
      scaler autoscale --watch 60s --metrics-listen 127.0.0.1:9410

    \b
    Exit codes: 0 done, 1 error, 3 refused, 4 not confirmed in time (with --wait), 5 locked, 64 usage.

    With --watch, no report is written: it has no end.
    """
    _check(preview, watch, metrics_listen)
    if watch is None and not preview:
        require_consent(context, yes, "autoscale")
    project, spec = load(context)
    how = _How(
        context=context,
        project=project,
        apply=not preview,
        wait=wait,
        asking=not yes and watch is None and not preview,
        timeout=timeout,
        lock_timeout=lock_timeout,
        steal_after=steal_after,
        quiet=watch is not None,
    )
    if watch is not None:
        return _watch(how, spec, watch, metrics_listen)
    if not any(group.autoscale for group in spec.groups.values()):
        return _nothing(context, spec)
    done = _tick(how, spec, _sources(how), _prices(how), context.clock.now())
    _show(context, done)
    if done.outcome is Outcome.UNCONFIRMED and not wait:
        return ExitCode.OK
    return EXIT_CODES[done.outcome]


def _check(preview: bool, watch: timedelta | None, metrics_listen: str | None) -> None:
    if watch is not None and watch <= timedelta(0):
        raise UsageError("--watch must be more than nothing.")
    if watch is not None and preview:
        raise UsageError("--preview shows one decision, and --watch goes on.", fix="Give one of them.")
    if metrics_listen is not None and watch is None:
        raise UsageError("--metrics-listen is for --watch.", fix="Add --watch 60s.")


def _sources(how: _How) -> Sources:
    from scaler.autoscale.metrics import Sources

    return Sources(os.environ, how.project.directory, how.context.clock)


def _prices(how: _How) -> Prices:
    from scaler.autoscale.bounds import Prices

    return Prices(how.context.clock)


def _coming(how: _How, spec: Spec) -> frozenset[str]:
    """Ids of the servers that were not ready when they were last looked at."""
    from scaler.errors import StateError
    from scaler.model.lifecycle import Status
    from scaler.records.state_file import StateFile

    try:
        state = StateFile(how.project.state_dir, spec.stack).load()
    except StateError:
        # The run mends it, or says what is wrong with it.
        return frozenset()
    waiting = (Status.STARTING, Status.REBOOTING)
    return frozenset(one.id for one in (state.servers if state else ()) if one.id and one.status in waiting)


def _tick(how: _How, spec: Spec, sources: Sources, prices: Prices, now: datetime) -> Tick:
    """Read the metrics, and decide with the stack's lock held."""
    from scaler.autoscale.memory import Memory
    from scaler.autoscale.metrics import Fleet
    from scaler.autoscale.tick import read_samples, run_tick
    from scaler.converge.demand import Options
    from scaler.output.progress import open_progress
    from scaler.wiring import RunSettings, open_ports, opened_cloud

    context = how.context
    opener = partial(opened_cloud, how.project, spec, os.environ, context.clock)
    fleet = Fleet(spec.owner, opener, coming=_coming(how, spec))
    samples = read_samples(spec, sources, fleet)
    described = RunSettings(
        project=how.project,
        spec=spec,
        cause="autoscale",
        lock_timeout=how.lock_timeout,
        steal_after=how.steal_after,
        environ=os.environ,
    )
    with (
        open_progress(
            sys.stderr,
            interactive=context.interactive and not how.quiet,
            quiet=how.quiet or context.verbosity < 0,
            color=context.colored(sys.stderr),
            clock=context.clock,
        ) as progress,
        open_ports(described, clock=context.clock, progress=progress) as around,
    ):
        options = Options(
            apply=how.apply,
            wait=how.wait,
            timeout=how.timeout,
            approve=ask(context, spec, around, f"Change {spec.stack}?") if how.asking else None,
        )
        memory = Memory.of(how.project.state_dir, spec.stack, progress.warn)
        return run_tick(spec, samples, memory, around, now=now, options=options, prices=prices, read=fleet.sent)


# ---------------------------------------------------------------------------------------------
# Watching


def _watch(how: _How, spec: Spec, interval: timedelta, listen: str | None) -> int:
    from scaler.autoscale.tick import require_policy
    from scaler.autoscale.watch import Watch

    require_policy(spec)
    context = how.context.of(spec.stack)
    sources, prices = _sources(how), _prices(how)
    with ExitStack() as stack:
        listeners: list[Listener] = [_Teller(context)]
        if listen is not None:
            try:
                from scaler.autoscale.exposition import Exposition
            except ModuleNotFoundError as error:
                raise UsageError(
                    f"--metrics-listen needs {error.name}, which is not installed.",
                    fix=install_command("autoscale"),
                ) from None
            exposition = stack.enter_context(Exposition(spec.stack, listen, interval, context.clock))
            click.echo(f"metrics on {exposition.address}/metrics", err=True)
            listeners.append(exposition)
        loop = Watch(
            interval=interval,
            clock=context.clock,
            load=lambda: load(context)[1],
            tick=lambda newest, now: _tick(how, newest, sources, prices, now),
            listener=_Both(listeners),
        )
        stack.callback(_heed_signals(loop))
        loop.run()
    click.echo("stopped", err=True)
    return ExitCode.OK


def _heed_signals(loop: Watch) -> Any:
    """The first signal ends the loop after its tick, the second at once; returns what undoes it."""

    def heed(number: int, _frame: FrameType | None) -> None:
        if loop.stopping:
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
        loop.stop()

    before = {number: signal.signal(number, heed) for number in (signal.SIGINT, signal.SIGTERM)}

    def undo() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return undo


@dataclass
class _Both:
    """Several listeners as one."""

    listeners: list[Listener]

    def ticked(self, done: Tick, took_s: float) -> None:
        for listener in self.listeners:
            listener.ticked(done, took_s)

    def failed(self, error: Exception, took_s: float) -> None:
        for listener in self.listeners:
            listener.failed(error, took_s)

    def reloaded(self, spec: Spec) -> None:
        for listener in self.listeners:
            listener.reloaded(spec)

    def reload_failed(self, error: Exception) -> None:
        for listener in self.listeners:
            listener.reload_failed(error)


@dataclass
class _Teller:
    """Tells a person, or a journal: each change, and each trouble once."""

    context: Context
    trouble: str | None = None
    spec_trouble: str | None = None
    told: dict[str, str] = field(default_factory=dict)

    def ticked(self, done: Tick, took_s: float) -> None:
        from scaler.autoscale.describe import decision_document
        from scaler.support.clock import format_time

        del took_s
        self._over()
        for name, decision in done.decisions.items():
            if not decision.change and name in self.told:
                continue
            self.told[name] = decision.reason
            if self.context.output is Output.JSON:
                import json

                click.echo(json.dumps(decision_document(decision), ensure_ascii=False))
            else:
                click.echo(f"{format_time(decision.at)} {name}: {decision.reason}")

    def failed(self, error: Exception, took_s: float) -> None:
        del took_s
        if self.trouble != (text := self._words(error)):
            click.echo(f"Error: {text}", err=True)
        self.trouble = text
        if self.context.debug:
            import traceback

            traceback.print_exception(error)

    def reloaded(self, spec: Spec) -> None:
        self.spec_trouble = None
        click.echo(f"{spec.path.name} has changed and is in force from now on", err=True)

    def reload_failed(self, error: Exception) -> None:
        text = "; ".join(map(str, getattr(error, "problems", ()))) or self._words(error)
        if text != self.spec_trouble:
            click.echo(f"Error: the spec as it was stays in force: {text}", err=True)
        self.spec_trouble = text

    @staticmethod
    def _words(error: Exception) -> str:
        return str(error) if isinstance(error, ScalerError) else f"an error of scaler's own: {type(error).__name__}"

    def _over(self) -> None:
        if self.trouble is not None:
            click.echo("all is well again", err=True)
        self.trouble = None


# ---------------------------------------------------------------------------------------------
# Telling


def _nothing(context: Context, spec: Spec) -> int:
    """No group follows its load: that is no error, and nothing happens."""
    if context.output in (Output.JSON, Output.YAML):
        from scaler.commands.document import dump

        click.echo(dump({"stack": spec.stack, "outcome": "unchanged", "decisions": {}, "result": None}, context.output))
    else:
        click.echo(f"No group of {spec.stack} has an autoscale block. Nothing to do.")
    return ExitCode.OK


def _unchanged(done: Tick) -> Result:
    """The result of a decision that needed no run."""
    groups = {
        name: GroupReport(wanted=decision.count, before=decision.supply.supply, ready=decision.supply.ready)
        for name, decision in done.decisions.items()
    }
    return Result(
        stack=done.stack, outcome=done.outcome, groups=groups, servers=tuple(done.servers), requests=done.requests
    )


def _show(context: Context, done: Tick) -> None:
    from scaler.autoscale.describe import decision_document, decision_lines
    from scaler.commands.document import dump, markdown_table
    from scaler.output.documents import result_document
    from scaler.output.render import render

    keep_result(done.result or _unchanged(done))
    if context.output in (Output.JSON, Output.YAML):
        facts = {
            "stack": done.stack,
            "outcome": str(done.outcome),
            "decisions": {name: decision_document(decision) for name, decision in done.decisions.items()},
            "result": result_document(done.result) if done.result else None,
        }
        click.echo(dump(facts, context.output))
        return
    if context.output is Output.MARKDOWN:
        rows = [
            (name, str(decision.supply.current), str(decision.count), decision.reason)
            for name, decision in done.decisions.items()
        ]
        click.echo(markdown_table(("group", "from", "to", "why"), rows))
    else:
        click.echo("\n".join(line for decision in done.decisions.values() for line in decision_lines(decision)))
    if done.result:
        color = context.colored(sys.stdout)
        click.echo("\n" + render(done.result, context.output, color=color), color=color)
