"""How long servers took to boot, from the event log. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from scaler.model.events import Event, EventName

_BOOTS_KEPT = 100

_BOOT_ENDS = {
    EventName.RUNNING,
    EventName.HANGING,
    EventName.ERRORED,
    EventName.DELETING,
    EventName.DELETED,
    EventName.VANISHED,
}


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
