"""The folder that the engine works in: the project's own, or a copy where that cannot be written."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from scaler.errors import StateError
from scaler.support.documents import read_file
from scaler.support.files import failure_reason, make_folder, replace_file

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
    try:
        make_folder(otherwise / "stacks")
        replace_file(otherwise / _PROJECT_FILE, read_file(directory / _PROJECT_FILE))
        settings = f"Pulumi.{stack}.yaml"
        with suppress(FileNotFoundError):
            replace_file(otherwise / settings, read_file(directory / settings))
    except (OSError, ValueError) as error:
        raise StateError(
            f"The project folder {directory} is read-only, and a copy for the engine cannot be made in {otherwise}.",
            why=failure_reason(error),
            fix="Make one of them writable, or name another folder with --state-dir.",
            code="state_unwritable",
        ) from error
    return otherwise
