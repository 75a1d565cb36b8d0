"""Check of the metrics of a stack: that each can be read, and that a zero is not that of a wrong place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from scaler.commands.checks.finding import Finding, Level
from scaler.commands.context import Context
from scaler.config.project import Project
from scaler.errors import ExitCode
from scaler.model import Spec

if TYPE_CHECKING:
    from scaler.commands.metrics import MetricLine


def check_metrics(context: Context, project: Project, spec: Spec) -> Iterator[Finding]:
    """Read each metric once, all at the same time. No finding for a stack without metrics."""
    if not any(group.autoscale and group.autoscale.metrics for group in spec.groups.values()):
        return
    from scaler.autoscale.metrics.empty import why_empty
    from scaler.commands.metrics import read_metrics

    for line in read_metrics(context, project, spec):
        check = f"metric {spec.stack} {line.group}.{line.reading.metric}"
        if not line.usable:
            yield Finding(
                check=check,
                level=Level.FAIL,
                message=f"{line.source} gives no number: {line.reading.error}",
                fix="See that the source answers from here, and correct the spec; "
                f"`scaler metrics -s {spec.stack}` reads it again. Until then, autoscale does what `on_error` says.",
                exit_code=ExitCode.ERROR,
            )
        elif _has_a_zero(line) and (why := why_empty(line.metric, os.environ, project.directory, context.clock)):
            yield Finding(
                check=check,
                level=Level.WARN,
                message=f"{line.reading.value:g}, and perhaps not the right place: {why}",
                fix="Compare the spec with what the application uses, while jobs wait.",
            )
        else:
            yield Finding(check=check, message=f"{line.source} says {line.reading.value:g}")


def _has_a_zero(line: MetricLine) -> bool:
    """Return whether a metric, or one of several parts of it, is 0."""
    return line.reading.value == 0 or 0 in line.measurement.parts.values()
