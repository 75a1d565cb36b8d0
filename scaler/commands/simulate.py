"""`scaler simulate`: recorded load against one policy, or several."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaler.commands import targets
from scaler.commands.command import Command, common_options
from scaler.commands.completers import complete_group
from scaler.commands.context import Context, Output
from scaler.commands.options import Duration
from scaler.commands.printing import print_note, print_result
from scaler.commands.running import load_stack
from scaler.commands.simulate_inputs import Given, choose_group, group_of, load_specs, make_setting, read_trace
from scaler.support.text import quoted

if TYPE_CHECKING:
    from scaler.autoscale.simulate import Simulation
    from scaler.autoscale.trace import Trace


class _Price(click.ParamType[Decimal]):
    name = "price"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        from scaler.clouds import amount

        price = amount(value)
        if price is None:
            self.fail(f"{quoted(str(value))} is not a price", param, ctx)
        return price


_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(cls=Command)
@click.option(
    "--metrics",
    required=True,
    metavar="FILE",
    help="The recorded load: CSV, JSON or an answer of Prometheus' query_range. `prometheus` asks Prometheus now, "
    "`recorded` takes what autoscale has logged.",
)
@click.option(
    "--since",
    type=Duration(),
    default="7d",
    show_default=True,
    help="With `prometheus` and `recorded`: how far to go back.",
)
@click.option(
    "--step", type=Duration(), default="30s", show_default=True, help="With `prometheus`: the time between two values."
)
@click.option(
    "--group", metavar="GROUP", shell_complete=complete_group, help="The group. Default: the only one with a policy."
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="SPEC",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compare the policy of this spec too. You can give it several times.",
)
@click.option(
    "--boot", "boots", multiple=True, type=Duration(), help="How long a server takes to boot. Several are used in turn."
)
@click.option("--throughput", type=click.FloatRange(min=0, min_open=True), help="Jobs per second of one server.")
@click.option(
    "--start", type=click.IntRange(min=0), metavar="N", help="How many servers there are at first. Default: `count`."
)
@click.option(
    "--slo", type=Duration(), help="Count a longer wait as overload. Default: `within` of the policy, else 1m."
)
@click.option("--price", type=_Price(), help="The price of a server per hour. Default: the cloud's.")
@click.option("--html", type=_FILE, help="Write a page with charts to this file, which needs nothing else.")
@click.option("--json", "json_file", type=_FILE, help="Write the whole result to this file as JSON.")
@common_options
def simulate(
    context: Context,
    /,
    metrics: str,
    since: timedelta,
    step: timedelta,
    group: str | None,
    policies: tuple[Path, ...],
    html: Path | None,
    json_file: Path | None,
    **given: Any,
) -> None:
    """Replay recorded load against a policy, and show what it would have done and cost.

    The same code decides as in a real run. The recorded columns are the policy's metrics, by name. With a column
    `arrivals`, in jobs per second, scaler models a queue and computes the metrics that have no column from it. With a
    column `servers`, averages are corrected for other numbers of servers. `recorded` has the values of each decision
    that was logged, which is each that differs from the last one, by whatever machine that shares the stack's records.

    \b
    Examples:
      scaler simulate --metrics week.csv
      scaler simulate --metrics week.csv --policy stacks/calmer.yaml --html report.html
      scaler simulate --metrics prometheus --since 7d --step 60s
      scaler simulate --metrics recorded --since 2d
      scaler simulate --metrics arrivals.csv --throughput 2.5 --boot 90s -o json

    \b
    Exit codes: 0 replayed, 1 error, 64 usage, 65 a spec is invalid.
    """
    from scaler.autoscale.simulate import simulate as replay

    project, spec = load_stack(context)
    for target in filter(None, (html, json_file)):
        targets.require_free(target)
    name = choose_group(spec, group)
    specs = load_specs(project, spec, policies, name)
    trace = read_trace(context, project, spec, name, metrics, since=since, step=step)
    results = []
    for label, one in specs.items():
        chosen = group_of(one, name)
        results.append(replay(label, chosen, trace, make_setting(context, project, one, chosen, Given(**given))))
    _write(context, results, trace, f"{spec.stack}: {name}", html, json_file)


def _write(
    context: Context,
    results: list[Simulation],
    trace: Trace,
    title: str,
    html: Path | None,
    json_file: Path | None,
) -> None:
    from scaler.autoscale import report
    from scaler.commands.document import dump
    from scaler.output.table import markdown_table
    from scaler.page.render import one_file
    from scaler.page.simulated import simulation_page

    if html is not None:
        targets.write_report(html, one_file(simulation_page(results, trace, title=title)))
    if json_file is not None:
        targets.write_report(json_file, dump(report.document(results), Output.JSON) + "\n")
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump(report.document(results), context.output))
    elif context.output is Output.MARKDOWN:
        head, *rows = report.table(results)
        click.echo(markdown_table(head, rows))
    else:
        print_result(report.chart(results))
    for path in (html, json_file):
        if path is not None:
            print_note(f"wrote {path}")
