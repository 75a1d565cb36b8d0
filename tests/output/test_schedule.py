"""The schedule of a roll in a plan: the same numbers as text, Markdown and JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from scaler.model import Outcome
from scaler.model.schedule import Repriced, RollCost, RollSchedule, Wave
from scaler.output.render import render
from tests.support.results import result

SCHEDULE = RollSchedule(
    group="worker",
    outdated=5,
    waves=tuple(Wave(size=size, ahead=0, most=5 + size, fewest=5) for size in (1, 2, 2)),
    boot=timedelta(seconds=40),
    bake=timedelta(minutes=2),
    removal=timedelta(seconds=5),
    limited="the limit is 7, with 5 wanted or there",
    cost=RollCost(
        currency="EUR",
        extra=0.1234,
        per_month_before=18.95,
        per_month_after=20,
        repriced=(Repriced(servers=5, type="cx23", location="fsn1", per_month_before=3.79, per_month_after=4),),
    ),
)

SENTENCES = [
    "roll of worker: 5 servers in 3 waves (1, then 2 times 2); at most 7 servers at once, and never fewer than 5 of"
    " worker in service",
    "roll of worker: no larger surge, since the limit is 7, with 5 wanted or there",
    "roll of worker: about 8m15s; each wave boot 40s, bake 2m00s, removal 5.0s",
    "roll of worker: at most EUR 0.12 for the servers beside the others; a month then costs EUR 20.00 (now 18.95);"
    " list prices, net",
    "roll of worker: a new cx23 in fsn1 costs EUR 4.00 a month, and 5 servers of now 3.79 each",
]


def planned(schedule: RollSchedule, format: str) -> str:
    return render(replace(result(Outcome.PLANNED), schedules=(schedule,)), format)


def test_a_plan_shows_the_whole_schedule_of_its_roll() -> None:
    text, markdown = planned(SCHEDULE, "text"), planned(SCHEDULE, "markdown")
    for sentence in SENTENCES:
        assert f"  ! {sentence}\n" in text
        assert sentence in markdown.replace("\\", "")
    shown = json.loads(planned(SCHEDULE, "json"))["schedules"]["worker"]
    assert shown["waves"][1] == {"size": 2, "ahead": 0, "most": 7, "fewest": 5, "takes_s": 165}
    assert (shown["outdated"], shown["most"], shown["fewest"], shown["takes_s"]) == (5, 7, 5, 495)
    assert (shown["boot_s"], shown["bake_s"], shown["removal_s"]) == (40, 120, 5)
    (repriced,) = shown["cost"].pop("repriced")
    assert shown["cost"] == {"currency": "EUR", "extra": 0.1234, "per_month_before": 18.95, "per_month_after": 20}
    assert (repriced["servers"], repriced["type"], repriced["location"]) == (5, "cx23", "fsn1")
    assert (repriced["per_month_before"], repriced["per_month_after"]) == (3.79, 4)
    assert (shown["limited"], shown["held"]) == ("the limit is 7, with 5 wanted or there", None)


def test_what_is_not_known_yet_is_said_to_be() -> None:
    unknown = replace(SCHEDULE, boot=None, removal=None, limited="", cost=None, held="none of its windows is open")
    text = planned(unknown, "text")
    assert "how long it takes is not known before a server of it has booted" in text
    assert "no wave begins now: none of its windows is open" in text
    shown = json.loads(planned(unknown, "json"))["schedules"]["worker"]
    assert (shown["takes_s"], shown["cost"], shown["limited"]) == (None, None, None)
