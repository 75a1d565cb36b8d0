"""A number, or JSON with one in it, on a program's standard output."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import IO

from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.autoscale.metrics.documents import LARGEST, value_in
from scaler.model.autoscaling import CommandSource

_CHUNK = 64 * 1024

_LAST_WORDS = 4 * 1024
"""Bytes of standard error that are kept."""

_LOOK_S = 0.05
"""The end of the program is noticed within this time, even if something else holds its output open."""


def read(source: CommandSource, request: MetricRead) -> Value:
    """Return what the command prints. Raise MetricError if it fails, prints too much or takes too long.

    In the last two cases it is killed with its children. A child that outlives the command and
    keeps its output open changes nothing: what the command itself printed counts.
    """
    program = source.command[0]
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
        raise MetricError(f"{program} cannot be run: {error.strerror}") from None
    try:
        output, errors = _communicate(process, program, request.seconds)
    finally:
        _end(process)
    if process.returncode:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise MetricError(f"{program} exited with {process.returncode}" + (f": {lines[-1]}" if lines else ""))
    return value_in(output.decode(errors="replace").strip(), source.pointer, source.time_pointer)


def _communicate(process: subprocess.Popen[bytes], program: str, seconds: float) -> tuple[bytes, bytes]:
    """Read both outputs until the program has ended, keeping no more than their limits."""
    deadline = time.monotonic() + seconds
    output, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, kept in ((process.stdout, output), (process.stderr, errors)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, kept)
        while True:
            # Ask first whether it has ended: what is read after that is all that it printed.
            ended = process.poll() is not None
            ready = selector.select(0 if ended else _LOOK_S)
            for key, _ in ready:
                if not _take(key.fileobj, key.data):  # type: ignore[arg-type] # registered above
                    selector.unregister(key.fileobj)
            del errors[:-_LAST_WORDS]
            if len(output) > LARGEST:
                raise MetricError(f"{program} printed more than 1 MiB")
            if ended and not ready:
                return bytes(output), bytes(errors)
            if time.monotonic() > deadline:
                raise MetricError(f"{program} took longer than {seconds:g}s")
            if not ended and not selector.get_map():
                time.sleep(_LOOK_S)  # It has closed its output and still runs.


def _take(stream: IO[bytes], kept: bytearray) -> bool:
    """Read what is there; return whether there may be more."""
    try:
        chunk = os.read(stream.fileno(), _CHUNK)
    except BlockingIOError:
        return True
    kept += chunk
    return bool(chunk)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the command with its children, if it still runs, and close its output."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
