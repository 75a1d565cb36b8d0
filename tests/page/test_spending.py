"""What servers have cost, and how many there were, from records that may begin late."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from scaler.model import Price
from scaler.model.events import Event, EventName
from scaler.model.lifecycle import Status
from scaler.page.spending import spent
from scaler.page.timeline import timelines
from scaler.records.state import State
from tests.support.fakes import START
from tests.support.records import server, state

HOUR = timedelta(hours=1)
PRICE = Price("EUR", Decimal("0.01"), Decimal(6))
NOW = START.replace(day=24, hour=12)


def became(hours_ago: float, name: str, event: EventName, previous: Status | None, status: Status | None) -> Event:
    at = NOW - timedelta(hours=hours_ago)
    return Event(event=event, server=name, group="worker", previous=previous, status=status, at=at)


def life(name: str, begin: float, end: float | None = None) -> list[Event]:
    """The events of a server that was made and deleted so many hours ago."""
    events = [
        became(begin, name, EventName.CREATING, None, Status.STARTING),
        became(begin - 0.1, name, EventName.RUNNING, Status.STARTING, Status.RUNNING),
    ]
    if end is not None:
        events.append(became(end, name, EventName.DELETED, Status.DELETING, Status.DELETED))
    return events


def recorded(*servers: object) -> State:
    return replace(state(*servers), updated=NOW, wanted={"worker": 1})  # type: ignore[arg-type]


def test_what_was_spent_is_billed_as_the_cloud_bills() -> None:
    here = server("a", created=NOW - 40 * HOUR, since=NOW - 40 * HOUR, price=PRICE)
    events = [*life("a", 40), *life("b", 5, 3.5), *life("b", 3, 2)]
    midnight = NOW - 12 * HOUR
    # The last twelve hours of a; two started hours and one hour of the two servers that were called b.
    assert spent(recorded(here), events, midnight, NOW).amounts == {"EUR": Decimal("0.15")}
    assert str(spent(recorded(here), events, NOW - 20 * HOUR, NOW)) == "0.23 EUR"
    # A month costs at most its price.
    old = replace(here, created=NOW - timedelta(days=60), price=replace(PRICE, per_month=Decimal(5)))
    assert spent(recorded(old), [], NOW.replace(day=1, hour=0), NOW).amounts == {"EUR": Decimal(5)}


def test_a_log_that_begins_late_or_is_lost_forgets_no_server_that_the_records_have() -> None:
    gone = server("b", Status.DELETED, created=NOW - 3 * HOUR, since=NOW - HOUR, price=PRICE)
    here = server("a", created=NOW - 4 * HOUR, since=NOW - 4 * HOUR, price=PRICE)
    alone = spent(recorded(here, gone), [], NOW - 12 * HOUR, NOW)
    assert alone.amounts == {"EUR": Decimal("0.06")}
    logged = [*life("a", 4), *life("b", 3, 1)]
    assert spent(recorded(here, gone), logged, NOW - 12 * HOUR, NOW) == alone, "each is counted once"


def test_a_refused_create_costs_nothing_and_an_unknown_price_is_said() -> None:
    refused = [
        became(2, "a", EventName.CREATING, None, Status.NEW),
        became(2, "a", EventName.ERRORED, Status.NEW, Status.ERRORED),
        *life("a", 1),
    ]
    here = server("a", created=NOW - HOUR, since=NOW - HOUR, price=PRICE)
    assert spent(recorded(here), refused, NOW - 12 * HOUR, NOW).amounts == {"EUR": Decimal("0.01")}
    unknown = spent(recorded(replace(here, price=None)), refused, NOW - 12 * HOUR, NOW)
    assert str(unknown) == "not known"
    assert str(spent(None, [], NOW - HOUR, NOW)) == "nothing"


def test_counts_over_time_fit_what_is_there_now_though_the_log_begins_late() -> None:
    events = [*life("b", 5, 2), became(1, "c", EventName.VANISHED, Status.RUNNING, None)]
    here = server("a", created=NOW - 40 * HOUR, since=NOW - 40 * HOUR)
    line = timelines(recorded(here), events, [], NOW - 12 * HOUR, NOW)["worker"]
    hours = [round((NOW.timestamp() - time) / 3600, 1) for time in line.times]
    assert hours == [12, 4.9, 2, 1, 0]
    assert line.ready == [2, 3, 2, 1, 1], "a and c, then b too, then without b, then without c"
    assert line.wanted[-1] == 1


def test_a_run_says_what_was_wanted_and_how_long_it_was_missed() -> None:
    finished = Event(
        event=EventName.RUN_FINISHED, at=NOW - 3 * HOUR, result={"groups": {"worker": {"wanted": 2}, "odd": None}}
    )
    here = server("a", created=NOW - 40 * HOUR, since=NOW - 40 * HOUR)
    [(_, line)] = timelines(recorded(here), [finished], [], NOW - 12 * HOUR, NOW).items()
    assert line.wanted[:2] == [None, 2]
    assert line.short_s == 3 * 3600, "and then one is wanted"
