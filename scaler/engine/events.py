"""What the engine reports during an operation, and how the operation ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Events:
    """What the engine reported during one operation."""

    operations: dict[str, str] = field(default_factory=dict)
    """URN → operation, `same` left out."""
    inputs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """URN → the inputs of each operation."""
    failed: set[str] = field(default_factory=set)
    violations: list[Any] = field(default_factory=list)
    """The SDK's `PolicyEvent`s."""
    errors: list[str] = field(default_factory=list)
    last_line: str = ""
    """The last line that a plugin wrote on its standard error, such as a policy pack's exception."""

    def receive(self, event: Any) -> None:
        """Take one `EngineEvent` of the SDK.

        Never raises: an exception in the SDK's callback would be lost, or hang the run.
        """
        try:
            self._receive(event)
        except Exception as error:
            self.errors.append(f"an engine event could not be read: {error}")

    def _receive(self, event: Any) -> None:
        if event.resource_pre_event:
            self._plan(event.resource_pre_event.metadata)
        elif event.res_op_failed_event:
            self.failed.add(event.res_op_failed_event.metadata.urn)
        elif event.policy_event:
            self.violations.append(event.policy_event)
        elif event.diagnostic_event:
            self._note(event.diagnostic_event)

    def _plan(self, metadata: Any) -> None:
        operation = str(getattr(metadata.op, "value", metadata.op))
        if operation != "same":
            self.operations[metadata.urn] = operation
            self.inputs[metadata.urn] = metadata.new.inputs or {} if metadata.new else {}

    def _note(self, diagnostic: Any) -> None:
        if diagnostic.severity == "error":
            self.errors.append(plain_text(diagnostic.message))
        elif diagnostic.severity == "info#err":
            self.last_line = plain_text(diagnostic.message) or self.last_line


def plain_text(message: str) -> str:
    """Return a message without the engine's colour marks."""
    return re.sub(r"<\{%.*?%\}>|\x1b\[[0-9;]*m", "", message).strip()


@dataclass(frozen=True, slots=True)
class Ran:
    """How an operation ended."""

    events: Events
    error: str | None = None
    """The engine's error message; None if it succeeded."""


def reason_in(text: str) -> str:
    """Return the lines of a failed command's output that say why, without the SDK's frame."""
    lines = [plain_text(line.removeprefix(" stderr: ")) for line in text.splitlines()]
    errors = [line for line in lines if line.startswith("error:")]
    return "\n".join(errors or [line for line in lines if line][-5:])
