"""What is recorded of a stack, for those who only look: the shared records, or what this folder knows of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from scaler.errors import StateError, UnavailableError, UsageError
from scaler.model.events import Event
from scaler.planning.names import natural
from scaler.records.codec import event_from_json
from scaler.records.event_log import EventLog
from scaler.records.shared import Json, Shared
from scaler.records.state import State
from scaler.records.state_file import StateFile
from scaler.records.store import PATIENCE, is_shared
from scaler.support.clock import Clock
from scaler.support.durations import format_duration
from scaler.support.suggestions import nearest
from scaler.support.values import dataclass

if TYPE_CHECKING:
    from scaler.records.sharing import Sharing


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The records of one stack. Changes no file, and holds no lock."""

    state_dir: Path
    project: str
    stack: str
    backend: str | None
    """The URL of the engine's backend; None: the default folder."""
    environ: Mapping[str, str]
    clock: Clock
    warn: Callable[[str], None]
    """Gets why the shared records could not be read, and how old the folder's copy of them is."""
    patience: timedelta = PATIENCE

    def state(self) -> State | None:
        """Return the recorded state; None if nothing was recorded. Raises what `StateFile.load` raises."""
        return self._shared.state if self._shared else StateFile(self.state_dir, self.stack).load()

    @property
    def is_reached(self) -> bool:
        """Whether the records are those that all machines share; so they are where one machine has all there is."""
        return not is_shared(self.backend) or self._shared is not None

    def events(self, server: str | None = None) -> list[Event]:
        """Return all events, or those of one server, oldest first. StateError if they cannot be read.

        UsageError for a server without events: most likely a typing error.
        """
        events = self._all_events()
        if server is None:
            return events
        known = sorted({event.server for event in events if event.server}, key=natural)
        if server not in known:
            raise UsageError(f"There are no events of a server {server} in {self.stack}.", fix=nearest(server, known))
        return [event for event in events if event.server == server]

    def _all_events(self) -> list[Event]:
        if self._shared is None:
            path = StateFile(self.state_dir, self.stack).events_path
            return EventLog(path, self.clock, warn=self.warn).read()
        older: list[Json] = []
        if self._shared.segments:
            with self._sharing() as sharing:
                for name in self._shared.segments if sharing else ():
                    older += sharing.segment(name) if sharing else ()
        return _events([*older, *self._shared.events])

    def recent_events(self, size: int) -> list[Event]:
        """Return the events in about the last so many bytes, oldest first. StateError if they cannot be read."""
        if self._shared is not None:
            return _events(list(self._shared.events))
        return EventLog(StateFile(self.state_dir, self.stack).events_path, self.clock, warn=self.warn).read(size)

    @cached_property
    def _shared(self) -> Shared | None:
        """None: there are no shared records, or they cannot be read now."""
        if not is_shared(self.backend):
            return None
        with self._sharing() as sharing:
            try:
                return sharing.look() if sharing else None
            except (UnavailableError, StateError, ValueError) as error:
                if isinstance(error, StateError) and error.code == "state_newer":
                    raise
                seen = sharing.seen() if sharing else None
                age = f"what it saw of them {format_duration(self.clock.now() - seen)} ago" if seen else "its own"
                self.warn(f"the shared records could not be read; this folder shows {age}: {error}")
                return None

    def _sharing(self) -> AbstractContextManager[Sharing | None]:
        from scaler.records.sharing import open_sharing

        return open_sharing(
            self.state_dir,
            self.project,
            self.stack,
            self.backend or "",
            self.environ,
            self.clock,
            warn=self.warn,
            patience=self.patience,
        )


def _events(documents: list[Json]) -> list[Event]:
    events = []
    for document in documents:
        try:
            events.append(event_from_json(document))
        except ValueError:
            continue
    return events
