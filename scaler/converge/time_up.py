"""What it means when a run's time, `--timeout`, is up: trouble that passes is none, since the next run goes on.

Nor is a server that is not ready by then: it has a deadline of its own, and the next run waits for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from scaler.clouds import PASSING, BusyError, RateLimitedError
from scaler.converge.knowledge import Knowledge
from scaler.converge.ports import Ports
from scaler.errors import LockedError, TimeUpError
from scaler.planning.reach import UNREACHABLE

T = TypeVar("T")

_WAITED_FOR = (*PASSING, BusyError, LockedError)
"""What a run with more time would have waited for."""


def fix(ports: Ports) -> str:
    """Return how to go on."""
    return (
        f"Run the same command again: it goes on from what is there. Or give it more time than --timeout {ports.limit}."
    )


def in_time(run: Callable[[], T], ports: Ports) -> T:
    """Carry out a run. TimeUpError instead of trouble that it would have waited for."""
    try:
        return run()
    except (*PASSING, BusyError) as error:
        if not is_only_late(error, ports):
            raise
        raise TimeUpError(f"The time is up ({ports.limit}).", why=str(error), fix=fix(ports)) from error


def is_only_late(failure: Exception, ports: Ports) -> bool:
    """Return whether a failure says only that there was no time left."""
    if isinstance(failure, RateLimitedError) and failure.reset:
        return (failure.reset - ports.clock.now()).total_seconds() >= ports.limit.left
    return isinstance(failure, TimeUpError) or (ports.limit.is_over and isinstance(failure, _WAITED_FOR))


def are_only_late(failures: Iterable[Exception], ports: Ports) -> bool:
    """Return whether nothing has failed but what there was no time left for."""
    return all(is_only_late(failure, ports) for failure in failures)


def say_it(ports: Ports) -> None:
    """Say that the time is up, if it is, and how to go on."""
    if ports.limit.is_over:
        ports.progress.warn(f"the time is up ({ports.limit}). {fix(ports)}")


def say_why_late(knowledge: Knowledge, late: Sequence[str], ports: Ports) -> None:
    """Say why servers are not ready yet: which cannot be reached, and what a check found; one stands for all."""
    servers = (knowledge.world.servers[name] for name in late if name in knowledge.world.servers)
    troubles = [(server.name, trouble) for server in servers if (trouble := ports.readiness.trouble(server))]
    if troubles:
        name, trouble = troubles[0]
        others = f" and {len(troubles) - 1} more" if troubles[1:] else ""
        ports.progress.warn(f"not ready yet: {name}{others} ({trouble})")
    for line in knowledge.world.drift:
        if line.endswith(UNREACHABLE):
            ports.progress.warn(line)
