"""The records of a stack for the commands that only look."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

from scaler.commands.context import Context
from scaler.commands.printing import print_note
from scaler.config.project import Project
from scaler.records.recorded import Recorded
from scaler.records.store import PATIENCE


def _warn(text: str) -> None:
    print_note(f"scaler: warning: {text}")


def recorded(
    context: Context,
    project: Project,
    stack: str,
    patience: timedelta = PATIENCE,
    warn: Callable[[str], None] = _warn,
) -> Recorded:
    """Return what is recorded of a stack; `patience` is how long it may take to ask where others record."""
    return Recorded(
        state_dir=project.state_dir,
        project=project.name,
        stack=stack,
        backend=project.backend_of(stack, os.environ),
        environ=os.environ,
        clock=context.clock,
        warn=warn,
        patience=patience,
    )
