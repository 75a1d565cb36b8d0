"""The folder that the engine works in: the project's own, or a copy where that cannot be written, or must not."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from scaler.engine.secrets import settings_folder
from scaler.engine.settings_files import SUFFIXES
from scaler.errors import StateError
from scaler.support.documents import read_file
from scaler.support.files import failure_reason, make_folder, make_own_folder, replace_file

_PROJECT_FILE = "Pulumi.yaml"


def work_folder(directory: Path, stack: str, otherwise: Path) -> Path:
    """Return a folder with the project's Pulumi.yaml in which the engine can write `Pulumi.<stack>.yaml`.

    The engine saves there how the secrets of a stack are encrypted, once for each stack. In a
    read-only checkout it works in `otherwise`, with copies of both files. Raises StateError if that
    cannot be written.
    """
    # The engine wants the folder of the program that Pulumi.yaml names, though it gets its program from scaler.
    if os.access(directory, os.W_OK | os.X_OK):
        (directory / "stacks").mkdir(exist_ok=True)
        return directory
    return copied_project(directory, stack, otherwise)


def copied_project(directory: Path, stack: str, folder: Path) -> Path:
    """Copy what the engine reads of a project into `folder`, and return that. StateError if it cannot be copied."""
    try:
        make_own_folder(folder / "stacks", folder.parent.parent)
        replace_file(folder / _PROJECT_FILE, read_file(directory / _PROJECT_FILE))
        named = settings_folder(directory)
        for suffix in SUFFIXES:
            settings = Path(named) / f"Pulumi.{stack}{suffix}"
            if settings.is_absolute() or ".." in settings.parts:
                # The copy names the same place.
                break
            make_folder((folder / settings).parent)
            with suppress(FileNotFoundError):
                replace_file(folder / settings, read_file(directory / settings))
    except (OSError, ValueError) as error:
        raise StateError(
            f"A copy of the project folder {directory} for the engine cannot be made in {folder}.",
            why=failure_reason(error),
            fix="Make one of them writable, or name another folder with --state-dir.",
            code="state_unwritable",
        ) from error
    return folder
