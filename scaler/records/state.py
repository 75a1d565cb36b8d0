"""The records: the JSON state file and the event log (`contract.md` §5).

Both survive a kill at any moment: the state file is replaced whole, and an event is one write of
one line. `scaler status` imports this module, so it loads nothing heavy.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO

from scaler.errors import StateError
from scaler.model import Action, Price, Server, Step
from scaler.model.events import EventName
from scaler.model.lifecycle import Status
from scaler.support.clock import Clock, format_time, parse_time
from scaler.support.files import FILE, make_folder, open_file, replace_file

SCHEMA = 1
RETENTION = timedelta(days=7)
"""How long the record of a deleted server is kept."""

# ---------------------------------------------------------------------------------------------
# Records as plain values


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the last run recorded of a stack."""

    stack: str
    project: str
    cloud: str
    serial: int = 0
    """Grows by at least one with each save."""
    updated: datetime
    wanted: Mapping[str, int] = field(default_factory=dict)
    """Servers wanted, by group."""
    servers: tuple[Server, ...] = ()

    @property
    def records(self) -> dict[str, Server]:
        """The servers by name."""
        return {server.name: server for server in self.servers}


def server_to_json(server: Server) -> dict[str, str | bool | None]:
    """A record as the state file, the stack's outputs and `-o json` have it."""
    return {
        "name": server.name,
        "group": server.group,
        "id": server.id,
        "status": str(server.status),
        "since": format_time(server.since),
        "previous": None if server.previous is None else str(server.previous),
        "ipv4": server.ipv4,
        "ipv6": server.ipv6,
        "type": server.type,
        "location": server.location,
        "image": server.image,
        "created": None if server.created is None else format_time(server.created),
        "error": server.error,
        "protected": server.protected,
        "reboot_asked": server.reboot_asked,
        **_price_to_json(server.price),
    }


def server_from_json(document: object) -> Server:
    """The record that `server_to_json` wrote; unknown fields are ignored. ValueError if it is none."""
    fields = _Fields(document)
    previous = fields.optional_text("previous")
    created = fields.optional_text("created")
    return Server(
        name=fields.text("name"),
        group=fields.text("group"),
        id=fields.optional_text("id"),
        status=Status(fields.text("status")),
        since=parse_time(fields.text("since")),
        previous=None if previous is None else Status(previous),
        ipv4=fields.optional_text("ipv4"),
        ipv6=fields.optional_text("ipv6"),
        type=fields.optional_text("type"),
        location=fields.optional_text("location"),
        image=fields.optional_text("image"),
        created=None if created is None else parse_time(created),
        error=fields.optional_text("error"),
        protected=fields.flag("protected"),
        reboot_asked=fields.flag("reboot_asked"),
        price=_price_from_json(fields),
    )


def _price_to_json(price: Price | None) -> dict[str, str | None]:
    # Texts: a number would lose digits on its way through the engine, and be another one when it is read.
    return {
        "currency": price.currency if price else None,
        "price_per_hour": f"{price.per_hour:f}" if price else None,
        "price_per_month": None if price is None or price.per_month is None else f"{price.per_month:f}",
    }


def _price_from_json(fields: _Fields) -> Price | None:
    currency, per_hour = fields.optional_text("currency"), fields.optional_decimal("price_per_hour")
    if currency is None or per_hour is None:
        return None
    return Price(currency, per_hour, fields.optional_decimal("price_per_month"))


def to_json(state: State) -> dict[str, object]:
    """The state file's document."""
    return {
        "schema": SCHEMA,
        "stack": state.stack,
        "project": state.project,
        "cloud": state.cloud,
        "serial": state.serial,
        "updated": format_time(state.updated),
        "wanted": dict(state.wanted),
        "servers": [server_to_json(server) for server in state.servers],
    }


def from_json(document: object) -> State:
    """The state that `to_json` wrote; unknown fields are ignored.

    StateError if a newer scaler wrote it, ValueError if it is no such document.
    """
    fields = _Fields(document)
    if (schema := fields.whole_number("schema")) > SCHEMA:
        raise StateError(
            "The state was written by a newer scaler.",
            why=f"it has schema {schema}, and this scaler reads schema {SCHEMA}",
            fix="upgrade scaler",
            code="state_newer",
        )
    return State(
        stack=fields.text("stack"),
        project=fields.text("project"),
        cloud=fields.text("cloud"),
        serial=fields.whole_number("serial"),
        updated=parse_time(fields.text("updated")),
        wanted=fields.whole_numbers("wanted"),
        servers=tuple(server_from_json(server) for server in fields.items("servers")),
    )


class MalformedError(ValueError):
    """A document that lacks a field, or has something else in its place."""


class _Fields:
    """Typed access to a JSON object."""

    def __init__(self, document: object) -> None:
        if not isinstance(document, Mapping):
            raise MalformedError(f"an object is expected, not {type(document).__name__}")
        self._fields: Mapping[object, object] = document

    def text(self, name: str) -> str:
        if not isinstance(value := self._fields.get(name), str):
            raise MalformedError(f"`{name}` is not a text")
        return value

    def optional_text(self, name: str) -> str | None:
        return None if self._fields.get(name) is None else self.text(name)

    def optional_decimal(self, name: str) -> Decimal | None:
        if (text := self.optional_text(name)) is None:
            return None
        try:
            value = Decimal(text)
        except ArithmeticError as error:
            raise MalformedError(f"`{name}` is not a decimal number") from error
        if not value.is_finite():
            raise MalformedError(f"`{name}` is not a finite number")
        return value

    def flag(self, name: str) -> bool:
        """A missing flag is off."""
        value = self._fields.get(name, False)
        if not isinstance(value, bool):
            raise MalformedError(f"`{name}` is not true or false")
        return value

    def whole_number(self, name: str) -> int:
        return _whole_number(name, self._fields.get(name))

    def whole_numbers(self, name: str) -> dict[str, int]:
        if not isinstance(values := self._fields.get(name, {}), Mapping):
            raise MalformedError(f"`{name}` is not an object")
        return {str(key): _whole_number(f"{name}.{key}", value) for key, value in values.items()}

    def optional_object(self, name: str) -> dict[str, object] | None:
        if (value := self._fields.get(name)) is None:
            return None
        if not isinstance(value, Mapping):
            raise MalformedError(f"`{name}` is not an object")
        return {str(key): item for key, item in value.items()}

    def items(self, name: str) -> list[object]:
        if not isinstance(value := self._fields.get(name), list):
            raise MalformedError(f"`{name}` is not a list")
        return value


def _whole_number(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise MalformedError(f"`{name}` is not a whole number")
    return value


def prune(servers: Iterable[Server], now: datetime, retention: timedelta = RETENTION) -> tuple[Server, ...]:
    """The records without those of servers deleted longer than `retention` ago."""
    return tuple(server for server in servers if server.status != Status.DELETED or now - server.since <= retention)


# ---------------------------------------------------------------------------------------------
# The state file


class CorruptStateError(StateError):
    """The state file is there but is no state file of this stack."""

    code = "state_corrupt"


class StateFile:
    """`<directory>/<stack>.json`, always a whole document."""

    def __init__(self, directory: Path, stack: str) -> None:
        self._stack = stack
        self.path = directory / f"{stack}.json"
        self.events_path = directory / f"{stack}.events.jsonl"

    def load(self) -> State | None:
        """The recorded state, or None if nothing was recorded.

        CorruptStateError if the file is damaged or another stack's; StateError if it cannot be
        read or a newer scaler wrote it.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(
                f"The state file {self.path} cannot be read.",
                why=_reason(error),
                fix="make it readable for this user, or name another folder with --state-dir",
                code="state_unreadable",
            ) from error
        return self._parse(content)

    def save(self, state: State) -> State:
        """Replace the file's content in one step; the state as it was written, with its new serial.

        A damaged file is set aside, never overwritten. StateError if the folder cannot be written
        or a newer scaler wrote the file; what was there before then stays.
        """
        # Late: filelock loads asyncio, and `scaler status` only reads.
        from filelock import FileLock, Timeout

        try:
            make_folder(self.path.parent)
            with FileLock(f"{self.path}.lock", timeout=10, mode=FILE):
                saved = replace(state, serial=max(state.serial, self._recorded_serial()) + 1)
                replace_file(self.path, json.dumps(to_json(saved), indent=2).encode() + b"\n")
        except (OSError, Timeout) as error:
            raise StateError(
                f"The state file {self.path} cannot be written.",
                why=_reason(error),
                fix="make room and the folder writable, or name another with --state-dir; "
                f"then run: scaler status --refresh --stack {self._stack}",
                code="state_unwritable",
            ) from error
        return saved

    def set_aside(self) -> Path:
        """Rename the file to `<stack>.json.corrupt-<n>`, n the lowest free number; its new path."""
        number = 1
        while (target := self.path.with_name(f"{self.path.name}.corrupt-{number}")).exists():
            number += 1
        try:
            return self.path.rename(target)
        except OSError as error:
            raise StateError(
                f"The damaged state file {self.path} cannot be renamed.",
                why=_reason(error),
                fix=f"move it away by hand, then run: scaler status --refresh --stack {self._stack}",
                code="state_unwritable",
            ) from error

    def _parse(self, content: bytes) -> State:
        try:
            state = from_json(json.loads(content))
        except (ValueError, RecursionError) as error:
            raise self._corrupt(str(error)) from error
        if state.stack != self._stack:
            raise self._corrupt(f"it is the state of the stack `{state.stack}`")
        return state

    def _corrupt(self, why: str) -> CorruptStateError:
        return CorruptStateError(
            f"The state file {self.path} is damaged.",
            why=why,
            fix=f"run: scaler status --refresh --stack {self._stack} "
            "(keeps the damaged file beside it and rebuilds the state from the stack and the cloud)",
        )

    def _recorded_serial(self) -> int:
        try:
            recorded = self.load()
        except CorruptStateError:
            self.set_aside()
            return 0
        return recorded.serial if recorded else 0


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


# ---------------------------------------------------------------------------------------------
# Events


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change. `EventLog.append` fills in `run`, `cause` and, where it is not known, `at`."""

    event: str
    """An `EventName`; a text, since a newer scaler may know more of them."""
    server: str | None = None
    group: str | None = None
    previous: Status | None = None
    """The status that the server left (`from` in the log)."""
    status: Status | None = None
    """The status that it entered (`to` in the log); None when its record is gone."""
    reason: str | None = None
    """Why: the plan's reason, or the error."""
    cause: str | None = None
    """What set the run off, such as `ensure worker=5`."""
    at: datetime | None = None
    run: str | None = None
    result: Mapping[str, object] | None = None
    """What a finished run came to: its outcome, numbers by group, requests and seconds."""
    decision: Mapping[str, object] | None = None
    """What autoscaling decided of a group, with everything that led to it."""


_ENTERED = {
    Status.RUNNING: EventName.RUNNING,
    Status.REBOOTING: EventName.REBOOTING,
    Status.STOPPING: EventName.STOPPING,
    Status.STOPPED: EventName.STOPPED,
    Status.DELETING: EventName.DELETING,
    Status.DELETED: EventName.DELETED,
    Status.ERRORED: EventName.ERRORED,
    Status.HANGING: EventName.HANGING,
}
"""`new` and `starting` are no events of their own: arriving in them is `server.creating`."""

_DECIDED_BY = {
    EventName.CREATING: (Action.CREATE,),
    EventName.ADOPTED: (Action.ADOPT,),
    EventName.REBOOTING: (Action.REBOOT, Action.POWER_ON),
    EventName.STOPPING: (Action.DELETE, Action.POWER_OFF),
    EventName.STOPPED: (Action.DELETE, Action.POWER_OFF),
    EventName.DELETING: (Action.DELETE,),
    EventName.DELETED: (Action.DELETE,),
    EventName.VANISHED: (Action.FORGET,),
}


def transitions(before: Mapping[str, Server], after: Mapping[str, Server], steps: Iterable[Step] = ()) -> list[Event]:
    """The events that lead from one set of records, by name, to the next.

    `steps` are the plan's: they tell an adopted server from a created one, a removed one from one
    that vanished, and give the reasons. The events come in the order of `after`, then of the names
    that are only in `before`.
    """
    decisions = {(step.server, step.action): step.reason for step in steps}
    events: list[Event] = []
    for name, server in after.items():
        known = before.get(name)
        if known is not None and _reused(known, server):
            events += _departure(known)
            known = None
        events += _change(known, server, decisions) if known else _arrival(server, decisions)
    for name, server in before.items():
        if name not in after:
            events += _departure(server)
    return [_with_reason(event, after.get(event.server or ""), decisions) for event in events]


_Decisions = Mapping[tuple[str, Action], str]


def _reused(known: Server, server: Server) -> bool:
    """Whether the name belongs to another machine now, or to the next attempt at one."""
    if known.status == Status.DELETED or (known.status == Status.ERRORED and known.id is None):
        return server.status != known.status
    return known.id is not None and server.id is not None and known.id != server.id


def _arrival(server: Server, decisions: _Decisions) -> list[Event]:
    # A server whose creation we saw is ours; one first seen later in its life was found.
    created = server.status in (Status.NEW, Status.STARTING) or server.id is None
    adopted = (server.name, Action.ADOPT) in decisions or not created
    first = EventName.ADOPTED if adopted else EventName.CREATING
    entered = _ENTERED.get(server.status)
    return [_event(name, None, server) for name in (first, entered) if name is not None]


def _change(known: Server, server: Server, decisions: _Decisions) -> list[Event]:
    if known.status == server.status:
        return []
    if server.status == Status.DELETED and not _removed(known, decisions):
        return [_event(EventName.VANISHED, known, server)]
    entered = _ENTERED.get(server.status)
    return [_event(entered, known, server)] if entered else []


def _removed(known: Server, decisions: _Decisions) -> bool:
    return Status.DELETING in (known.status, known.previous) or (known.name, Action.DELETE) in decisions


def _departure(known: Server) -> list[Event]:
    """A record that is gone: pruned, never a machine, or vanished."""
    if known.status == Status.DELETED or known.id is None:
        return []
    return [Event(event=EventName.VANISHED, server=known.name, group=known.group, previous=known.status)]


def _event(name: EventName, known: Server | None, server: Server) -> Event:
    # When it happened, and not when a run came to record it: boots are timed by this.
    return Event(
        event=name,
        at=server.since,
        server=server.name,
        group=server.group,
        previous=known.status if known else None,
        status=server.status,
    )


def _with_reason(event: Event, server: Server | None, decisions: _Decisions) -> Event:
    if event.event in (EventName.ERRORED, EventName.HANGING):
        return replace(event, reason=server.error if server else None)
    actions = _DECIDED_BY.get(EventName(event.event), ())
    reasons = [decisions[key] for action in actions if (key := (event.server or "", action)) in decisions]
    return replace(event, reason=reasons[0]) if reasons else event


_BOOTS_KEPT = 100


def boot_times(events: Iterable[Event]) -> dict[str, list[timedelta]]:
    """How long the last servers of each group took from their creation until they were ready, oldest first.

    One that was given up on its way makes void what was known before it: boots may have become
    slower, and a deadline learned from quicker ones would give up all that follow.
    """
    asked: dict[str, datetime] = {}
    times: dict[str, list[timedelta]] = {}
    for event in events:
        if event.server is None or event.at is None:
            continue
        if event.event == EventName.CREATING:
            asked[event.server] = event.at
        elif event.event in _BOOT_ENDS and event.server in asked:
            took = event.at - asked.pop(event.server)
            if event.event == EventName.RUNNING:
                times.setdefault(event.group or "", []).append(took)
            elif event.event == EventName.HANGING:
                times.pop(event.group or "", None)
    return {group: known[-_BOOTS_KEPT:] for group, known in times.items()}


_BOOT_ENDS = {
    EventName.RUNNING,
    EventName.HANGING,
    EventName.ERRORED,
    EventName.DELETING,
    EventName.DELETED,
    EventName.VANISHED,
}


def event_to_json(event: Event) -> dict[str, object]:
    """An event as the log and a notification have it.

    `result` is there for `run.finished` only, and `decision` for `autoscale.decided`.
    """
    document: dict[str, object] = {
        "at": None if event.at is None else format_time(event.at),
        "run": event.run,
        "event": str(event.event),
        "server": event.server,
        "group": event.group,
        "from": None if event.previous is None else str(event.previous),
        "to": None if event.status is None else str(event.status),
        "reason": event.reason,
        "cause": event.cause,
    }
    if event.result is not None:
        document["result"] = dict(event.result)
    if event.decision is not None:
        document["decision"] = dict(event.decision)
    return document


def event_from_json(document: object) -> Event:
    """The event that `event_to_json` wrote; unknown fields are ignored. ValueError if it is none."""
    fields = _Fields(document)
    at, previous, status = (fields.optional_text(name) for name in ("at", "from", "to"))
    return Event(
        event=fields.text("event"),
        server=fields.optional_text("server"),
        group=fields.optional_text("group"),
        previous=None if previous is None else Status(previous),
        status=None if status is None else Status(status),
        reason=fields.optional_text("reason"),
        cause=fields.optional_text("cause"),
        at=None if at is None else parse_time(at),
        run=fields.optional_text("run"),
        result=fields.optional_object("result"),
        decision=fields.optional_object("decision"),
    )


LARGEST_LOG = 10_000_000
"""Bytes; a log that is as large is set aside before the next event."""

_OLD_LOGS = 3

_EVERYTHING = sys.maxsize


class EventLog:
    """`.scaler/<stack>.events.jsonl`: one JSON line per change, only ever appended to.

    A full log becomes `<stack>.events.jsonl.1`, and so on to `.3`, the oldest. A log that cannot
    be written never stops a run: `warn` is told once.
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

    def append(self, *events: Event) -> tuple[Event, ...]:
        """Write the events, each in one write; the events as they were written, with time, run and cause."""
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
        """All events, oldest first, or those in about the last so many bytes.

        Lines that are no events are skipped. StateError if a file cannot be read.
        """
        events: list[Event] = []
        try:
            with ExitStack() as stack:
                for file in self._open(stack):
                    if last_bytes <= 0:
                        break
                    events = [*_events(_last_lines(file, last_bytes)), *events]
                    last_bytes -= os.fstat(file.fileno()).st_size
        except OSError as error:
            raise StateError(
                f"The event log {self.path} cannot be read.",
                why=_reason(error),
                fix="make it readable for this user",
                code="state_unreadable",
            ) from error
        return events

    def _open(self, stack: ExitStack) -> list[IO[bytes]]:
        """The files there are, the newest first: in this order none is missed when they move on meanwhile."""
        opened: dict[int, IO[bytes]] = {}
        for number in range(_OLD_LOGS + 1):
            with suppress(FileNotFoundError):
                file = stack.enter_context(self._numbered(number).open("rb"))
                opened.setdefault(os.fstat(file.fileno()).st_ino, file)
        return list(opened.values())

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    def _set_aside(self) -> None:
        """Move all files on by one. A writer that has one open goes on writing to it, wherever it is then."""
        # Late: filelock loads asyncio, and `scaler status` only reads.
        from filelock import FileLock, Timeout

        try:
            with FileLock(f"{self.path}.lock", timeout=0, mode=FILE):
                # Another writer may have done it just now.
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
                    raise OSError("the disk took only a part of it")
        finally:
            os.close(descriptor)

    def _report(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            self._warn(f"events are not logged: {self.path}: {_reason(error)}")


def _last_lines(file: IO[bytes], size: int) -> IO[bytes]:
    """The file, at the first whole line of about its last so many bytes."""
    start = max(0, os.fstat(file.fileno()).st_size - size)
    file.seek(start)
    if start:
        file.readline()
    return file


def _ends_whole(descriptor: int) -> bool:
    """Whether the file's last line is whole: a writer may have been killed within it."""
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def _events(lines: IO[bytes]) -> Iterator[Event]:
    for line in lines:
        try:
            yield event_from_json(json.loads(line))
        except (ValueError, RecursionError):
            continue
