"""A number, or JSON with one in it, on a program's standard output."""

from __future__ import annotations

from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.autoscale.metrics.documents import LARGEST, value_in
from scaler.hooks.processes import ask_command, cannot_be_run, failure_of
from scaler.model.autoscaling import CommandSource
from scaler.support.environment import CommandEnvironment


def read(source: CommandSource, request: MetricRead) -> Value:
    """Return what the command prints. Raise MetricError if it fails, prints too much or takes too long.

    In the last two cases it is killed. What it left running is killed in any case, and changes
    nothing: what the command itself printed counts.
    """
    program = source.command[0]
    environ = CommandEnvironment.of(request.environ, request.named)
    try:
        done = ask_command(source.command, request.directory, request.seconds, largest=LARGEST, environ=environ)
    except (OSError, ValueError) as error:
        raise MetricError(f"{program} {cannot_be_run(error)}") from None
    if done.too_long:
        raise MetricError(f"{program} printed more than 1 MiB")
    if done.code is None:
        raise MetricError(f"{program} took longer than {request.seconds:g}s")
    if done.code:
        lines = done.errors.decode(errors="replace").strip().splitlines()
        said = lines[-1] if lines else ""
        why = failure_of(f"exited with {done.code}", said, source.command, request.directory, environ)
        raise MetricError(f"{program} {why}")
    return value_in(done.output.decode(errors="replace").strip(), source.pointer, source.time_pointer)
