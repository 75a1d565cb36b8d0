"""Files that the command line names for a report: written, never at the cost of what they are.

A device, a pipe or a link is written to and stays. A file of the project, such as its spec, is no target.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import click

from scaler.commands.context import context_of
from scaler.errors import UsageError
from scaler.support.files import failure_reason


def prepare(path: Path) -> None:
    """Remove the report of an earlier run, and make its folder. UsageError if it cannot or must not be written."""
    require_free(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_special(path):
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        path.open("a").close()
        if not path.is_symlink():
            path.unlink()
    except OSError as error:
        raise UsageError(f"{path} cannot be written.", why=failure_reason(error)) from error


def require_free(path: Path) -> None:
    """UsageError if the path is a file of the project itself: a report would destroy it."""
    context = click.get_current_context(silent=True)
    if context is None:
        return
    here = context_of(context)
    target = path.resolve()
    own_file = target.parent == here.directory and target.name.startswith(("Pulumi.", "PulumiPolicy."))
    own_folder = target.is_relative_to(here.state_dir.resolve()) or target.parent == here.directory / "stacks"
    if own_file or own_folder:
        raise UsageError(
            f"{path} belongs to the project, and a report would replace it.",
            why="it is among the specs, in the state folder, or a file of Pulumi's",
            fix="Name another file.",
        )


def is_special(path: Path) -> bool:
    """Return whether something is there that is no regular file, such as a device or a pipe; links are followed."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def write(path: Path, text: str, *, append: bool = False) -> None:
    """Write a text to a file, device or pipe. OSError, also for a pipe that nobody reads."""
    how = os.O_APPEND if append else os.O_TRUNC
    # Opened so, a pipe without a reader is an error and no endless wait.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | how, 0o666)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)


def write_report(path: Path, text: str) -> None:
    """Write a report that the command line names; UsageError if it cannot be written."""
    try:
        write(path, text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written.", why=failure_reason(error)) from None
