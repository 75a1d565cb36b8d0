"""What is said of a run that a signal ended: what is under way, and how it goes on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from scaler.errors import ExitCode, HungUp, ScalerError, Terminated
from scaler.model.lifecycle import Status
from scaler.output.words import format_count
from scaler.records.state_file import StateFile

_COMING = frozenset({Status.NEW, Status.STARTING, Status.REBOOTING})
_LEAVING = frozenset({Status.STOPPING, Status.DELETING})


@contextmanager
def noting_what_is_under_way(state_dir: Path, stack: str) -> Iterator[None]:
    """Add to an interrupt of the block which servers of the stack are on their way then, by its records."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if under_way := _under_way(state_dir, stack):
            interrupt.add_note(under_way)
        raise


def interruption(cause: BaseException | None, arguments: Sequence[str] | None = None) -> ScalerError:
    """Return the error that reports an interrupt, with the exit code of its signal; `cause` may be None.

    `arguments` are those of the command line; None: the process's own.
    """
    if isinstance(cause, click.Abort):
        # A question raises it in place of the signal's own exception.
        cause = cause.__cause__ or cause.__context__
    under_way = "; ".join(getattr(cause, "__notes__", ()))
    fix = _way_on(sys.argv[1:] if arguments is None else arguments) if under_way else ""
    error = ScalerError("Interrupted.", why=under_way, fix=fix, code="interrupted")
    error.exit_code = _exit_code(cause)
    return error


def _way_on(arguments: Sequence[str]) -> str:
    """Return how to go on with what was interrupted: a count relative to what is there now would be another one."""
    if "increase" in arguments or "decrease" in arguments:
        return "`scaler ensure` with the number that you want goes on."
    if "apply" in arguments:
        return "A new plan goes on."
    return "The same command goes on."


def sentence(error: ScalerError) -> str:
    """Return an interruption in a line for people."""
    return f"{error.what} {error.why}. {error.fix}" if error.why else error.what


def _exit_code(cause: BaseException | None) -> ExitCode:
    if isinstance(cause, HungUp):
        return ExitCode.HUNG_UP
    return ExitCode.TERMINATED if isinstance(cause, Terminated) else ExitCode.INTERRUPTED


def _under_way(state_dir: Path, stack: str) -> str:
    try:
        state = StateFile(state_dir, stack).load()
    except ScalerError:
        return ""
    statuses = [server.status for server in state.servers] if state else []
    words = []
    for among, way in ((_COMING, "way"), (_LEAVING, "way out")):
        if number := sum(status in among for status in statuses):
            words.append(f"{format_count(number, 'server')} {'is on its' if number == 1 else 'are on their'} {way}")
    return ", ".join(words)
