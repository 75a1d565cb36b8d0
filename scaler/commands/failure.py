"""A failure as a person reads it, and as a program does."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scaler.commands.context import Output
from scaler.errors import ScalerError

SCHEMA = 1


def as_text(error: ScalerError) -> str:
    """What happened, each problem, why, how to mend it, and the exit code."""
    lines = [f"Error: {error.what}"]
    lines += [f"  {problem}" for problem in _problems(error)]
    if error.why:
        lines.append(f"  why    {_indent(error.why)}")
    if error.fix:
        lines.append(f"  fix    {_indent(error.fix)}")
    lines[-1] += f"   (exit {int(error.exit_code)})"
    return "\n".join(lines)


def as_document(error: ScalerError, output: Output) -> str:
    """The same as one JSON or YAML document: `{"schema": 1, "error": {code, message, why, fix}}`."""
    facts: dict[str, Any] = {"code": error.code, "message": error.what, "why": error.why, "fix": error.fix}
    problems = [_plain(problem) for problem in _problems(error)]
    document = {"schema": SCHEMA, "error": {**facts, "problems": problems} if problems else facts}
    if output is Output.YAML:
        import yaml

        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip()
    return json.dumps(document, ensure_ascii=False)


def _problems(error: ScalerError) -> Iterable[object]:
    """The single findings of an error that has several, such as an invalid spec's."""
    problems: Iterable[object] = getattr(error, "problems", ())
    return problems


def _plain(problem: object) -> object:
    if dataclasses.is_dataclass(problem) and not isinstance(problem, type):
        return {
            key: str(value) if isinstance(value, Path) else value for key, value in dataclasses.asdict(problem).items()
        }
    return str(problem)


def _indent(text: str) -> str:
    return text.strip().replace("\n", "\n         ")
