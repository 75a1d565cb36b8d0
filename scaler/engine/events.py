"""What the engine reports during an operation, and how the operation ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from itertools import dropwhile, takewhile
from typing import Any

from scaler.errors import ScalerError
from scaler.support.text import visible
from scaler.support.values import dataclass

_MOST = 10_000
"""Errors, and violations, that are kept of one operation: a pack may report any number."""

_LONGEST = 20_000
"""Characters of a message that are kept."""


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
    errors_of: dict[str, list[str]] = field(default_factory=dict)
    """URN → the errors about that resource."""
    _last: str = ""
    _forbids: bool = False

    @property
    def last_line(self) -> str:
        """The last line that a plugin wrote on its standard error, such as a policy pack's exception."""
        return plain_text(self._last)

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
            self._judge(event.policy_event)
        elif event.diagnostic_event:
            self._note(event.diagnostic_event)

    def _judge(self, violation: Any) -> None:
        """Keep a violation. Of very many, the first ones are enough, and the first that refuses the plan."""
        forbids = violation.enforcement_level == "mandatory"
        if len(self.violations) < _MOST or (forbids and not self._forbids):
            self.violations.append(violation)
            self._forbids = self._forbids or forbids

    def _plan(self, metadata: Any) -> None:
        operation = str(getattr(metadata.op, "value", metadata.op))
        if operation != "same":
            self.operations[metadata.urn] = operation
            self.inputs[metadata.urn] = metadata.new.inputs or {} if metadata.new else {}

    def _note(self, diagnostic: Any) -> None:
        message = diagnostic.message[:_LONGEST]
        if diagnostic.severity == "error" and len(self.errors) < _MOST:
            self.errors.append(plain_text(message))
            if diagnostic.urn:
                self.errors_of.setdefault(diagnostic.urn, []).append(plain_text(message))
        elif diagnostic.severity == "info#err" and message.strip():
            # As it is: a pack may write very many.
            self._last = message


def plain_text(message: str) -> str:
    """Return a message without the engine's colour marks, and with other control characters visible."""
    return visible(re.sub(r"<\{%.*?%\}>|\x1b\[[0-9;]*m", "", message).strip())


@dataclass(frozen=True)
class Ran:
    """How an operation ended."""

    events: Events
    error: str | None = None
    """The engine's error message; None if it succeeded."""
    refusal: ScalerError | None = None
    """The same as an error, if the engine ended before it ran the program: it has changed nothing."""


_DEATH = re.compile(r"fatal error: |panic: |SIG[A-Z]+: ")
_STACK = re.compile(r"goroutine \d|runtime stack:")
"""How the Go runtime says why it ends a program, and where it begins to say where."""

_MOST_LINES = 20
"""Lines of an error that are kept; the engine's own log has all of it."""


def reason_in(text: str) -> str:
    """Return the lines of a failed command's output that say why, without the SDK's frame.

    An error may go on in further lines, which are indented: a list of errors, or the words of the
    operating system.
    """
    lines = [line.removeprefix(" stderr: ").rstrip() for line in text.splitlines()]
    if death := [line for line in dropwhile(_says_no_death, takewhile(_is_no_stack, lines)) if line]:
        return "\n".join(map(plain_text, death[:_MOST_LINES]))
    errors: list[str] = []
    is_error = False
    for line in lines:
        plain = plain_text(line)
        begins = plain.startswith("error:")
        # An error that has said nothing yet goes on in the next line, however that is written.
        goes_on = is_error and (line[:1].isspace() or errors[-1].endswith(":"))
        is_error = begins or goes_on or (is_error and not plain)
        if plain and (begins or goes_on) and plain not in errors:
            errors.append(plain)
    found = errors or [plain for line in lines if (plain := plain_text(line))][-5:]
    left_out = len(found) - _MOST_LINES
    return "\n".join([*found[:_MOST_LINES], *([f"(and {left_out} more lines)"] if left_out > 0 else [])])


def _says_no_death(line: str) -> bool:
    return not _DEATH.match(line)


def _is_no_stack(line: str) -> bool:
    return not _STACK.match(line)
