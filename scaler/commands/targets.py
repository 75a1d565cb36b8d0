"""Files that the command line or a pipeline names for a report: written, never at the cost of what they are.

A device, a pipe or a link is written to and stays. A file that the project or the run reads is no target.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import click

from scaler.commands.command_line import last_value
from scaler.commands.context import STATE_DIR, given
from scaler.errors import UsageError
from scaler.support.documents import read_beginning
from scaler.support.environment import belongs_to_scaler
from scaler.support.files import failure_reason
from scaler.support.values import dataclass

_LARGEST_SPEC = 1 << 20

_NOT_WAITING = os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""How to open a file; opened so, a pipe without a reader is an error and no endless wait."""


@dataclass(frozen=True)
class Inputs:
    """What a command reads, and no report may replace."""

    directory: Path
    """Of the project."""
    state_dir: Path
    named: tuple[str, ...] = ()
    """What the command line says that may be a path."""

    @classmethod
    def of(cls, context: click.Context | None) -> Self:
        """Return those of the command that runs."""
        # Of a command line that cannot be parsed, the options may be missing.
        options = given(context) if context else {}
        directory = Path(options.get("directory") or ".").resolve()
        values = context.params.values() if context else ()
        words = (word for value in values for word in (value if isinstance(value, tuple) else (value,)))
        named = tuple(str(word) for word in words if isinstance(word, str | Path))
        return cls(directory, directory / (options.get("state_dir") or STATE_DIR), named)

    @classmethod
    def named_in(cls, arguments: Sequence[str], environ: Mapping[str, str]) -> Self:
        """Return those of a command line that may be one that cannot be parsed."""
        directory = Path(last_value(arguments, "-C", "--directory") or ".").absolute().resolve()
        state_dir = last_value(arguments, "--state-dir") or environ.get("SCALER_STATE_DIR") or STATE_DIR
        named = tuple(word.rpartition("=")[2] for word in arguments)
        return cls(directory, directory / state_dir, named)

    def require_apart(self, path: Path) -> None:
        """UsageError if the project or this run reads the file: a report would destroy it."""
        target = path.resolve()
        places = (
            _place_in_project(target, self.directory, self.state_dir),
            _pack_of(target, self.directory),
            _spec_that_names(target, self.directory),
            _variable_that_names(target, os.environ),
            self._option_that_names(target),
        )
        if place := next(filter(None, places), None):
            raise UsageError(
                f"{path} belongs to the project or to this run, and a report would replace it.",
                why=place,
                fix="Name another file.",
            )

    def _option_that_names(self, target: Path) -> str | None:
        """Return whether the command line names the file more than once: to read it, or for another report."""
        is_twice = sum(_is_same(Path(word), target) for word in self.named) > 1
        return "the command line names it twice" if is_twice else None


def prepare(path: Path, inputs: Inputs) -> None:
    """Remove the report of an earlier run, and make its folder. UsageError if it cannot or must not be written."""
    if path == Path():
        raise UsageError(
            "A file for a report has no name.",
            why="the value of an option such as --json-file is empty",
            fix="Name a file, or leave the option out.",
        )
    try:
        inputs.require_apart(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_special(path):
            _try_special(path)
            return
        path.open("a").close()
        if not path.is_symlink():
            path.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _try_special(path: Path) -> None:
    """OSError for a device or a pipe that takes nothing, such as one of a full disk, or a pipe that nobody reads."""
    descriptor = os.open(path, _NOT_WAITING)
    try:
        os.write(descriptor, b"")
    finally:
        # A pipe stays open until the process ends: its reader would take a close for the end of the report.
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.close(descriptor)


def require_free(path: Path) -> None:
    """UsageError if the project or this run reads the file."""
    Inputs.of(click.get_current_context(silent=True)).require_apart(path)


def _place_in_project(target: Path, directory: Path, state_dir: Path) -> str | None:
    if ".git" in target.parts:
        return "it is git's"
    folders = {"stacks": "among the specs", "policies": "among the policies"}
    for name, place in folders.items():
        if target.is_relative_to(directory / name):
            return f"it is {place}"
    if target.is_relative_to(state_dir.resolve()):
        return "it is in the state folder"
    is_pulumi_s = target.parent == directory and target.name.startswith(("Pulumi.", "PulumiPolicy."))
    return "it is a file of Pulumi's" if is_pulumi_s else None


def _pack_of(target: Path, directory: Path) -> str | None:
    """Return whether the file is, or would be, in the folder of a spec's policy pack, which may be no pack yet."""
    from scaler.config.strict_yaml import read

    if not target.is_relative_to(directory):
        return None
    for spec in sorted((directory / "stacks").glob("*.yaml")):
        with suppress(OSError):
            document = read(spec).value
            packs = document.get("policies") if isinstance(document, dict) else None
            for pack in packs if isinstance(packs, list) else [packs]:
                path = pack.get("path") if isinstance(pack, dict) else pack
                folder = (directory / path).resolve() if isinstance(path, str) and "\0" not in path else directory
                # A pack that is the project's own folder leaves it the reports.
                if folder.is_relative_to(directory) and folder != directory and target.is_relative_to(folder):
                    return f"stacks/{spec.name} has a policy pack there"
    return None


def _spec_that_names(target: Path, directory: Path) -> str | None:
    """Return whether a spec's text has the file's name in it, or that of its module or its policy pack's folder.

    The text, since any key of any group may name a file, and a spec with problems does too.
    """
    is_pack_s = any((target.parent / f"PulumiPolicy{suffix}").exists() for suffix in (".yaml", ".yml", ".json"))
    names = {target.name, *([target.stem] if target.suffix == ".py" else []), *([target.parent.name] * is_pack_s)}
    named = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, names))})(?![\w-])".encode())
    for spec in sorted((directory / "stacks").glob("*.yaml")) if target.exists() else ():
        with suppress(OSError):
            if named.search(read_beginning(spec, _LARGEST_SPEC)):
                return f"stacks/{spec.name} names it"
    return None


def _variable_that_names(target: Path, environ: Mapping[str, str]) -> str | None:
    """Return the variable of scaler's or the engine's that names the file, such as that of a token."""
    for name, value in environ.items():
        is_read = belongs_to_scaler(name) or name.endswith("_TOKEN_FILE") or name in ("SSL_CERT_FILE", "SCALER_ENGINE")
        if is_read and value and _is_same(Path(value), target):
            return f"{name} names it"
    return None


def _is_same(path: Path, target: Path) -> bool:
    try:
        return path.resolve() == target or (target.exists() and path.samefile(target))
    except (OSError, ValueError):
        return False


def is_special(path: Path) -> bool:
    """Return whether something is there that is no regular file, such as a device or a pipe; links are followed."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def write(path: Path, text: str, *, append: bool = False) -> None:
    """Write a text to a file, device or pipe. OSError, also for a pipe that nobody reads; UsageError if it is read."""
    require_free(path)
    how = os.O_APPEND if append else os.O_TRUNC
    descriptor = os.open(path, _NOT_WAITING | os.O_CREAT | how, 0o666)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)


def write_report(path: Path, text: str) -> None:
    """Write a report that the command line names; UsageError if it cannot be written."""
    try:
        write(path, text)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> UsageError:
    fix = "Start its reader first, or name another file." if error.errno == errno.ENXIO else "Name another file."
    return UsageError(f"{path} cannot be written.", why=failure_reason(error), fix=fix)
