"""The event log of a stack, `<stack>.events.jsonl` (`contract.md` §5).

An event is one write of one line, so the log survives a kill at any moment.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from scaler.errors import StateError
from scaler.model.events import Event
from scaler.records.codec import event_from_json, event_to_json
from scaler.support.clock import Clock
from scaler.support.documents import parse_json, size_text
from scaler.support.files import FILE, failure_reason, make_folder, open_file

LARGEST_LOG = 10_000_000
"""Bytes; a log of this size is set aside before the next event is written."""

_OLD_LOGS = 3

_EVERYTHING = sys.maxsize


class EventLog:
    """`.scaler/<stack>.events.jsonl`: one JSON line per change; lines are only ever appended.

    A full log becomes `<stack>.events.jsonl.1`, and so on to `.3`, the oldest. A log that cannot
    be written does not stop a run: `warn` is called once.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        run: str | None = None,
        cause: str | None = None,
        warn: Callable[[str], None] = lambda text: None,
        largest: int = LARGEST_LOG,
    ) -> None:
        self.path = path
        self._clock = clock
        self._run = run
        self._cause = cause
        self._warn = warn
        self._warned = False
        self._largest = largest
        self._most_read = 2 * largest
        """Bytes that are read of each file: it can only be longer if another program writes to it."""

    def append(self, *events: Event) -> tuple[Event, ...]:
        """Write each event in one write; return them as written, with time, run and cause."""
        now = self._clock.now()
        stamped = tuple(
            replace(event, at=event.at or now, run=event.run or self._run, cause=event.cause or self._cause)
            for event in events
        )
        try:
            self._write(json.dumps(event_to_json(event)).encode() + b"\n" for event in stamped)
            if self._is_full():
                self._set_aside()
        except OSError as error:
            self._report(error)
        return stamped

    def read(self, last_bytes: int = _EVERYTHING) -> list[Event]:
        """Return all events, oldest first, or those in about the last so many bytes.

        Skip lines that are not events. StateError if a file cannot be read.
        """
        events: list[Event] = []
        try:
            with ExitStack() as stack:
                for file in self._open(stack):
                    if last_bytes <= 0:
                        break
                    self._warn_of_excess(file)
                    events = [*_events(_last_lines(file, min(last_bytes, self._most_read))), *events]
                    last_bytes -= os.fstat(file.fileno()).st_size
        except OSError as error:
            raise StateError(
                f"The event log {self.path} cannot be read.",
                why=failure_reason(error),
                fix="Make it readable for this user.",
                code="state_unreadable",
            ) from error
        return events

    def _open(self, stack: ExitStack) -> list[IO[bytes]]:
        """Open the files that exist, newest first: in this order none is missed if they are renamed meanwhile."""
        opened: dict[int, IO[bytes]] = {}
        for number in range(_OLD_LOGS + 1):
            with suppress(FileNotFoundError):
                # Not through a link, as in writing: a device at its end has no last line.
                file = stack.enter_context(os.fdopen(open_file(self._numbered(number), os.O_RDONLY), "rb"))
                opened.setdefault(os.fstat(file.fileno()).st_ino, file)
        return list(opened.values())

    def _warn_of_excess(self, file: IO[bytes]) -> None:
        size = os.fstat(file.fileno()).st_size
        if size > self._most_read:
            read = size_text(self._most_read)
            self._warn(f"an event log of this stack has {size_text(size)}: only the last {read} are read")

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    def _set_aside(self) -> None:
        """Rename each file to the next number. A writer that has one open goes on writing to that file."""
        # Late: filelock loads asyncio, and `scaler status` only reads.
        from filelock import FileLock, Timeout

        try:
            with FileLock(f"{self.path}.lock", timeout=0, mode=FILE):
                # Another writer may just have done it.
                for number in range(_OLD_LOGS if self._is_full() else 0, 0, -1):
                    with suppress(FileNotFoundError):
                        self._numbered(number - 1).replace(self._numbered(number))
        except Timeout:
            return  # Another writer is doing it.

    def _is_full(self) -> bool:
        with suppress(FileNotFoundError):
            return self.path.stat().st_size >= self._largest
        return False

    def _write(self, lines: Iterable[bytes]) -> None:
        make_folder(self.path.parent)
        descriptor = open_file(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            for line in lines:
                content = line if _ends_whole(descriptor) else b"\n" + line
                if os.write(descriptor, content) != len(content):
                    raise OSError("only a part of the event was written")
        finally:
            os.close(descriptor)

    def _report(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            self._warn(f"events are not logged: {self.path}: {failure_reason(error)}")


def _last_lines(file: IO[bytes], size: int) -> IO[bytes]:
    """Move to the first whole line of about the last `size` bytes of the file."""
    start = max(0, os.fstat(file.fileno()).st_size - size)
    file.seek(start)
    if start:
        file.readline()
    return file


def _ends_whole(descriptor: int) -> bool:
    """Return whether the last line of the file is whole: a writer may have been killed while writing it."""
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def _events(lines: IO[bytes]) -> Iterator[Event]:
    for line in lines:
        try:
            yield event_from_json(parse_json(line))
        except ValueError:
            continue
