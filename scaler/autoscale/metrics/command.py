"""A number, or JSON with one in it, on a program's standard output."""

from __future__ import annotations

import os
import signal
import subprocess

from scaler.autoscale.metrics import MetricError, Request, Value
from scaler.autoscale.metrics.documents import LARGEST, value_in
from scaler.model.autoscaling import CommandSource


def read(source: CommandSource, request: Request) -> Value:
    """What the command prints; MetricError if it fails or takes too long, after which it is killed."""
    try:
        process = subprocess.Popen(
            source.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=request.directory,
            env=dict(request.environ),
            start_new_session=True,
        )
    except OSError as error:
        raise MetricError(f"{source.command[0]} cannot be run: {error.strerror}") from None
    with process:
        try:
            output, errors = process.communicate(timeout=request.seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            raise MetricError(f"{source.command[0]} took longer than {request.seconds:g}s") from None
    if process.returncode:
        told = errors.decode(errors="replace").strip().splitlines()
        raise MetricError(f"{source.command[0]} exited with {process.returncode}" + (f": {told[-1]}" if told else ""))
    if len(output) > LARGEST:
        raise MetricError(f"{source.command[0]} printed more than 1 MiB")
    return value_in(output.decode(errors="replace").strip(), source.pointer, source.time_pointer)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it with all that it started, so that nobody holds its pipes open."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
