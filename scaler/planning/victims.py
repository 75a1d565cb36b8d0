"""Who goes first when there are too many servers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from scaler.model import Extension, Group, Server
from scaler.model.lifecycle import Status
from scaler.planning.names import number_of
from scaler.support.text import answered

_NOT_SERVING = (
    Status.ERRORED,
    Status.HANGING,
    Status.UNHEALTHY,
    Status.STOPPED,
    Status.STARTING,
    Status.REBOOTING,
)
"""The statuses that go before `running`, the first of them first."""


def victims(
    candidates: Iterable[Server],
    count: int,
    group: Group | None,
    orphans: Collection[str] = (),
    outdated: Collection[str] = (),
    paid: Callable[[Server], float] = lambda server: 0.0,
) -> list[Server]:
    """Return the `count` servers that go first: dead, unhealthy, off, not ready, outdated, then as `scale_down` says.

    Among servers of one status orphans go first; a ready orphan stays before a server that is not
    ready, so that enough servers are ready. `paid` returns the seconds for which a server is paid,
    for `billing`; of equals the newest goes. A function in `scale_down` is asked only where some of
    several equal servers go. ExtensionError if it does not answer with servers that it was offered.
    """

    scale_down = group.scale_down if group else "newest"

    def rank(server: Server) -> tuple[int, bool, bool, float]:
        return (
            _status_rank(server),
            server.name not in orphans,
            server.name not in outdated,
            paid(server) if scale_down == "billing" else 0.0,
        )

    ranked = sorted(_by_age(candidates, oldest_first=scale_down == "oldest"), key=rank)
    if not isinstance(scale_down, Extension) or not 0 < count < len(ranked):
        return ranked[:count]
    last = rank(ranked[count - 1])
    certain = [server for server in ranked if rank(server) < last]
    equals = [server for server in ranked if rank(server) == last]
    return certain + _ask(scale_down, equals, count - len(certain))


def _status_rank(server: Server) -> int:
    return _NOT_SERVING.index(server.status) if server.status in _NOT_SERVING else len(_NOT_SERVING)


def _by_age(servers: Iterable[Server], *, oldest_first: bool) -> list[Server]:
    """Sort by creation time; of one time, the higher number counts as the newer."""

    def age(server: Server) -> tuple[float, int]:
        return server.created.timestamp() if server.created else 0.0, number_of(server.name)

    return sorted(servers, key=age, reverse=not oldest_first)


def _ask(choose: Extension, servers: Sequence[Server], count: int) -> list[Server]:
    """Return the first `count` of these servers that the function answers; ExtensionError for any other answer."""
    if count == len(servers):
        return list(servers)
    answer = choose(tuple(servers), count)
    if not isinstance(answer, Collection) or not all(isinstance(server, Server) for server in answer):
        raise choose.failed(f"it answered {answered(answer)}, not servers")
    chosen = list(dict.fromkeys(answer))
    if strange := [server.name for server in chosen if server not in servers]:
        raise choose.failed(f"it chose {', '.join(strange)}, which it was not offered")
    if len(chosen) < count:
        raise choose.failed(f"it chose {len(chosen)} of {len(servers)} servers, and {count} have to go")
    return chosen[:count]
