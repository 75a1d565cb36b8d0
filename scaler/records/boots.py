"""How long servers took to boot, and to go, from the event log. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from scaler.model.events import Event, EventName

_KEPT = 100
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
    return {group: boots[-_KEPT:] for group, boots in times.items()}


_GOING = {EventName.DRAINING, EventName.STOPPING, EventName.DELETING}


def removal_times(events: Iterable[Event]) -> dict[str, list[timedelta]]:
    """Return how long the last servers of each group took from the begin of drain or deletion until gone."""
    begun: dict[str, datetime] = {}
    times: dict[str, list[timedelta]] = {}
    for event in events:
        if event.server is None or event.at is None:
            continue
        if event.event in _GOING:
            begun.setdefault(event.server, event.at)
        elif event.event == EventName.DELETED and event.server in begun:
            times.setdefault(event.group or "", []).append(event.at - begun.pop(event.server))
        else:
            # It serves again, or is another one of this name.
            begun.pop(event.server, None)
    return {group: removals[-_KEPT:] for group, removals in times.items()}
