"""The progress of a run: live on a terminal, line by line in a log, or warnings only.

A run writes it to standard error. It never fails because nobody reads: a stream that cannot be
written is not written to again.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

import click

from scaler.output.folding import by_reason
from scaler.support.clock import Clock
from scaler.support.text import one_line, visible
from scaler.support.values import dataclass

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.text import Text

HEARTBEAT = 30.0
"""Seconds without a line after which a log gets one: some CI systems kill a job that writes nothing."""

_FINISHED = frozenset({"running", "stopped", "deleted", "hanging", "errored"})
"""Statuses that a server stays in: its seconds do not count up."""

_BAD = frozenset({"hanging", "errored"})
"""Statuses that a person has to see, also after the live view is gone."""

_BAR = 30
"""Columns of the bar."""

_COLORS = {"running": "green", "hanging": "red", "errored": "red"}


def open_progress(
    stream: TextIO, *, interactive: bool, quiet: bool, color: bool, clock: Clock, stack: str | None = None
) -> ProgressDisplay:
    """Return the progress for this stream: live where a person watches, else plain lines; `quiet`: warnings only.

    `stack` begins each line, where several stacks write to one stream: such a stream is never live.
    """
    if quiet:
        return QuietProgress(stream, color=color, clock=clock, stack=stack)
    if interactive and stack is None and os.environ.get("TERM") != "dumb":
        return LiveProgress(stream, color=color, clock=clock)
    return PlainProgress(stream, color=color, clock=clock, stack=stack)


@dataclass(frozen=True)
class _ServerLine:
    """A server's status, and since when it has been changing, in the clock's seconds."""

    name: str
    status: str
    note: str
    since: float

    def text(self, now: float) -> str:
        """Return `prod-worker-4 running (41s): note`."""
        seconds = f" ({now - self.since:.0f}s)" if now > self.since else ""
        return f"{self.name} {self.status}{seconds}{f': {self.note}' if self.note else ''}"


class _LossyStream:
    """A stream that drops what is written to it, once a write has failed."""

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


class ProgressDisplay:
    """Shows a person, or a log, how far a run is. Any thread may call any method; none raises."""

    def __init__(self, stream: TextIO, *, color: bool, clock: Clock, stack: str | None = None) -> None:
        self._begin = f"scaler: {stack}: " if stack else "scaler: "
        self._stream = _LossyStream(stream)
        self._color = color
        self._clock = clock
        self._lock = threading.RLock()
        self._servers: dict[str, _ServerLine] = {}
        self._phased = False
        self._began = clock.monotonic()
        self._left_at: float | None = None

    def phase(self, text: str) -> None:
        """Show that the next part of the run begins, such as `confirming`."""
        if not self._phased:
            self._phased, self._began = True, self._clock.monotonic()
        self._resume()

    def server(self, name: str, status: str, note: str = "") -> None:
        """Show the status of a server of this run. The same status again changes nothing."""

    def waiting(self, ready: int, wanted: int) -> None:
        """Show how many of the wanted servers are ready; called on each poll."""

    def warn(self, text: str) -> None:
        """Show that something is wrong, though the run goes on."""
        self._line(f"warning: {text}", "yellow")

    def note(self, text: str) -> None:
        """Show something that may be of interest."""

    def stop(self) -> None:
        """Leave the terminal to others, for a question or for good. The next phase shows it again."""
        self._left_at = self._clock.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _resume(self) -> None:
        """Leave the time that a question took out of the run's."""
        if self._left_at is not None:
            self._began += self._clock.monotonic() - self._left_at
            self._left_at = None

    def _elapsed(self) -> float:
        """Return the seconds since the run's first phase, as its result counts them."""
        return self._clock.monotonic() - self._began

    def _line(self, text: str, color: str | None = None) -> None:
        """Write one line that stays."""
        text = one_line(text)
        with self._lock:
            self._stream.write(f"{self._begin}{click.style(text, fg=color) if self._color and color else text}\n")
            self._stream.flush()

    def _update(self, name: str, status: str, note: str) -> tuple[_ServerLine, bool]:
        """Remember a server's status; return its line, and whether the status is a new one."""
        known = self._servers.get(name)
        since = known.since if known and known.status not in _FINISHED else self._clock.monotonic()
        self._servers[name] = line = _ServerLine(name, status, note, since)
        return line, known is None or known.status != status


class QuietProgress(ProgressDisplay):
    """Warnings only."""


class PlainProgress(ProgressDisplay):
    """For logs: one line per change, and one after each `HEARTBEAT` without a change."""

    def __init__(self, stream: TextIO, *, color: bool, clock: Clock, stack: str | None = None) -> None:
        super().__init__(stream, color=color, clock=clock, stack=stack)
        self._last_line_at = clock.monotonic()

    def phase(self, text: str) -> None:
        super().phase(text)
        self._line(text)

    def server(self, name: str, status: str, note: str = "") -> None:
        with self._lock:
            line, changed = self._update(name, status, note)
            if changed:
                self._line(line.text(self._clock.monotonic()), _COLORS.get(status))

    def waiting(self, ready: int, wanted: int) -> None:
        with self._lock:
            if self._clock.monotonic() - self._last_line_at >= HEARTBEAT:
                self._line(f"still waiting: {ready} of {wanted} ready ({self._elapsed():.0f}s)")

    def note(self, text: str) -> None:
        self._line(text)

    def _line(self, text: str, color: str | None = None) -> None:
        with self._lock:
            self._last_line_at = self._clock.monotonic()
            super()._line(text, color)


class LiveProgress(ProgressDisplay):
    """For a terminal: one view that is redrawn, of a bar, the run's time, and the servers that are not ready yet.

    What a person has to see stays above it.
    """

    def __init__(self, stream: TextIO, *, color: bool, clock: Clock) -> None:
        from rich.console import Console

        super().__init__(stream, color=color, clock=clock)
        self._console = Console(
            file=self._stream,  # type: ignore[arg-type]  # all of a text stream that rich uses
            force_terminal=True,
            no_color=not color,
            highlight=False,
        )
        self._heading = ""
        self._ready: tuple[int, int] | None = None
        self._live: Live | None = None

    def phase(self, text: str) -> None:
        super().phase(text)
        with self._lock:
            self._heading, self._ready = text, None
            self._show()

    def server(self, name: str, status: str, note: str = "") -> None:
        with self._lock:
            line, changed = self._update(name, status, note)
            if changed and status in _BAD:
                self._line(line.text(self._clock.monotonic()), _COLORS.get(status))
            self._show()

    def waiting(self, ready: int, wanted: int) -> None:
        with self._lock:
            self._ready = ready, wanted
            self._show()

    def note(self, text: str) -> None:
        self._line(text)

    def stop(self) -> None:
        super().stop()
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def _line(self, text: str, color: str | None = None) -> None:
        from rich.text import Text

        with self._lock:
            self._console.print(Text(one_line(text), style=color or ""))

    def _show(self) -> None:
        from rich.live import Live

        if self._live is None:
            self._live = Live(get_renderable=self._view, console=self._console, transient=True, redirect_stdout=False)
            self._live.start()

    def _view(self) -> RenderableType:
        # Without our lock: this runs under rich's lock, and `_line` takes rich's lock while it holds ours.
        from rich.console import Group

        changing = {
            line.name: (line.status, line.note) for line in list(self._servers.values()) if line.status not in _FINISHED
        }
        lines = [
            f"  {status} {names}{f': {note}' if note else ''}" for names, (status, note) in by_reason(changing).items()
        ]
        room = max(self._console.height - 3, 1)
        if len(lines) > room:
            lines[room:] = [f"  and {len(lines) - room} more"]
        return Group(self._head(), *map(_cut, lines))

    def _head(self) -> RenderableType:
        """Return the phase, or the number of ready servers with a bar, and the seconds of the run."""
        seconds = f"({self._elapsed():.0f}s)"
        if self._ready is None or not self._ready[1]:
            return _cut(f"{self._heading} {seconds}")
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        ready, wanted = self._ready
        head = Table.grid(padding=(0, 1))
        head.add_row(f"{ready} of {wanted} ready {seconds}", ProgressBar(total=wanted, completed=ready, width=_BAR))
        return head


def _cut(line: str) -> Text:
    """Return a line, cleaned, that rich cuts off where the terminal ends."""
    from rich.text import Text

    return Text(visible(line).replace("\n", " "), no_wrap=True, overflow="ellipsis")
