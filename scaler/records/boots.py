"""How long servers took to boot, from the event log. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from scaler.model.events import Event, EventName

_BOOTS_KEPT = 100
"""Per group."""

_BOOT_ENDS = {
    EventName.RUNNING,
    EventName.HANGING,
    EventName.ERRORED,
    EventName.DELETING,
    EventName.DELETED,
    EventName.VANISHED,
}


def boot_times(events: Iterable[Event]) -> dict[str, list[timedelta]]:
    """Return how long the last servers of each group took from creation until ready, oldest first.

    A server that was given up while it booted discards the times before it: boots may have become
    slower, and a deadline learned from faster ones would give up every later server.
    """
    created: dict[str, datetime] = {}
    times: dict[str, list[timedelta]] = {}
    for event in events:
        if event.server is None or event.at is None:
            continue
        if event.event == EventName.CREATING:
            created[event.server] = event.at
        elif event.event in _BOOT_ENDS and event.server in created:
            took = event.at - created.pop(event.server)
            if event.event == EventName.RUNNING:
                times.setdefault(event.group or "", []).append(took)
            elif event.event == EventName.HANGING:
                times.pop(event.group or "", None)
    return {group: boots[-_BOOTS_KEPT:] for group, boots in times.items()}
