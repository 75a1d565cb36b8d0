"""`scaler snapshot`: make a snapshot of a server, which new servers are made from, and delete old ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from scaler.commands.command import Command, common_options
from scaler.commands.completers import complete_server
from scaler.commands.context import Context, Output
from scaler.commands.document import dump
from scaler.commands.options import LockPolicy, lock_options, timeout_option, yes_option
from scaler.commands.printing import print_note, print_result
from scaler.commands.reports import report_options
from scaler.commands.round import PlainResult
from scaler.commands.running import EXIT_CODES, is_watched, load_stack, require_consent, require_time, run
from scaler.errors import ExitCode, UsageError
from scaler.model import Outcome
from scaler.support.text import one_line

if TYPE_CHECKING:
    from scaler.clouds.snapshots import Snapshot
    from scaler.converge.snapshots import Taken

_WORDS = {
    Outcome.PLANNED: "would be made of",
    Outcome.CONVERGED: "was made of",
    Outcome.UNCONFIRMED: "is being made of",
    Outcome.UNCHANGED: "was not made of",
    Outcome.FAILED: "of",
}


@click.command(cls=Command)
@click.argument("server", metavar="SERVER", shell_complete=complete_server)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="A label of the snapshot, at DigitalOcean a tag; repeatable. Default: what the spec's selector asks for.",
)
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Delete the oldest snapshots with these labels beyond N, but none that is needed. Default: delete none.",
)
@click.option("--power-off", is_flag=True, help="Shut the server down first, and power it on again afterwards.")
@click.option("--preview", is_flag=True, help="Show what would be made and deleted; change nothing.")
@yes_option
@timeout_option
@lock_options
@report_options
@common_options
def snapshot(
    context: Context,
    server: str,
    labels: tuple[str, ...],
    keep: int | None,
    power_off: bool,
    preview: bool,
    yes: bool,
    timeout: timedelta,
    lock: LockPolicy,
) -> int:
    """Make a snapshot of a server that the spec's selector will find, and wait until it can be used.

    A snapshot of a running server may catch its files half written: --power-off shuts it down first. It is not
    drained. After a lost answer or a kill, the same command goes on with the snapshot that it began.

    --keep deletes no snapshot that is protected, that servers were made from, that new servers are made from
    now, or that a roll may go back to.

    \b
    Examples:
      scaler snapshot prod-worker-1                               with the labels of the spec's selector
      scaler snapshot prod-worker-1 --label role=worker --keep 3 --yes
      scaler snapshot prod-worker-1 --power-off --preview

    \b
    Exit codes: 0 made, 1 error, 3 refused, 4 not finished in time, 5 locked, 64 usage.
    """
    if not preview:
        require_consent(context, yes, "snapshot")
    require_time(timeout)
    project, spec = load_stack(context)
    given = dict(map(_label, labels))

    def use_case(ports: Any) -> Taken:
        from scaler.converge.snapshots import SnapshotOrder, take

        order = SnapshotOrder(
            server=server,
            labels=given,
            keep=keep,
            power_off=power_off,
            timeout=timeout,
            apply=not preview,
            approve=_approval(context, ports, asking=not yes),
        )
        return take(spec, ports, order)

    taken = run(
        context,
        project,
        spec,
        use_case,
        cause=f"snapshot {server}",
        lock=replace(lock, timeout=min(lock.timeout, timeout)),
        looks=preview,
    )
    context.ending.result = PlainResult(
        stack=taken.stack,
        outcome=taken.outcome,
        changed=taken.outcome not in (Outcome.PLANNED, Outcome.UNCHANGED),
        facts=_document(taken),
        markdown=_render(taken, Output.MARKDOWN),
    )
    print_result(_render(taken, context.output), context.output)
    return ExitCode.ERROR if taken.failures else EXIT_CODES[taken.outcome]


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key:
        raise UsageError(f"{text!r} is no label.", fix="Give --label KEY=VALUE.")
    return key, value


def _approval(context: Context, ports: Any, *, asking: bool) -> Callable[[Taken], bool]:
    """Return what shows the plan to a person who watches, and asks whether to go on if that is not known."""

    def approve(planned: Taken) -> bool:
        if asking or is_watched(context):
            ports.progress.stop()
            print_note(_render(planned, Output.TEXT))
        return not asking or click.confirm(f"Make a snapshot of {planned.server}?", err=True)

    return approve


def _document(taken: Taken) -> dict[str, object]:
    removed, spared = taken.surplus.remove, taken.surplus.spared
    return {
        "stack": taken.stack,
        "outcome": str(taken.outcome),
        "server": taken.server,
        "snapshot": {"id": taken.snapshot, "name": taken.name, "labels": dict(taken.labels)},
        "deleted": [{"id": each.id, "name": each.name} for each in removed],
        "kept": [{"id": each.id, "name": each.name, "reason": why} for each, why in spared],
        "failures": [error.facts for error in taken.failures],
        "elapsed_s": round(taken.elapsed.total_seconds(), 1),
    }


def _render(taken: Taken, output: Output) -> str:
    """Return it as text for a person, as Markdown, or as one document."""
    head, lines = _lines(taken)
    if output is Output.TEXT:
        return "\n".join([head, *(f"{mark} {text}" for mark, text in lines)])
    if output is Output.MARKDOWN:
        return "\n".join([head, *(["", *(f"- {text}" for _, text in lines)] if lines else [])])
    return dump(_document(taken), output)


def _lines(taken: Taken) -> tuple[str, list[tuple[str, str]]]:
    """Return what became of the snapshot, and with a mark each what became of others."""
    labels = ", ".join(f"{key}={value}" if value else key for key, value in taken.labels.items())
    number = f" ({taken.snapshot})" if taken.snapshot else ""
    deleted = "would be" if taken.outcome is Outcome.PLANNED else "is"
    lines = [("-", f"{_title(each)} {deleted} deleted") for each in taken.surplus.remove]
    lines += [("=", f"{_title(each)} stays: {why}") for each, why in taken.surplus.spared]
    lines += [("!", one_line(str(error))) for error in taken.failures]
    return f"{taken.name}{number} {_WORDS[taken.outcome]} {taken.server}: {labels}", lines


def _title(snapshot: Snapshot) -> str:
    return f"{one_line(snapshot.name)} ({snapshot.id})"
