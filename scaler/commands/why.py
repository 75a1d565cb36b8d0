"""`scaler why`: the decision behind a server's state."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from scaler.commands.command import Command, common_options
from scaler.commands.completers import complete_server
from scaler.commands.context import Context, Output, terminal_width
from scaler.commands.document import dump
from scaler.commands.history import table_of
from scaler.commands.printing import print_result
from scaler.commands.recorded import recorded
from scaler.commands.running import load_stack
from scaler.errors import UsageError
from scaler.model import Server
from scaler.model.events import Event
from scaler.model.orders import Pause
from scaler.output.table import broken_columns, markdown_table, text_table
from scaler.output.words import format_age, format_count, format_elapsed
from scaler.planning.names import natural
from scaler.records.codec import event_to_json, pause_to_json, server_to_json
from scaler.records.explanation import Explanation, RunReport, explain_server
from scaler.support.clock import format_time
from scaler.support.suggestions import nearest
from scaler.support.text import one_line

_COLUMNS = ("at", "event", "from", "to", "reason")


@click.command(cls=Command)
@click.argument("server", shell_complete=complete_server)
@common_options
def why(context: Context, server: str) -> None:
    """Explain the state of a server: which command decided it, on which numbers, and what the result was.

    Reads the event log. Uses neither the engine nor the cloud.

    \b
    Examples:
      scaler why prod-worker-2
      scaler why prod-worker-2 -o json

    \b
    Exit codes: 0 explained, 64 usage, such as an unknown server.
    """
    project, spec = load_stack(context)
    known = recorded(context, project, spec.stack)
    state, events = known.state(), known.events()
    records = state.records if state else {}
    pause = state.orders.active_pause(context.clock.now()) if state else None
    found = explain_server(server, events, records.get(server), spec.groups)
    if found is None:
        names = sorted({*records, *(event.server for event in events if event.server)}, key=natural)
        raise UsageError(f"There are no records of a server {server} in {spec.stack}.", fix=nearest(server, names))
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump({"stack": spec.stack, **_document(found), "pause": pause_to_json(pause)}, context.output))
        return
    rows = [[cell for index, cell in enumerate(row) if index not in (2, 6)] for row in table_of(found.transitions)]
    facts = list(_facts(found, context, pause))
    if context.output is Output.MARKDOWN:
        click.echo(markdown_table(("what", found.server), facts) + "\n\n" + markdown_table(_COLUMNS, rows))
        return
    width = terminal_width(sys.stdout)
    print_result("\n".join(broken_columns([(f"{name:<8}", one_line(text)) for name, text in facts], width)))
    if rows:
        print_result("\n" + text_table(_COLUMNS, rows, width, dispensable=("from", "to")))


def _facts(found: Explanation, context: Context, pause: Pause | None) -> Iterator[tuple[str, str]]:
    record, decision = found.record, found.decision
    status = f"{record.status}, since {format_age(record.since, context.clock.now())}" if record else "no record"
    yield "server", f"{found.server}: {status}"
    if decision:
        yield "why", decision.reason or "nothing was decided: the cloud reported it"
        yield "by", f"`{decision.cause}` (run {decision.run}, {format_time(decision.at) if decision.at else '?'})"
    if record:
        yield from _record_facts(record, decision)
    if found.run:
        yield from _run_facts(found.run)
    if pause:
        yield "paused", str(pause)
    if found.deadline:
        yield "deadline", f"{format_elapsed(found.deadline.length)} to start ({found.deadline.why})"


def _record_facts(record: Server, decision: Event | None) -> Iterator[tuple[str, str]]:
    if record.error and (decision is None or record.error != decision.reason):
        yield "error", record.error
    if record.health and record.health.failures:
        checks = f"{format_count(record.health.failures, 'check')} in a row failed"
        yield "health", f"{checks}, last at {format_time(record.health.checked)}: {record.health.problem}"
    if record.protected:
        yield "protected", "by `scaler protect`"
    if record.delete_protection:
        yield "protected", "its delete protection is on at the cloud"
    if record.set_aside:
        yield "set aside", "its group label was changed at the cloud"


def _run_facts(run: RunReport) -> Iterator[tuple[str, str]]:
    result: Mapping[str, Any] = run.result
    if run.finished is None:
        yield "outcome", "not finished: the run is still going on, or was killed"
    else:
        yield "outcome", f"{result.get('outcome')}" + (f": {run.error}" if run.error else "")
    # An older or newer scaler may have written other fields.
    for group, numbers in _mapping(result.get("groups")).items():
        counts = ", ".join(f"{name} {_mapping(numbers).get(name, '?')}" for name in ("wanted", "before", "ready"))
        yield "counts", f"{group}: {counts}"
    if requests := _mapping(result.get("requests")):
        kinds = ", ".join(f"{requests.get(kind, '?')} {kind}" for kind in ("create", "list", "retried"))
        yield "requests", f"{requests.get('total', '?')} ({kinds}) in {result.get('elapsed_s', '?')} s"
    for event in run.events:
        yield event.event.rpartition(".")[2], event.reason or ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _document(found: Explanation) -> dict[str, object]:
    return {
        "server": found.server,
        "record": server_to_json(found.record) if found.record else None,
        "decision": event_to_json(found.decision) if found.decision else None,
        "run": _run_document(found.run) if found.run else None,
        "deadline": {"seconds": found.deadline.length.total_seconds(), "why": found.deadline.why}
        if found.deadline
        else None,
        "transitions": [event_to_json(event) for event in found.transitions],
    }


def _run_document(run: RunReport) -> dict[str, object]:
    return {
        "id": run.id,
        "cause": run.cause,
        "started": format_time(run.started) if run.started else None,
        "finished": format_time(run.finished) if run.finished else None,
        **run.result,
        "error": run.error,
        "events": [event_to_json(event) for event in run.events],
    }
