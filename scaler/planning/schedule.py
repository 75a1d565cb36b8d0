"""The waves of a roll, one after the other. Pure: a roll opens the waves that its preview shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from statistics import median

from scaler.model import Price
from scaler.model.roll import Pace
from scaler.model.schedule import RollCost, RollSchedule
from scaler.support.values import dataclass

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class WaveSize:
    """How many servers a wave replaces."""

    size: int
    ahead: int
    """How many old ones go before the new ones are there: `size` less the room for a surge."""


def surge_with(pace: Pace, room: int | None) -> int:
    """Return how many servers may be created beside the wanted ones, where there is room for so many more."""
    return pace.surge if room is None else max(0, min(pace.surge, room))


def next_wave(pace: Pace, *, begun: int, left: int, wanted: int, room: int | None) -> WaveSize | None:
    """Return the wave after `begun` others, with `left` servers to replace; None if none is left, or has no room.

    `room` is how many machines more there may be; None: any number.
    """
    surge = surge_with(pace, room)
    most = surge + min(pace.unavailable, wanted)
    size = min(left, most, pace.canary or most) if not begun else min(left, most)
    return WaveSize(size, max(0, size - surge)) if size > 0 else None


def waves_of(
    pace: Pace, *, begun: int, left: int, wanted: int, room: int | None, open_wave: WaveSize | None = None
) -> Iterator[WaveSize]:
    """Yield all waves that are left, first the one that is open."""
    wave = open_wave or next_wave(pace, begun=begun, left=left, wanted=wanted, room=room)
    begun += open_wave is None
    while wave and left > 0:
        wave = WaveSize(min(wave.size, left), wave.ahead)
        yield wave
        left -= wave.size
        wave = next_wave(pace, begun=begun, left=left, wanted=wanted, room=room)
        begun += 1


def usual(times: Sequence[timedelta]) -> timedelta | None:
    """Return how long something usually took, in whole seconds; None if it never happened."""
    return timedelta(seconds=round(median(time.total_seconds() for time in times))) if times else None


def cost_of_roll(
    schedule: RollSchedule, before: Sequence[Price], new: Price, wanted: int, *, by_the_hour: bool
) -> RollCost:
    """Return what a roll costs, of which `before` are the prices of the group's servers, and `new` of a new one.

    `by_the_hour`: started hours are paid, so that each replaced server costs one more at most.
    """
    extra: float | None = 0.0
    for wave in schedule.waves:
        takes = schedule.time_of(wave)
        if takes is None or extra is None:
            extra = None
            break
        hours = (wave.size - wave.ahead) * (takes / _HOUR) + (wave.size if by_the_hour else 0)
        extra += float(new.per_hour) * hours
    return RollCost(
        currency=new.currency,
        extra=extra if extra is None else round(extra, 4),
        per_month_before=float(sum((price.per_month or Decimal(0) for price in before), Decimal(0))),
        per_month_after=float((new.per_month or Decimal(0)) * wanted),
    )
