"""Check of the commands that a spec names: that their programs are there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

from scaler.commands.checks.finding import Finding, Level
from scaler.config.project import Project
from scaler.errors import ExitCode
from scaler.model import Spec

_KEYS = ("command", "drain", "drained", "resume")
"""The fields of the model that are a program with its arguments."""


def check_commands(project: Project, spec: Spec, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check that each program exists and can be started from the project folder. No finding without a command."""
    programs = dict.fromkeys(_programs(spec))
    if not programs:
        return
    check = f"commands {spec.stack}"
    missing = [program for program in programs if not _can_start(program, project.directory, environ)]
    if missing:
        yield Finding(
            check=check,
            level=Level.FAIL,
            message=f"cannot be started: {', '.join(missing)}",
            fix="Install what is missing. A path must be that of an executable file, and begins in the project folder.",
            exit_code=ExitCode.ERROR,
        )
    else:
        yield Finding(check=check, message=f"found: {', '.join(programs)}")


def _programs(value: object) -> Iterator[str]:
    """Yield the program of each command below a value of the model."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _programs(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _programs(item)
    elif is_dataclass(value):
        for field in fields(value):
            item = getattr(value, field.name)
            if field.name in _KEYS and isinstance(item, tuple) and item and isinstance(item[0], str):
                yield item[0]
            else:
                yield from _programs(item)


def _can_start(program: str, folder: Path, environ: Mapping[str, str]) -> bool:
    if "{" in program:  # the address or name of a server is filled in
        return True
    if "/" in program:
        path = folder / program
        return path.is_file() and os.access(path, os.X_OK)
    return shutil.which(program, path=environ.get("PATH", os.defpath)) is not None
