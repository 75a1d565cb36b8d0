"""How an error is printed: as text for people, as a document for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from scaler.commands.context import Output
from scaler.commands.document import dump
from scaler.errors import ScalerError
from scaler.support.text import one_line, visible

_MOST_LINES = 40
_LONGEST_LINE = 2000


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


def as_document(error: ScalerError, output: Output) -> str:
    """Return the same as one document: `{"schema": 1, "error": {code, message, why, fix}}`."""
    facts: dict[str, object] = {**error.facts}
    if problems := [_plain(problem) for problem in _problems(error)]:
        facts["problems"] = problems
    return dump({"error": facts}, output)


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
