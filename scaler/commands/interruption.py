"""What is said of a run that ended without a result: what is under way by its records, and how it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import click

from scaler.commands.ending import Begun
from scaler.errors import ExitCode, HungUp, ScalerError, StateError, Terminated
from scaler.model import Server
from scaler.model.lifecycle import Status
from scaler.output.words import format_count
from scaler.records.state import State
from scaler.records.state_file import StateFile
from scaler.support.values import dataclass

LOOK = "`scaler status` shows what there is."

_COMING = frozenset({Status.NEW, Status.STARTING, Status.REBOOTING})
_LEAVING = frozenset({Status.STOPPING, Status.DELETING})


@dataclass(frozen=True)
class Remains:
    """What the records have of a stack whose run ended without a result."""

    begun: Begun
    now: State | None

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers that there are."""
        return _existing(self.now)

    @property
    def numbers(self) -> dict[str, int]:
        """The numbers that a result would have."""
        # A run that only looks has changed nothing: what differs is another one's work.
        before, after = _existing(self.now if self.begun.looks else self.begun.before), self.servers
        return {
            "wanted": sum(self.now.wanted.values()) if self.now else 0,
            "before": sum(server.counts for server in before),
            "ready": sum(server.running for server in after),
            "created": len(_ids(after) - _ids(before)),
            "deleted": len(_ids(before) - _ids(after)),
            "pending": sum(server.status in _COMING | _LEAVING for server in after),
        }

    @property
    def words(self) -> str:
        """How many servers are on their way; empty if none is, or if not by this run."""
        if self.begun.looks:
            return ""
        statuses = [server.status for server in self.servers]
        words = []
        for among, way in ((_COMING, "way"), (_LEAVING, "way out")):
            if number := sum(status in among for status in statuses):
                words.append(f"{format_count(number, 'server')} {'is on its' if number == 1 else 'are on their'} {way}")
        return ", ".join(words)

    @property
    def way_on(self) -> str:
        """How to go on; empty for a run that has changed nothing."""
        if self.begun.looks:
            return ""
        is_saved = _serial(self.now) != _serial(self.begun.before)
        # What a run has recorded may be all that it was to do: a repeat of `decrease` would then remove more.
        return LOOK if is_saved and not self.words else self.begun.way_on


def left_by(begun: Mapping[str, Begun]) -> dict[str, Remains]:
    """Read what is recorded of each stack now."""
    return {stack: Remains(run, recorded_in(run.folder, stack)) for stack, run in begun.items()}


def recorded_in(folder: Path, stack: str) -> State | None:
    """Return what a folder records of a stack; None if that is nothing, or cannot be read."""
    with suppress(StateError):
        return StateFile(folder, stack).load()
    return None


def interruption(cause: BaseException | None, begun: Mapping[str, Begun]) -> ScalerError:
    """Return the error that reports an interrupt, with the exit code of its signal; `cause` may be None."""
    if isinstance(cause, click.Abort):
        # A question raises it in place of the signal's own exception.
        cause = cause.__cause__ or cause.__context__
    lefts = left_by(begun)
    under_way = "; ".join(_lines(lefts))
    ways_on = dict.fromkeys(filter(None, (left.way_on for left in lefts.values())))
    error = ScalerError("Interrupted.", why=under_way, fix=" ".join(ways_on), code="interrupted")
    error.exit_code = _exit_code(cause)
    return error


def _lines(lefts: Mapping[str, Remains]) -> Iterator[str]:
    for stack, left in lefts.items():
        if left.words:
            yield left.words if len(lefts) == 1 else f"{stack}: {left.words}"


def _exit_code(cause: BaseException | None) -> ExitCode:
    if isinstance(cause, HungUp):
        return ExitCode.HUNG_UP
    return ExitCode.TERMINATED if isinstance(cause, Terminated) else ExitCode.INTERRUPTED


def _existing(state: State | None) -> tuple[Server, ...]:
    return tuple(server for server in state.servers if not server.finished) if state else ()


def _serial(state: State | None) -> int:
    return state.serial if state else 0


def _ids(servers: tuple[Server, ...]) -> set[str]:
    return {server.id for server in servers if server.id}
