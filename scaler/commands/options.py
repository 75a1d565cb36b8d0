"""The options that several commands have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import click

from scaler.support.values import dataclass

R = TypeVar("R")


class Duration(click.ParamType[timedelta]):
    """`90s`, `10m`, `1h30m`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        from scaler.support.durations import parse_duration

        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True)
class LockPolicy:
    """What a run does about the lock of another run."""

    timeout: timedelta = timedelta(minutes=2)
    """How long it waits."""
    steal_after: timedelta | None = None
    """The age from which it takes the lock of a run on another machine; None: never."""


_lock_timeout = click.option(
    "--lock-timeout",
    type=Duration(),
    default="2m",
    show_default=True,
    help="How long to wait while another run holds the stack's lock.",
)
_steal_after = click.option(
    "--steal-after",
    type=Duration(),
    envvar="SCALER_STEAL_AFTER",
    show_envvar=True,
    metavar="AGE",
    help="Take any lock on the stack from another machine when it is older than this, such as 1h. "
    "Default: only those of dead runs.",
)


def lock_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--lock-timeout` and `--steal-after`; its function gets both as one `LockPolicy`, `lock`."""
    return _lock_timeout(_steal_after(_with_lock_policy(command)))


def lock_timeout_option(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command that never takes a lock away `--lock-timeout`, as the `LockPolicy` `lock`."""
    return _lock_timeout(_with_lock_policy(command))


def _with_lock_policy(command: Callable[..., R]) -> Callable[..., R]:
    @functools.wraps(command)
    def with_lock(*args: Any, lock_timeout: timedelta, steal_after: timedelta | None = None, **kwargs: Any) -> R:
        return command(*args, lock=LockPolicy(lock_timeout, steal_after), **kwargs)

    return with_lock


accept_loss_option = click.option(
    "--accept-loss",
    is_flag=True,
    help="Go on although servers are missing that the records have, and replace them.",
)
adopt_option = click.option(
    "--adopt",
    "claim",
    is_flag=True,
    help="Claim servers that carry the stack's labels and not its id.",
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
timeout_option = click.option(
    "--timeout",
    type=Duration(),
    default="15m",
    show_default=True,
    help="How long the whole run may take.",
)
max_change_option = click.option(
    "--max-change",
    type=click.IntRange(min=0),
    metavar="N",
    help="Refuse to create and delete more than N servers in total.",
)
allow_zero_option = click.option(
    "--allow-zero", is_flag=True, help="Allow the whole stack to go to 0 servers without confirmation."
)
