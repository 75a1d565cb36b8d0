"""Whether this is the world that the stack's records are of (design D6). Pure.

Each check raises `UnrecognisedError`: nothing is changed and nothing recorded until a person says
which of the two worlds is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from scaler.errors import UnrecognisedError
from scaler.model import Machine, Spec, StackEntry
from scaler.model.identity import Identity, Place
from scaler.planning.absence import is_mass_loss
from scaler.planning.claims import describe_unclaimed
from scaler.planning.names import natural

_NAMES_SHOWN = 10


def check_place(spec: Spec, recorded: Identity, here: Place) -> None:
    """Refuse another project, cloud or endpoint than the recorded one."""
    found = {"project": here.project, "cloud": here.cloud, "endpoint": here.endpoint}
    known = {"project": recorded.project, "cloud": recorded.cloud, "endpoint": recorded.endpoint}
    moved = [
        f"{name}: {known[name]} recorded, {found[name]} now"
        for name in found
        if known[name] and known[name] != found[name]
    ]
    if moved:
        raise UnrecognisedError(
            f"{spec.stack} holds servers somewhere else; nothing was changed.",
            why="; ".join(moved),
            fix="Set it back. If its servers are seen here too, run `scaler adopt`. "
            f"To move {spec.stack}, run `scaler destroy` there first; for a second fleet, use another stack name.",
            code="identity_moved",
        )


def check_account(spec: Spec, recorded: Identity, account: str | None) -> None:
    """Refuse a token of another account, where the cloud reports whose it is."""
    if account and recorded.account and account != recorded.account:
        raise UnrecognisedError(
            f"The token is of another account than the servers of {spec.stack}; nothing was changed.",
            why=f"account {recorded.account} recorded, {account} now",
            fix="Use a token of the recorded account. For a fleet in this account, use another stack name.",
            code="account_changed",
        )


def check_foreign(spec: Spec, foreign: Sequence[str]) -> None:
    """Refuse a stack that holds resources which scaler did not declare: the engine would delete them."""
    if foreign:
        raise UnrecognisedError(
            f"{spec.stack} holds resources that scaler did not declare; nothing was changed.",
            why=f"a run would delete: {_shown(foreign)}",
            fix="Move them to a stack of their own (`pulumi state move`), or use another stack name for the servers.",
            code="foreign_resources",
        )


def check_tainted(spec: Spec, entries: Mapping[str, StackEntry]) -> None:
    """Refuse a stack in which the engine would replace servers beside what is planned."""
    if tainted := sorted((name for name, entry in entries.items() if entry.tainted), key=natural):
        raise UnrecognisedError(
            f"{_count(tainted, 'server')} of {spec.stack} {'is' if len(tainted) == 1 else 'are'} tainted in the stack; "
            "nothing was changed.",
            why=f"somebody ran `pulumi state taint`, and the engine would replace: {_shown(tainted)}",
            fix=f"Run `pulumi state untaint --all --stack {spec.stack}`, and `scaler replace NAME` for new ones.",
            code="tainted_servers",
        )


def check_unclaimed(spec: Spec, unclaimed: Sequence[Machine], now: datetime) -> None:
    """Refuse to go on beside servers that carry the stack's names, and another id or none."""
    if unclaimed:
        raise UnrecognisedError(
            f"{_count(unclaimed, 'server')} with the labels of {spec.stack} "
            f"{'is' if len(unclaimed) == 1 else 'are'} not known to be its own; nothing was changed.",
            why="; ".join(describe_unclaimed(machine, now) for machine in unclaimed),
            fix=f"If another folder or machine runs a stack {spec.stack} of project {spec.project}, use another stack "
            "name here. If they are this stack's, add --adopt, or run `scaler adopt`.",
            code="unclaimed_servers",
        )


def check_missing(spec: Spec, missing: Sequence[str], recorded: int, *, is_proven: bool, accept_loss: bool) -> None:
    """Refuse to go on when recorded servers are missing and that may be the looker's fault.

    `missing` are the names of recorded servers that the cloud denies, `recorded` is how many there
    should be. `is_proven`: the token has seen all servers of the stack before.
    """
    if not missing or accept_loss:
        return
    if not is_proven:
        raise UnrecognisedError(
            f"This token has never seen the servers of {spec.stack}, and {_of(missing, recorded)} missing; "
            "nothing was changed.",
            why=f"missing: {_shown(missing)}",
            fix="Another account? Use a token of the account that holds them. "
            "If they were deleted on purpose, add --accept-loss to `scaler ensure` or `scaler destroy`.",
            code="account_changed",
        )
    if is_mass_loss(len(missing), recorded) and spec.accept_loss != "always":
        raise UnrecognisedError(
            f"{_of(missing, recorded).capitalize()} missing in {spec.stack}; nothing was changed.",
            why=f"missing: {_shown(missing)}",
            fix="Try again in a minute, in case the cloud's lists lag. "
            "If they were deleted on purpose, add --accept-loss to `scaler ensure` or `scaler destroy`.",
            code="mass_loss",
        )


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _of(missing: Sequence[str], recorded: int) -> str:
    return f"{len(missing)} of {recorded} servers {'is' if len(missing) == 1 else 'are'}"


def _shown(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
