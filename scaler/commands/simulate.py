"""`scaler simulate`: recorded load against one policy, or several."""

from __future__ import annotations

import os
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaler.commands.completers import complete_group
from scaler.commands.context import Context, Output, common_options
from scaler.commands.running import Duration, load
from scaler.config.project import Project
from scaler.converge.counts import known_group
from scaler.errors import ScalerError, UsageError
from scaler.model import Group, Price, Spec

if TYPE_CHECKING:
    from scaler.autoscale.simulate import Setting, Simulation
    from scaler.autoscale.trace import Trace

_PROMETHEUS = "prometheus"


class _Price(click.ParamType[Decimal]):
    name = "price"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            price = Decimal(value)
        except InvalidOperation:
            self.fail(f"{value!r} is no price", param, ctx)
        if not price.is_finite() or price < 0:
            self.fail(f"{value!r} is no price", param, ctx)
        return price


@click.command()
@click.option(
    "--metrics",
    required=True,
    metavar="FILE",
    help="The recorded load: CSV, JSON, an answer to Prometheus' query_range; or `prometheus`, to ask it now.",
)
@click.option("--since", type=Duration(), default="7d", show_default=True, help="With `prometheus`: how far back.")
@click.option("--step", type=Duration(), default="30s", show_default=True, help="With `prometheus`: how fine.")
@click.option("--group", metavar="GROUP", shell_complete=complete_group, help="Default: the only one with a policy.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="SPEC",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Another spec whose policy is compared; can be given several times.",
)
@click.option("--boot", "boots", multiple=True, type=Duration(), help="A boot's time; several are taken in turn.")
@click.option("--throughput", type=click.FloatRange(min=0, min_open=True), help="Jobs per second and server.")
@click.option("--start", type=click.IntRange(min=0), metavar="N", help="Servers at the beginning. Default: count.")
@click.option("--slo", type=Duration(), help="A longer wait is overload. Default: the policy's `within`, else 1m.")
@click.option("--price", type=_Price(), help="A server's price per hour. Default: the cloud's.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a report with plots to this file.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all of it as JSON.")
@common_options
def simulate(context: Context, /, metrics: str, group: str | None, policies: tuple[Path, ...], **options: Any) -> None:
    """Replay recorded load against the policy: what would it have done, and cost?

    The decisions are made by the same code as in earnest. The recorded columns are the policy's metrics, by name.
    With a column `arrivals`, jobs per second, a queue is modelled, and metrics without a column are taken from it.
    With a column `servers`, averages are set right for other counts of servers.

    \b
    Examples:
      scaler simulate --metrics week.csv
      scaler simulate --metrics week.csv --policy stacks/calmer.yaml --html report.html
      scaler simulate --metrics prometheus --since 7d --step 60s
      scaler simulate --metrics arrivals.csv --throughput 2.5 --boot 90s -o json

    \b
    Exit codes: 0 replayed, 1 error, 64 usage, 65 a spec is invalid.
    """
    from scaler.autoscale.simulate import simulate as replay

    project, spec = load(context)
    name = _chosen(spec, group)
    specs = {spec.stack: spec, **_others(project, policies, spec, name)}
    trace = _trace(context, project, spec.groups[name], metrics, options["since"], options["step"])
    results = [
        replay(label, _group(one, name), trace, _setting(context, project, one, name, options))
        for label, one in specs.items()
    ]
    _write(context, results, trace, f"{spec.stack}: {name}", options["html"], options["json_file"])


def _chosen(spec: Spec, group: str | None) -> str:
    if group is not None:
        return known_group(spec, group)
    having = [name for name, one in spec.groups.items() if one.autoscale]
    if len(having) == 1:
        return having[0]
    if not having:
        raise UsageError(f"No group of {spec.stack} has an autoscale block.", fix=f"Add one in {spec.path}.")
    raise UsageError(
        f"Several groups of {spec.stack} have a policy: {', '.join(having)}.", fix="Say which with --group."
    )


def _others(project: Project, paths: tuple[Path, ...], spec: Spec, name: str) -> dict[str, Spec]:
    from scaler.config.spec import load as load_spec

    others: dict[str, Spec] = {}
    for path in paths:
        if path.stem == spec.stack or path.stem in others:
            raise UsageError(f"Two policies are named {path.stem}.", fix="Rename one of the files.")
        others[path.stem] = load_spec(path.resolve(), project.name)
        _group(others[path.stem], name)
    return others


def _group(spec: Spec, name: str) -> Group:
    """The group of this name, else the only one that has a policy."""
    if name in spec.groups:
        return spec.groups[name]
    return spec.groups[_chosen(spec, None)]


def _trace(context: Context, project: Project, group: Group, metrics: str, since: timedelta, step: timedelta) -> Trace:
    from scaler.autoscale.trace import load_trace

    if metrics != _PROMETHEUS:
        return load_trace(Path(metrics))
    from scaler.autoscale.prometheus_trace import fetch_trace

    return fetch_trace(
        group, since=since, step=step, clock=context.clock, environ=os.environ, directory=project.directory
    )


def _setting(context: Context, project: Project, spec: Spec, name: str, options: Any) -> Setting:
    from scaler.autoscale.simulate import Setting

    group = _group(spec, name)
    return Setting(
        cloud=spec.cloud,
        boots=options["boots"] or _learned(project, spec, group) or (timedelta(seconds=60),),
        throughput=options["throughput"],
        start=options["start"],
        slo=options["slo"],
        price=_price(context, project, spec, group, options["price"]),
        limit=spec.limit,
        budget=spec.budget,
    )


def _learned(project: Project, spec: Spec, group: Group) -> tuple[timedelta, ...]:
    """How long the stack's own servers took to boot, as far as they are on record."""
    from scaler.records.boots import boot_times
    from scaler.records.event_log import EventLog
    from scaler.records.state_file import StateFile
    from scaler.support.clock import SystemClock

    log = EventLog(StateFile(project.state_dir, spec.stack).events_path, SystemClock())
    return tuple(boot_times(log.read()).get(group.name, ()))


def _price(context: Context, project: Project, spec: Spec, group: Group, given: Decimal | None) -> Price | None:
    """The price that was given, else the cloud's own; None, after a warning, if neither is to be had."""
    currency = {"hetzner": "EUR", "digitalocean": "USD"}.get(spec.cloud, "")
    if given is not None:
        return Price(currency, given)
    from scaler.planning.prices import Priced, price_of
    from scaler.wiring import opened_cloud

    try:
        with opened_cloud(project, spec, os.environ, context.clock) as cloud:
            catalogue = cloud.catalogue()
    except ScalerError as error:
        click.echo(f"warning: without prices: {error}; give --price", err=True)
        return None
    price = price_of(catalogue, Priced(group.types[0], group.locations[0], group.public_ipv4))
    if price is None:
        click.echo(f"warning: {group.types[0]} is not sold in {group.locations[0]}; give --price", err=True)
    return price


def _write(
    context: Context,
    results: list[Simulation],
    trace: Trace,
    title: str,
    html: Path | None,
    json_file: Path | None,
) -> None:
    from scaler.autoscale import report
    from scaler.autoscale.report_page import page
    from scaler.commands.document import dump, markdown_table

    if html is not None:
        _write_file(html, page(results, trace, title=title))
    if json_file is not None:
        _write_file(json_file, dump(report.document(results), Output.JSON) + "\n")
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump(report.document(results), context.output))
    elif context.output is Output.MARKDOWN:
        head, *rows = report.table(results)
        click.echo(markdown_table(head, rows))
    else:
        click.echo(report.chart(results))
    for path in (html, json_file):
        if path is not None:
            click.echo(f"wrote {path}", err=True)


def _write_file(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written.", why=error.strerror or str(error)) from None
