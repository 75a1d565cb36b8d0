"""The files that a pipeline gets beside the printed result: Markdown, JSON, KEY=VALUE, step outputs.

Reports never fail a run: a report that cannot be written after servers were changed is a warning.
A file that cannot be written is refused before the run starts.
`main` has them written at whatever end a command comes to.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

import click

from scaler.commands import targets
from scaler.commands.command_line import last_value
from scaler.commands.context import Output, context_of
from scaler.commands.document import dump
from scaler.commands.ending import Begun, Ending
from scaler.commands.failure import as_document, as_markdown, error_facts
from scaler.commands.github import annotate_error, annotate_result, on_github
from scaler.commands.interruption import Remains, left_by
from scaler.commands.printing import print_note
from scaler.commands.round import Ended, PlainResult, Round
from scaler.errors import RefusedError, ScalerError, UsageError
from scaler.model import Action, Result, StepResult
from scaler.support.files import failure_reason
from scaler.support.values import dataclass

P = ParamSpec("P")
R = TypeVar("R")

_IN_THE_MIDDLE = ("interrupted", "internal")
"""Codes of errors that may have come after something was changed; all others come before, or are in a result."""

_NUMBERS = ("wanted", "before", "ready", "created", "deleted", "pending", "violations")
"""The outputs that are added up over several stacks."""

_NAMES = ("summary", "dotenv", "json_file")
"""The options of the reports, as click names their values."""

_FILE = click.Path(dir_okay=False, path_type=Path)

_OPTIONS = (
    click.option("--summary", type=_FILE, metavar="FILE", help="Also write the result to this file as Markdown."),
    click.option(
        "--dotenv",
        type=_FILE,
        metavar="FILE",
        help="Also write the outcome and the counts to this file, as lines such as SCALER_OUTCOME=failed.",
    ),
    click.option(
        "--json-file", type=_FILE, metavar="FILE", help="Also write the result, or the error, to this file as JSON."
    ),
)


def report_options(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command the options of `Reports`; `report_end` writes them when it has ended.

    Put the decorator below the command's own options and above `common_options`.
    """

    @functools.wraps(command)
    def reporting(*args: P.args, **kwargs: P.kwargs) -> R:
        given: dict[str, Any] = {name: kwargs.pop(name) for name in _NAMES}
        context = context_of(click.get_current_context())
        reports = Reports(**given, environ=os.environ)
        reports.prepare(targets.Inputs.of(click.get_current_context()))
        context.ending.reports = reports
        return command(*args, **kwargs)

    for option in reversed(_OPTIONS):
        reporting = option(reporting)
    return reporting


def report_end(ended: Ended | ScalerError, code: int, ending: Ending, arguments: Sequence[str]) -> None:
    """Write the reports of a command at its end, also where its command line could not be parsed."""
    if ending.reports is None and ending.command and not _has_reports(ending.command):
        return
    reports = ending.reports or Reports.named_in(arguments, os.environ)
    reports.write(ended, code, ending.begun)


def _has_reports(command: click.Command) -> bool:
    return {*_NAMES} <= {parameter.name for parameter in command.params}


@dataclass(frozen=True, kw_only=True)
class Reports:
    """The files that one command writes when it ends."""

    summary: Path | None = None
    dotenv: Path | None = None
    json_file: Path | None = None
    environ: Mapping[str, str]

    @classmethod
    def named_in(cls, arguments: Sequence[str], environ: Mapping[str, str]) -> Self:
        """Return the files that a command line names that may be one that cannot be parsed, but none of a project's."""
        inputs = targets.Inputs.named_in(arguments, environ)
        found: dict[str, Path] = {}
        for name in _NAMES:
            if value := last_value(arguments, f"--{name.replace('_', '-')}"):
                with suppress(UsageError):
                    targets.prepare(Path(value), inputs)
                    found[name] = Path(value)
        return cls(**found, environ=environ)

    def prepare(self, inputs: targets.Inputs) -> None:
        """Remove the files of an earlier run; UsageError if one of them cannot be written."""
        for path in filter(None, (self._file("GITHUB_STEP_SUMMARY"), self._file("GITHUB_OUTPUT"))):
            targets.require_free(path)
        for path in filter(None, (self.summary, self.dotenv, self.json_file)):
            targets.prepare(path, inputs)

    def write(self, ended: Ended | ScalerError, code: int, begun: Mapping[str, Begun]) -> None:
        """Write the files that the options or the variables of a pipeline ask for."""
        lefts = left_by(begun) if isinstance(ended, ScalerError) else {}
        facts = outputs(ended, code, lefts)
        markdown = _markdown(ended)
        for path, text, mode in (
            (self.summary, markdown, "w"),
            (self.dotenv, _lines({f"SCALER_{key.upper()}": value for key, value in facts.items()}), "w"),
            (self.json_file, _json(ended), "w"),
            (self._file("GITHUB_STEP_SUMMARY"), markdown, "a"),
            (self._file("GITHUB_OUTPUT"), _lines({**facts, "servers": _servers(ended, lefts)}), "a"),
        ):
            if path is not None:
                _write(path, text, mode)
        if on_github(self.environ):
            for line in _annotations(ended, self.environ):
                click.echo(line, err=True)

    def _file(self, variable: str) -> Path | None:
        return Path(self.environ[variable]) if self.environ.get(variable) else None


def _annotations(ended: Ended | ScalerError, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield an annotation for each violation, failed step and stack with an error; a lone error has its own already."""
    ends = ended.ends.values() if isinstance(ended, Round) else [ended] if isinstance(ended, Result) else []
    for end in ends:
        yield from annotate_result(end) if isinstance(end, Result) else annotate_error(end, environ)


def outputs(ended: Ended | ScalerError, code: int, lefts: Mapping[str, Remains]) -> dict[str, str]:
    """Return the outputs for later steps, one line each. Of an error, the numbers are those of the records."""
    if isinstance(ended, Round):
        return _outputs_of_round(ended, code)
    if isinstance(ended, PlainResult):
        changed = "true" if ended.changed else "false"
        return {
            "outcome": str(ended.outcome),
            "exit_code": str(code),
            "changed": changed,
            "error": "",
            "stack": ended.stack,
        }
    if isinstance(ended, ScalerError):
        return _outputs_of_error(ended, code, lefts)
    done = [report.step.action for report in ended.steps if report.result is StepResult.DONE]
    groups = ended.groups.values()
    return {
        "outcome": str(ended.outcome),
        "exit_code": str(code),
        "changed": "true" if done else "false",
        "error": "",
        "stack": ended.stack,
        "wanted": str(sum(group.wanted for group in groups)),
        "before": str(sum(group.before for group in groups)),
        "ready": str(sum(group.ready for group in groups)),
        "created": str(done.count(Action.CREATE)),
        "deleted": str(done.count(Action.DELETE)),
        "pending": str(sum(report.result is StepResult.PENDING for report in ended.steps)),
        "violations": str(len(ended.violations)),
    }


def _outputs_of_error(error: ScalerError, code: int, lefts: Mapping[str, Remains]) -> dict[str, str]:
    """Return what is known of a run without a result: its error, and what the records of its stacks have."""
    numbers = [left.numbers for left in lefts.values()]
    sums = {name: sum(each[name] for each in numbers) for name in (numbers[0] if numbers else ())}
    changed = "false"
    if error.code in _IN_THE_MIDDLE and any(not left.begun.looks for left in lefts.values()):
        changed = "true" if sums["created"] or sums["deleted"] else "unknown"
    return {
        "outcome": "refused" if isinstance(error, RefusedError) else "failed",
        "exit_code": str(code),
        "changed": changed,
        "error": error.code,
        **({"stack": ",".join(lefts)} if lefts else {}),
        **{name: str(number) for name, number in sums.items()},
    }


def _outputs_of_round(ended: Round, code: int) -> dict[str, str]:
    """Return the sums of the stacks' numbers, the names of the stacks, and of those that ended with an error."""
    each = [outputs(end, code, {}) for end in ended.ends.values()]
    changed = {facts["changed"] for facts in each}
    sums = {name: str(sum(int(facts.get(name, 0)) for facts in each)) for name in _NUMBERS}
    errors = {stack: end.code for stack, end in ended.ends.items() if isinstance(end, ScalerError)}
    return {
        "outcome": ended.outcome,
        "exit_code": str(code),
        "changed": "unknown" if "unknown" in changed else "true" if "true" in changed else "false",
        "error": ",".join(dict.fromkeys(errors.values())),
        "stack": ",".join(ended.ends),
        "failed_stacks": ",".join(errors),
        **sums,
    }


def _servers(ended: Ended | ScalerError, lefts: Mapping[str, Remains]) -> str:
    from scaler.records.codec import server_to_json

    results = ended.ends.values() if isinstance(ended, Round) else [ended]
    servers = [server for result in results if isinstance(result, Result) for server in result.servers]
    servers += [server for left in lefts.values() for server in left.servers]
    return json.dumps([server_to_json(server) for server in servers], separators=(",", ":"))


def _lines(facts: Mapping[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in facts.items())


def _markdown(ended: Ended | ScalerError) -> str:
    from scaler.output.render import render

    if isinstance(ended, PlainResult):
        return ended.markdown + "\n"
    if isinstance(ended, Round):
        return "\n".join(f"## {stack}\n\n{_markdown(end)}" for stack, end in ended.ends.items())
    return (render(ended, "markdown") if isinstance(ended, Result) else as_markdown(ended)) + "\n"


def _json(ended: Ended | ScalerError) -> str:
    from scaler.output.documents import result_document
    from scaler.output.render import render

    if isinstance(ended, PlainResult):
        return dump(ended.facts, Output.JSON) + "\n"
    if isinstance(ended, Round):
        stacks = {
            stack: result_document(end) if isinstance(end, Result) else {"error": error_facts(end)}
            for stack, end in ended.ends.items()
        }
        return dump({"outcome": ended.outcome, "stacks": stacks}, Output.JSON) + "\n"
    return (render(ended, "json") if isinstance(ended, Result) else as_document(ended, Output.JSON)) + "\n"


def _write(path: Path, text: str, mode: str) -> None:
    try:
        targets.write(path, text, append=mode == "a")
    except (OSError, UsageError) as error:
        print_note(f"scaler: warning: {path} was not written: {failure_reason(error)}")
