"""Check of the commands that a spec names: that their programs are there, and that they get the variables they name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path

from scaler.commands.checks.finding import Finding, Level
from scaler.config.project import Project
from scaler.errors import ExitCode
from scaler.hooks.missing import missed_variables
from scaler.model import Spec
from scaler.support.environment import CommandEnvironment
from scaler.support.text import one_line

_KEYS = ("command", "drain", "drained", "resume")
"""The fields of the model that are a program with its arguments."""


_LONGEST_COMMAND = 60
"""Characters of a command that are shown."""


def check_commands(project: Project, spec: Spec, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check that each program exists and can be started from the project folder. No finding without a command."""
    commands = dict.fromkeys(_commands(spec))
    if not commands:
        return
    programs = dict.fromkeys(command[0] for command in commands)
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
    yield from _missed(spec, commands, project.directory, CommandEnvironment.of(environ, spec.env))


def _missed(
    spec: Spec, commands: Iterable[Sequence[str]], folder: Path, environ: CommandEnvironment
) -> Iterator[Finding]:
    """Warn of variables that are set, that a command or its script names, and that it does not get."""
    missed = {" ".join(command): missed_variables(command, folder, environ) for command in commands}
    if not any(missed.values()):
        return
    lines = [
        f"{one_line(command, _LONGEST_COMMAND)} names {', '.join(names)}, and does not get it"
        for command, names in missed.items()
        if names
    ]
    needed = sorted({*spec.env, *(name for names in missed.values() for name in names)})
    yield Finding(
        check=f"variables {spec.stack}",
        level=Level.WARN,
        message="\n".join(lines),
        fix=f"If it needs that, write into the spec: env: [{', '.join(needed)}]",
    )


def _commands(value: object) -> Iterator[tuple[str, ...]]:
    """Yield each command below a value of the model."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _commands(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _commands(item)
    elif is_dataclass(value):
        for field in fields(value):
            item = getattr(value, field.name)
            if field.name in _KEYS and isinstance(item, tuple) and item and isinstance(item[0], str):
                yield item
            else:
                yield from _commands(item)


def _can_start(program: str, folder: Path, environ: Mapping[str, str]) -> bool:
    if "{" in program:  # the address or name of a server is filled in
        return True
    if "/" in program:
        path = folder / program
        return path.is_file() and os.access(path, os.X_OK)
    return shutil.which(program, path=environ.get("PATH", os.defpath)) is not None
