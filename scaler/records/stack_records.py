"""The records of one stack: its state file, its event log, and the notifications for its events."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from scaler.clouds import QuotaError
from scaler.errors import LimitError, RefusedError, ScalerError, StateError, UnrecognisedError
from scaler.hooks.notify import Notifier
from scaler.model import Outcome, Result, Server, Spec, Step
from scaler.model.events import Event, EventName
from scaler.model.identity import Identity
from scaler.model.orders import Orders
from scaler.planning.names import in_order
from scaler.records.boots import boot_times, removal_times
from scaler.records.codec import event_to_json
from scaler.records.event_log import EventLog
from scaler.records.state import State, prune_records
from scaler.records.state_file import CorruptStateError, StateFile
from scaler.records.transitions import pause_events, roll_events, transitions
from scaler.support.clock import Clock

_RECENT_BYTES = 250_000
"""How much of the event log is read for `boot_times`: the lives of some hundred servers, and quick to parse."""

T = TypeVar("T")


class StackRecords:
    """`ports.Records` in the state folder."""

    def __init__(
        self,
        spec: Spec,
        state_dir: Path,
        *,
        cause: str,
        clock: Clock,
        warn: Callable[[str], None],
        notifier: Notifier,
        share: Callable[[], None] = lambda: None,
    ) -> None:
        """`cause` is written to every event; `warn` gets what is wrong with the records but does not stop the run.

        `share` pushes what is recorded to where other machines read it.
        """
        self.share = share
        self._spec = spec
        self._clock = clock
        self._warn = warn
        self._notifier = notifier
        self._file = StateFile(state_dir, spec.stack)
        self._state: State | None = None
        self._recent: list[Event] | None = None
        """The newest events; None: not read."""
        self._events = EventLog(self._file.events_path, clock, run=secrets.token_hex(4), cause=cause, warn=warn)

    def load(self, *, set_aside_damaged: bool = False) -> tuple[Server, ...]:
        try:
            self._state = self._file.load()
        except CorruptStateError as error:
            if not set_aside_damaged:
                raise
            self._warn(f"{error}; it was set aside as {self._file.set_aside().name}")
        return self._state.servers if self._state else ()

    def orders(self) -> Orders | None:
        try:
            state = self._file.load()
        except CorruptStateError:
            return None
        return state.orders if state else None

    def identity(self) -> Identity | None:
        if self._state is None:
            return None
        # An older version recorded only the project and the cloud; its stack gets an id of its own.
        older = Identity(id="", project=self._state.project, cloud=self._state.cloud)
        return self._state.identity or older

    def save(
        self,
        orders: Orders,
        servers: Mapping[str, Server],
        steps: Sequence[Step],
        identity: Identity | None = None,
    ) -> None:
        retained = prune_records(in_order(servers.values()), self._clock.now(), self._spec.retention)
        before = self._state
        if before and before.identity == identity and self._is_saved(before, orders, retained):
            return
        self._state = self._file.save(
            State(
                stack=self._spec.stack,
                project=self._spec.project,
                cloud=self._spec.cloud,
                serial=before.serial if before else 0,
                updated=self._clock.now(),
                wanted=dict(orders.wanted),
                servers=retained,
                identity=identity,
                orders=orders,
            )
        )
        self._log(
            *transitions(before.records if before else {}, self._state.records, steps),
            *pause_events(before.orders if before else Orders(), orders),
            *roll_events(before.orders if before else Orders(), orders),
        )

    def log_run(self, run: Callable[[], Result]) -> Result:
        self._log(Event(event=EventName.RUN_STARTED))
        try:
            result = run()
        except BaseException as error:
            self._log(*_limit_events([error]), *self._identity_events(error), _stopped_event(error))
            raise
        self._log(*_limit_events(result.failures), _finished_event(result))
        return result

    def log_look(self, look: Callable[[], T]) -> T:
        try:
            seen = look()
        except UnrecognisedError as error:
            self._log(*self._identity_events(error))
            raise
        if self._last_refusal():
            self._log(Event(event=EventName.IDENTITY_RECOGNISED))
        return seen

    def log_decision(self, group: str, reason: str, decision: Mapping[str, object]) -> None:
        self._log(Event(event=EventName.AUTOSCALE_DECIDED, group=group, reason=reason, decision=decision))

    def log_metric(self, group: str, text: str) -> None:
        self._log(Event(event=EventName.AUTOSCALE_METRIC, group=group, reason=text))

    def log_snapshot(self, event: EventName, server: Server, reason: str) -> None:
        self._log(Event(event=event, server=server.name, group=server.group, reason=reason))

    def boot_times(self) -> Mapping[str, Sequence[timedelta]]:
        try:
            return boot_times(self._read_recent())
        except StateError:
            # Past boot times only refine the deadlines; without them, those of the spec apply.
            return {}

    def removal_times(self) -> Mapping[str, Sequence[timedelta]]:
        try:
            return removal_times(self._read_recent())
        except StateError:
            # They only say how long a roll will take.
            return {}

    def _is_saved(self, state: State, orders: Orders, servers: Sequence[Server]) -> bool:
        """Return whether the state file holds exactly this already."""
        return state.servers == servers and state.orders == orders and self._file.path.exists()

    def _log(self, *events: Event) -> None:
        """Append events to the log, and queue the notifications for them."""
        logged = self._events.append(*events)
        if self._recent is not None:
            self._recent += logged
        self._notifier.send([event_to_json(event) for event in logged])

    def _read_recent(self) -> list[Event]:
        if self._recent is None:
            self._recent = self._events.read(_RECENT_BYTES)
        return self._recent

    def _identity_events(self, error: BaseException) -> list[Event]:
        """Build the event for a world that is not recognised, unless the last refusal was the same."""
        if not isinstance(error, UnrecognisedError) or (self._last_refusal() or "").startswith(_kind(error)):
            return []
        return [Event(event=EventName.IDENTITY_REFUSED, reason=f"{error.code}: {error}")]

    def _last_refusal(self) -> str | None:
        """Return why the world was not recognised last; None if it was, or if that cannot be read."""
        try:
            events = self._read_recent()
        except StateError:
            return None
        for event in reversed(events):
            if event.event == EventName.IDENTITY_REFUSED:
                return event.reason
            if not _is_of_refused_run(event):
                return None
        return None


def _limit_events(errors: Iterable[BaseException]) -> list[Event]:
    limits = (LimitError, QuotaError)
    return [Event(event=EventName.LIMIT_HIT, reason=str(error)) for error in errors if isinstance(error, limits)]


def _kind(error: UnrecognisedError) -> str:
    """Return what makes a refusal another one: the ages in its reasons change with each run."""
    return f"{error.code}: {error.what}"


def _is_of_refused_run(event: Event) -> bool:
    """Return whether an event comes of every run, also of one that is refused."""
    is_refused = (event.result or {}).get("outcome") == str(Outcome.REFUSED)
    return event.event == EventName.RUN_STARTED or (event.event == EventName.RUN_FINISHED and is_refused)


def _stopped_event(error: BaseException) -> Event:
    """Build the event for a run that raised. Only the texts of our own errors are known to hold no secret."""
    reason = str(error) if isinstance(error, ScalerError) else type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        reason = "interrupted by a signal"
    outcome = Outcome.REFUSED if isinstance(error, RefusedError) else Outcome.FAILED
    return Event(event=EventName.RUN_FINISHED, reason=reason, result={"outcome": str(outcome)})


def _finished_event(result: Result) -> Event:
    return Event(
        event=EventName.RUN_FINISHED,
        reason="; ".join(map(str, result.failures)) or None,
        result={
            "outcome": str(result.outcome),
            "groups": {
                name: {"wanted": report.wanted, "before": report.before, "ready": report.ready}
                for name, report in result.groups.items()
            },
            "requests": asdict(result.requests),
            "elapsed_s": round(result.elapsed.total_seconds(), 1),
        },
    )
