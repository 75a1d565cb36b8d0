"""`scaler metrics`: what the sources of the `autoscale` blocks say now."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context, Output, terminal_width
from scaler.commands.document import dump
from scaler.commands.printing import print_result
from scaler.commands.running import load_stack
from scaler.config.project import Project
from scaler.errors import ExitCode
from scaler.model import Spec
from scaler.output.table import markdown_table, text_table
from scaler.support.values import dataclass

if TYPE_CHECKING:
    from scaler.autoscale.decision import Reading
    from scaler.autoscale.metrics import Measurement
    from scaler.model.autoscaling import Metric

_HEAD = ("group", "metric", "source", "value", "age", "took", "state")


@dataclass(frozen=True)
class MetricLine:
    """One metric, read and judged."""

    group: str
    metric: Metric
    source: str
    reading: Reading
    measurement: Measurement
    age_s: float

    @property
    def usable(self) -> bool:
        from scaler.autoscale.decision import SampleState

        return self.reading.state is SampleState.OK


@click.command(cls=Command)
@common_options
def metrics(context: Context) -> int:
    """Read the metrics of the autoscale blocks once, and show them.

    Shows for each metric its value and age, how long its source took, and what the number was made of, such as the jobs
    of each queue. A value that `scaler autoscale` would not use has its reason beside it. Nothing is decided or
    recorded.

    \b
    Examples:
      scaler metrics
      scaler metrics -s prod -o json

    \b
    Exit codes: 0 every metric has a value that is used, 1 one has none, 64 usage, 65 the spec is invalid.
    """
    project, spec = load_stack(context)
    lines = read_metrics(context, project, spec)
    _show(context, spec, lines)
    return ExitCode.OK if all(line.usable for line in lines) else ExitCode.ERROR


def read_metrics(context: Context, project: Project, spec: Spec) -> list[MetricLine]:
    """Read all metrics of a stack once, and judge them as `autoscale` would."""
    from scaler.autoscale.judge import judge
    from scaler.autoscale.metrics import Sources, kind_of
    from scaler.autoscale.tick import metrics_of
    from scaler.commands.autoscale_tick import fleet_of
    from scaler.wiring import opened_cloud

    opener = partial(opened_cloud, project, spec, os.environ, context.clock)
    fleet = fleet_of(context, project, spec, opener)
    found = metrics_of(spec)
    measured = Sources(os.environ, project.directory, context.clock).measure(found, fleet, spec.env)
    now = context.clock.now()
    return [
        MetricLine(
            group=group,
            metric=metric,
            source=kind_of(metric.source),
            reading=judge(metric, measured[group, name].sample, None, now),
            measurement=measured[group, name],
            age_s=max(0.0, (now - measured[group, name].sample.at).total_seconds()),
        )
        for (group, name), metric in found.items()
    ]


# ---------------------------------------------------------------------------------------------
# Output


def _show(context: Context, spec: Spec, lines: Sequence[MetricLine]) -> None:
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump({"stack": spec.stack, "metrics": [_document(line) for line in lines]}, context.output))
    elif not lines:
        print_result(f"No group of {spec.stack} has a metric.")
    elif context.output is Output.MARKDOWN:
        click.echo(markdown_table(_HEAD, _rows(lines)))
    else:
        print_result(text_table(_HEAD, _rows(lines), terminal_width(sys.stdout), dispensable=("took", "age")))


def _rows(lines: Sequence[MetricLine]) -> list[tuple[str, ...]]:
    """Return a row for each metric, and one for each part of a number that has several."""
    rows: list[tuple[str, ...]] = []
    for line in lines:
        reading = line.reading
        state = "ok" if line.usable else f"{reading.state}: {reading.error}"
        took = f"{line.measurement.seconds:.2f}s"
        age = "" if reading.value is None else f"{line.age_s:.0f}s"
        rows.append((line.group, reading.metric, line.source, _number(reading.value), age, took, state))
        parts = line.measurement.parts
        rows += [("", f"  {name}", "", _number(value), "", "", "") for name, value in parts.items() if len(parts) > 1]
    return rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _document(line: MetricLine) -> dict[str, object]:
    from scaler.autoscale.describe import reading_document

    return {
        "group": line.group,
        "name": line.reading.metric,
        "source": line.source,
        **reading_document(line.reading),
        "age_s": round(line.age_s, 1),
        "took_s": round(line.measurement.seconds, 3),
        "parts": dict(line.measurement.parts),
    }
