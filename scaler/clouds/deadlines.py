"""How long a request may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Self

from scaler.clouds.governor import Allowances
from scaler.errors import UsageError
from scaler.support.durations import parse_duration
from scaler.support.time_limit import TimeLimit
from scaler.support.values import dataclass

_VARIABLE = "SCALER_HTTP_TIMEOUT"


def never() -> bool:
    """Return that a process may always change something."""
    return False


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Seconds: to connect, then for the whole answer, and to wait for the vendor's rate limit.

    When the run's time, `limit`, is up, nothing is repeated, and an answer to a question or the rate limit is
    waited for only a few seconds more; the answer to a request that changes something always has its whole time.
    """

    connect: float = 5
    read: float = 30
    budget: float = 300
    is_over: Callable[[], bool] = never
    """Whether the time is over in which this process may change anything: requests that would are not sent then."""
    allowances: Allowances = field(default_factory=Allowances)
    """What is left of the accounts' requests; connections with the same value share it."""
    limit: TimeLimit = field(default_factory=TimeLimit)
    """The time of the run that sends the requests."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Return the defaults, with `SCALER_HTTP_TIMEOUT`, such as `10s`, as the read deadline if it is set.

        Raises UsageError for a value that is no duration.
        """
        text = environ.get(_VARIABLE)
        if not text:
            return cls()
        try:
            seconds = parse_duration(text).total_seconds()
        except ValueError as error:
            raise UsageError(f"{_VARIABLE} is no duration.", why=str(error), fix="Write it as 30s or 1m.") from error
        if seconds <= 0:
            raise UsageError(
                f"{_VARIABLE} must be more than nothing.", why=f"{_VARIABLE}={text}", fix="Write it as 30s or 1m."
            )
        return cls(connect=min(cls().connect, seconds), read=seconds)
