"""How an error is printed: as text for people, as a document for programs."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import traceback
from collections.abc import Iterable
from pathlib import Path

import scaler
from scaler.commands.context import Output
from scaler.commands.document import dump
from scaler.errors import ScalerError
from scaler.support.text import one_line, visible

_MOST_LINES = 40
_LONGEST_LINE = 2000
_LONGEST_PATH = 300


def as_text(error: ScalerError) -> str:
    """Return what happened, each problem, why, how to fix it, and the exit code."""
    lines = [f"Error: {one_line(error.what, _LONGEST_LINE)}"]
    lines += [f"  {one_line(str(problem), _LONGEST_LINE)}" for problem in _problems(error)]
    if error.why:
        lines.append(f"  why: {_indent(error.why)}")
    if error.fix:
        lines.append(f"  fix: {_indent(error.fix)}")
    lines[-1] += f"   (exit {int(error.exit_code)})"
    return "\n".join(lines)


def as_sentence(error: ScalerError) -> str:
    """Return an interruption in a line."""
    return " ".join(filter(None, (error.what, error.why and f"{error.why}.", error.fix)))


def as_document(error: ScalerError, output: Output) -> str:
    """Return the same as one document: `{"schema": 1, "error": {code, message, why, fix}}`."""
    return dump({"error": error_facts(error)}, output)


def error_facts(error: ScalerError) -> dict[str, object]:
    """Return the code, the message, why and how to fix it, and each problem, as plain values."""
    facts: dict[str, object] = {**error.facts}
    if problems := [_plain(problem) for problem in _problems(error)]:
        facts["problems"] = problems
    return facts


def as_markdown(error: ScalerError) -> str:
    """Return the text under a heading."""
    # A fence longer than any in the text, which comes from outside.
    text = as_text(error)
    fence = "`" * (1 + max(2, *map(len, re.findall("`+", text)), 2))
    return f"### scaler: {error.code}\n\n{fence}text\n{text}\n{fence}"


_REFUSALS = {
    errno.EMFILE: "Raise the limit of open files (`ulimit -n`), or LimitNOFILE of the service.",
    errno.ENFILE: "Close programs that hold many files open.",
    errno.EAGAIN: "Raise the limit of processes (`ulimit -u`), or TasksMax or the pids limit of the service.",
    errno.ENOMEM: "Give scaler more memory.",
    errno.ENOSPC: "Free some space, then run the same command again.",
    errno.EDQUOT: "Free some space, then run the same command again.",
    errno.EFBIG: "Raise the limit of a file's size (`ulimit -f`).",
    errno.EROFS: "Make the file system writable, or choose another folder.",
    errno.EIO: "Look at the disk: the kernel's log says more.",
} | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    "Make this path one that scaler can use, or choose another folder.",
)
"""How to fix what the machine refuses at any place."""


def unexpected(error: Exception) -> ScalerError:
    """Return what is said of an exception that nobody expected: the machine refuses something, or scaler is wrong."""
    if (number := _refusal(error)) is not None:
        return ScalerError(
            "This machine refuses what scaler needs.",
            why=f"{os.strerror(number)}{_path(error)}, in {_place(error)}",
            fix=_REFUSALS[number],
            code="machine_refuses",
        )
    return ScalerError(
        "An internal error stopped scaler.",
        # The text of an unknown exception may quote anything, even a request with its token: print only its type.
        why=f"{type(error).__name__} in {_place(error)}",
        fix="Run again with --debug for the traceback, and report it.",
        code="internal",
    )


def _refusal(error: Exception) -> int | None:
    """Return the number of what the machine refuses; None for a fault of scaler's own."""
    if isinstance(error, OSError):
        return error.errno if error.errno in _REFUSALS else None
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    # All that Python says where the limit of processes is reached.
    return errno.EAGAIN if isinstance(error, RuntimeError) and str(error) == "can't start new thread" else None


def _path(error: Exception) -> str:
    path = getattr(error, "filename", None)
    return f": {one_line(path, _LONGEST_PATH)}" if isinstance(path, str) else ""


def _place(error: Exception) -> str:
    """The innermost line of scaler that the error came through."""
    package = Path(scaler.__file__).parent
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if package in Path(frame.filename).parents]
    return f"{Path(ours[-1].filename).relative_to(package.parent)}:{ours[-1].lineno}"


def _problems(error: ScalerError) -> Iterable[object]:
    """The single findings of an error that has several, such as the error of an invalid spec."""
    problems: Iterable[object] = getattr(error, "problems", ())
    return problems


def _plain(problem: object) -> object:
    if dataclasses.is_dataclass(problem) and not isinstance(problem, type):
        facts = dataclasses.asdict(problem)
        return {key: str(value) if isinstance(value, Path) else value for key, value in facts.items()}
    return str(problem)


def _indent(text: str) -> str:
    return "\n       ".join(_shortened(visible(text.strip()).split("\n")))


def _shortened(lines: list[str]) -> list[str]:
    """Return the first lines, none of them too long; other sides' words have no bounds."""
    cut = [line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…" for line in lines[:_MOST_LINES]]
    return cut if len(lines) <= _MOST_LINES else [*cut, f"… and {len(lines) - _MOST_LINES} more lines"]
