"""The story of a stack: its servers, the counts against the load, decisions, costs, and what went wrong. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from functools import cached_property
from statistics import median

from scaler.autoscale.seen import Seen
from scaler.model import Server
from scaler.model.events import Event, EventName
from scaler.model.lifecycle import Status
from scaler.model.roll import Roll, RollState
from scaler.output.words import format_age, format_count, format_elapsed
from scaler.page.spending import spent
from scaler.page.timeline import Timeline, mapping, timelines
from scaler.page.view import Chart, Curve, Link, Sentence, Table, WebPage
from scaler.planning.names import in_order
from scaler.planning.prices import recorded_cost
from scaler.records.boots import boot_times
from scaler.records.state import State
from scaler.support.values import dataclass

_MOST_ROWS = 200
"""Of a table; the newest are shown."""

_ORDERS = {
    EventName.AUTOSCALE_PAUSED: "paused",
    EventName.AUTOSCALE_RESUMED: "resumed",
    EventName.DRAINING: "drain",
    EventName.RESUMED: "drain ended",
    EventName.ROLL_STARTED: "roll begun",
    EventName.ROLL_WAVE: "roll, next wave",
    EventName.ROLL_HELD: "roll held",
    EventName.ROLL_FINISHED: "roll ended",
}
_TROUBLE = {
    EventName.ERRORED: "failed",
    EventName.HANGING: "hangs",
    EventName.UNHEALTHY: "unhealthy",
    EventName.VANISHED: "vanished",
    EventName.LIMIT_HIT: "limit",
    EventName.DRIFT_FOUND: "drift",
    EventName.IDENTITY_REFUSED: "not recognised",
    EventName.AUTOSCALE_METRIC: "metric",
    EventName.SNAPSHOT_FAILED: "snapshot failed",
}
_BAD_ENDS = ("failed", "refused", "unconfirmed")


@dataclass(frozen=True, kw_only=True)
class FleetStory:
    """What is known of a stack, and the time that is shown of it."""

    stack: str
    state: State | None
    events: Sequence[Event]
    """Oldest first; those before `since` say what held then."""
    since: datetime
    now: datetime
    seen: Sequence[Seen] = ()
    """What a watch has seen in its ticks."""
    remarks: Sequence[Sentence] = ()
    """What else there is to say first."""
    links: Sequence[Link] = field(default=())

    @property
    def page(self) -> WebPage:
        """Return the page."""
        return WebPage(
            title=self.stack,
            subtitle=f"{_time(self.since)} to {_time(self.now)} UTC",
            sentences=[*self.remarks, *self._sentences()],
            charts=[chart for group, line in self._timelines.items() for chart in _charts(group, line)],
            tables=[
                self._servers(),
                self._decisions(),
                Table(title="Pauses, drains and rolls", head=("UTC", "what", "why"), rows=self._orders()),
                Table(title="Trouble", head=("UTC", "what", "why"), rows=self._trouble(), empty="Nothing went wrong."),
                self._boots(),
            ],
            links=self.links,
        )

    # -- the conclusion ------------------------------------------------------------------------

    def _sentences(self) -> Iterator[Sentence]:
        yield self._counts()
        pause = self.state.orders.active_pause(self.now) if self.state else None
        if pause:
            yield Sentence(f"{str(pause)[:1].upper()}{str(pause)[1:]}.", "bad")
        yield from self._rolling()
        yield from self._last_decision()
        yield from self._shortage()
        yield from self._cost()

    def _counts(self) -> Sentence:
        """Compare what is wanted with what is ready, now."""
        if self.state is None:
            return Sentence("Nothing is recorded of this stack yet.")
        ready = Counter(server.group for server in self.state.servers if server.running)
        parts, missing = [], 0
        for group, wanted in self.state.wanted.items():
            parts.append(f"{group} {ready[group]} of {wanted}")
            missing += max(0, wanted - ready[group])
        if not parts:
            return Sentence("No servers are wanted.")
        counts = ", ".join(parts)
        if missing:
            return Sentence(f"{format_count(missing, 'server')} short of what is wanted: {counts} ready.", "bad")
        return Sentence(f"All wanted servers are ready: {counts}.", "good")

    def _rolling(self) -> Iterator[Sentence]:
        for group, roll in (self.state.orders.rolls if self.state else {}).items():
            if roll.state is RollState.ROLLING:
                yield Sentence(f"A roll of {group} is under way: {_roll_words(roll)}.")
            elif roll.state is RollState.FAILED:
                yield Sentence(f"The last roll of {group} failed: {roll.error or _roll_words(roll)}.", "bad")

    def _last_decision(self) -> Iterator[Sentence]:
        if self._decided:
            changes = [event for event in self._decided if _change(event)]
            ups = sum(1 for event in changes if _change(event) > 0)
            last = (changes or self._decided)[-1]
            times = f"{format_count(len(changes), 'time')} ({ups} up, {len(changes) - ups} down)"
            yield Sentence(f"Autoscaling changed the count {times}. The last: {last.group} {last.reason}.")

    def _shortage(self) -> Iterator[Sentence]:
        for group, line in self._timelines.items():
            if line.short_s >= 1:
                length = format_elapsed(timedelta(seconds=line.short_s))
                yield Sentence(f"For {length}, fewer servers of {group} were ready than wanted.")

    def _cost(self) -> Iterator[Sentence]:
        if self.state is None:
            return
        day = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        today, month = (spent(self.state, self.events, start, self.now) for start in (day, day.replace(day=1)))
        text = f"Cost at list prices: {today} today, {month} this month"
        going = recorded_cost(self.state.servers)
        if going.currency:
            text += f"; a whole month of what is there now: {going.per_month:.2f} {going.currency}"
        yield Sentence(f"{text}.")

    # -- the tables ----------------------------------------------------------------------------

    def _servers(self) -> Table:
        servers = [server for server in in_order(self.state.servers if self.state else ()) if not server.finished]
        return Table(
            title="Servers",
            head=("name", "status", "since", "kind", "address", "remarks"),
            rows=[
                (
                    server.name,
                    Sentence(str(server.status), "bad" if server.status in _BAD else "plain"),
                    format_age(server.since, self.now),
                    " ".join(filter(None, (server.type, server.location))),
                    server.ipv4 or server.ipv6 or server.private_ip or "",
                    "; ".join(_remarks(server)),
                )
                for server in servers
            ],
            empty="There are no servers.",
        )

    def _decisions(self) -> Table:
        rows = [
            (_at(event), f"{event.group} {_ends(event)}", _reason(event))
            for event in reversed(self._decided[-_MOST_ROWS:])
        ]
        return Table(title="Decisions", head=("UTC", "count", "why"), rows=rows)

    def _orders(self) -> list[tuple[str, str, str]]:
        rows = [
            (_at(event), _what(event, _ORDERS[EventName(event.event)]), _reason(event)) for event in self._of(_ORDERS)
        ]
        return rows[::-1][:_MOST_ROWS]

    def _trouble(self) -> list[tuple[str, str, str]]:
        rows = [
            (_at(event), _what(event, _TROUBLE[EventName(event.event)]), _reason(event)) for event in self._of(_TROUBLE)
        ]
        rows += [
            (_at(event), f"run {outcome}", event.reason or f"{event.cause or 'a run'} did not reach its goal")
            for event in self._of({EventName.RUN_FINISHED})
            if (outcome := mapping(event.result).get("outcome")) in _BAD_ENDS
        ]
        return sorted(rows, reverse=True)[:_MOST_ROWS]

    def _boots(self) -> Table:
        rows = []
        for group, boots in sorted(boot_times(self._shown).items()):
            middle = timedelta(seconds=median(boot.total_seconds() for boot in boots))
            rows.append((group, str(len(boots)), format_elapsed(middle), format_elapsed(max(boots))))
        return Table(title="Boots", head=("group", "servers", "median", "slowest"), rows=rows, kind="numbers")

    # -- parts ---------------------------------------------------------------------------------

    @cached_property
    def _shown(self) -> list[Event]:
        return [event for event in self.events if event.at and self.since <= event.at <= self.now]

    def _of(self, names: Iterable[str]) -> list[Event]:
        wanted = set(names)
        return [event for event in self._shown if event.event in wanted]

    @cached_property
    def _decided(self) -> list[Event]:
        return self._of({EventName.AUTOSCALE_DECIDED})

    @cached_property
    def _timelines(self) -> Mapping[str, Timeline]:
        return timelines(self.state, self.events, self.seen, self.since, self.now)


def _charts(group: str, line: Timeline) -> Iterator[Chart]:
    """Yield the chart of the counts, and below it one of each metric, with the same times."""
    counts = [Curve(label="wanted", values=line.wanted), Curve(label="ready", values=line.ready, color=1)]
    yield Chart(title=f"{group}: servers", times=line.times, lines=counts, whole=True)
    for name, values in line.loads.items():
        loads = [Curve(label=name, values=values, color=2)]
        yield Chart(title=f"{group}: {name}", times=line.times, lines=loads)


_BAD = (Status.ERRORED, Status.HANGING, Status.UNHEALTHY)
"""Statuses that nobody should overlook among many servers."""


def _remarks(server: Server) -> Iterator[str]:
    if server.error:
        yield server.error
    if server.drain:
        yield "drains"
    if server.drain_failed:
        yield f"kept, its drain failed: {server.drain_failed}"
    if server.protected:
        yield "protected"
    if server.delete_protection:
        yield "delete protection is on at the cloud"
    if server.set_aside:
        yield "left alone: its group label was changed"
    if server.outdated:
        yield f"outdated: {server.outdated}"
    if server.health and server.health.failures and server.status is not Status.DELETED:
        yield f"{format_count(server.health.failures, 'check')} in a row failed"


def _roll_words(roll: Roll) -> str:
    return f"{roll.state}, {format_count(roll.waves, 'wave')} begun, {len(roll.replaced)} replaced"


def _change(event: Event) -> int:
    before, after = _numbers(event)
    return after - before


def _ends(event: Event) -> str:
    before, after = _numbers(event)
    return f"{before} → {after}" if after != before else f"{after} stays"


def _numbers(event: Event) -> tuple[int, int]:
    decision = mapping(event.decision)
    before, after = decision.get("from"), decision.get("to")
    return (before, after) if isinstance(before, int) and isinstance(after, int) else (0, 0)


def _what(event: Event, word: str) -> str:
    return " ".join(filter(None, (event.server or event.group, word)))


def _reason(event: Event) -> str:
    return event.reason or event.cause or ""


def _at(event: Event) -> str:
    return _time(event.at) if event.at else ""


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
