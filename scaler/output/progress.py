"""What a run tells while it works: live on a terminal, line by line in a log, or next to nothing.

All of it goes to standard error. A run never fails because nobody reads: a stream that cannot be
written is not written to again.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

import click

from scaler.output.words import one_line
from scaler.support.clock import Clock

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.text import Text

HEARTBEAT = 30.0
"""Seconds of silence before a log gets a sign of life: some CI systems kill a job that says nothing."""

_FINISHED = frozenset({"running", "stopped", "deleted", "hanging", "errored"})
"""A server in one of these statuses is not on its way, and its seconds do not count up."""

_COLORS = {"running": "green", "hanging": "red", "errored": "red"}


class Progress(Protocol):
    """Told by the run, from any thread, what goes on. No method raises."""

    def phase(self, text: str) -> None:
        """The run's next part begins, such as `confirming`."""

    def server(self, name: str, status: str, note: str = "") -> None:
        """A server that this run is about is in this status; telling it again is no news."""

    def waiting(self, ready: int, wanted: int, elapsed_s: float) -> None:
        """Called on each poll: how many of the wanted servers are ready, after how many seconds."""

    def warn(self, text: str) -> None:
        """Something is wrong, though the run goes on."""

    def note(self, text: str) -> None:
        """Something of interest."""

    def stop(self) -> None:
        """Leave the terminal to others, for a question or for good; what is told later is shown again."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_progress(stream: TextIO, *, interactive: bool, quiet: bool, color: bool, clock: Clock) -> Progress:
    """The progress for this stream: live where a person watches, else plain lines; `quiet`: warnings only."""
    if quiet:
        return QuietProgress(stream, color=color, clock=clock)
    if interactive and os.environ.get("TERM") != "dumb":
        return LiveProgress(stream, color=color, clock=clock)
    return PlainProgress(stream, color=color, clock=clock)


@dataclass(frozen=True, slots=True)
class _Journey:
    """A server's status, and since when it has been on its way, in the clock's seconds."""

    name: str
    status: str
    note: str
    begun: float

    def line(self, now: float) -> str:
        """`prod-worker-4 running (41s): note`."""
        seconds = f" ({now - self.begun:.0f}s)" if now > self.begun else ""
        return f"{self.name} {self.status}{seconds}{f': {self.note}' if self.note else ''}"


class _Outlet:
    """A stream that may go away: from then on it swallows everything."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = False

    def write(self, text: str) -> int:
        if not self._lost:
            try:
                self._stream.write(text)
            except (OSError, ValueError):  # ValueError: the stream is closed
                self._lost = True
        return len(text)

    def flush(self) -> None:
        if not self._lost:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._lost = True

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class QuietProgress:
    """Warnings and nothing else; what the other two have in common."""

    def __init__(self, stream: TextIO, *, color: bool, clock: Clock) -> None:
        self._outlet = _Outlet(stream)
        self._color = color
        self._clock = clock
        self._lock = threading.RLock()
        self._journeys: dict[str, _Journey] = {}

    def phase(self, text: str) -> None: ...

    def server(self, name: str, status: str, note: str = "") -> None: ...

    def waiting(self, ready: int, wanted: int, elapsed_s: float) -> None: ...

    def warn(self, text: str) -> None:
        self._line(f"warning: {text}", "yellow")

    def note(self, text: str) -> None: ...

    def stop(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _line(self, text: str, color: str | None = None) -> None:
        """Write one line that stays."""
        text = one_line(text)
        with self._lock:
            self._outlet.write(f"scaler: {click.style(text, fg=color) if self._color and color else text}\n")
            self._outlet.flush()

    def _enter(self, name: str, status: str, note: str) -> tuple[_Journey | None, _Journey]:
        """Remember the status; the journey as it was, and as it is now."""
        known = self._journeys.get(name)
        begun = known.begun if known and known.status not in _FINISHED else self._clock.monotonic()
        self._journeys[name] = _Journey(name, status, note, begun)
        return known, self._journeys[name]


class PlainProgress(QuietProgress):
    """For logs: one line when something changes, and a heartbeat."""

    def __init__(self, stream: TextIO, *, color: bool, clock: Clock) -> None:
        super().__init__(stream, color=color, clock=clock)
        self._spoke = clock.monotonic()

    def phase(self, text: str) -> None:
        self._line(text)

    def server(self, name: str, status: str, note: str = "") -> None:
        with self._lock:
            known, journey = self._enter(name, status, note)
            if known is None or known.status != status:
                self._line(journey.line(self._clock.monotonic()), _COLORS.get(status))

    def waiting(self, ready: int, wanted: int, elapsed_s: float) -> None:
        with self._lock:
            if self._clock.monotonic() - self._spoke >= HEARTBEAT:
                self._line(f"still waiting: {ready} of {wanted} ready ({elapsed_s:.0f}s)")

    def note(self, text: str) -> None:
        self._line(text)

    def _line(self, text: str, color: str | None = None) -> None:
        with self._lock:
            self._spoke = self._clock.monotonic()
            super()._line(text, color)


class LiveProgress(QuietProgress):
    """For a terminal: what goes on below, redrawn; what is finished above, to stay."""

    def __init__(self, stream: TextIO, *, color: bool, clock: Clock) -> None:
        from rich.console import Console

        super().__init__(stream, color=color, clock=clock)
        self._console = Console(
            file=self._outlet,  # type: ignore[arg-type]  # all of a text stream that rich uses
            force_terminal=True,
            no_color=not color,
            highlight=False,
        )
        self._heading = ""
        self._live: Live | None = None

    def phase(self, text: str) -> None:
        self._show(text)

    def server(self, name: str, status: str, note: str = "") -> None:
        with self._lock:
            known, journey = self._enter(name, status, note)
            if status in _FINISHED and (known is None or known.status != status):
                self._line(journey.line(self._clock.monotonic()), _COLORS.get(status))
            self._show(self._heading)

    def waiting(self, ready: int, wanted: int, elapsed_s: float) -> None:
        self._show(f"{ready} of {wanted} ready ({elapsed_s:.0f}s)")

    def note(self, text: str) -> None:
        self._line(text)

    def stop(self) -> None:
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def _line(self, text: str, color: str | None = None) -> None:
        from rich.text import Text

        with self._lock:
            self._console.print(Text(one_line(text), style=color or ""))

    def _show(self, heading: str) -> None:
        from rich.live import Live

        with self._lock:
            self._heading = heading
            if self._live is None:
                self._live = Live(
                    get_renderable=self._view, console=self._console, transient=True, redirect_stdout=False
                )
                self._live.start()

    def _view(self) -> RenderableType:
        # Without our lock: whoever draws holds rich's, and whoever prints takes rich's while holding ours.
        from rich.console import Group

        now = self._clock.monotonic()
        moving = [journey for journey in list(self._journeys.values()) if journey.status not in _FINISHED]
        room = max(self._console.height - 3, 1)
        lines = [self._heading, *(f"  {journey.line(now)}" for journey in moving[:room])]
        if len(moving) > room:
            lines.append(f"  and {len(moving) - room} more")
        return Group(*(_cut(line) for line in lines if line))


def _cut(line: str) -> Text:
    """A line that is cut off where the terminal ends."""
    from rich.text import Text

    return Text(line, no_wrap=True, overflow="ellipsis")
