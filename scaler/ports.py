"""What the run needs of the outside, and is handed: the stack, the records, and a person's progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from scaler.model import Applied, Change, Machine, Server, StackState, Step


class Stack(Protocol):
    """The Pulumi stack: the engine, the program and the plugin, put together."""

    def read(self) -> StackState:
        """The stack as last saved; heals locks whose owner is dead."""

    def preview(self, change: Change) -> Mapping[str, str]:
        """The engine's own view of a change: operation by server name, `same` left out."""

    def apply(self, change: Change) -> Applied:
        """Carry a change out under the stack's lock."""

    def record(self, describe: Callable[[Sequence[Machine]], Mapping[str, Server]]) -> Mapping[str, Server]:
        """List our machines under the stack's lock and save what `describe` makes of them as outputs."""

    @property
    def processes(self) -> int:
        """Engine processes started so far."""


class Records(Protocol):
    """The state file and the event log of one stack."""

    def load(self, *, mend: bool = False) -> tuple[Server, ...]:
        """The servers as last recorded; StateError if that cannot be read, or none of them with `mend`."""

    def wanted(self) -> Mapping[str, int]:
        """The counts of the last run that recorded something; empty if there is none."""

    def save(self, wanted: Mapping[str, int], servers: Mapping[str, Server], steps: Sequence[Step]) -> None:
        """Replace the records, and log what changed since the last save."""


class Progress(Protocol):
    """Tells a person, or a log, how far the run is. Never raises."""

    def phase(self, text: str) -> None: ...

    def server(self, name: str, status: str, note: str = "") -> None: ...

    def waiting(self, ready: int, wanted: int, elapsed_s: float) -> None: ...

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...
