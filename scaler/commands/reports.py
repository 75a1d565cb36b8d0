"""The files that a pipeline gets beside the printed result: Markdown, JSON, KEY=VALUE, step outputs.

Reports never fail a run: a report that cannot be written after servers were changed is a warning.
A file that cannot be written is refused before the run starts.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from scaler.commands import targets
from scaler.commands.context import Output
from scaler.commands.document import dump
from scaler.commands.failure import as_document, as_markdown, error_facts, unexpected
from scaler.commands.github import annotate_error, annotate_result, on_github
from scaler.commands.interruption import interruption
from scaler.commands.printing import print_note
from scaler.commands.round import PlainResult, Round
from scaler.errors import ExitCode, RefusedError, ScalerError, UsageError
from scaler.model import Action, Result, StepResult
from scaler.support.files import failure_reason
from scaler.support.values import dataclass

Ended = Result | Round | PlainResult
"""How a command ended without an error."""

P = ParamSpec("P")
R = TypeVar("R")

_RESULT = "scaler.result"
"""The key of a command's result in click's `meta`; the reports are written from it."""

_IN_THE_MIDDLE = ("interrupted", "internal")
"""Codes of errors that may have come after something was changed; all others come before, or are in a result."""

_NUMBERS = ("wanted", "before", "ready", "created", "deleted", "pending", "violations")
"""The outputs that are added up over several stacks."""

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
    """Give a command the options of `Reports`, and write the reports when it ends.

    Put the decorator below the command's own options and above `common_options`.
    """

    @functools.wraps(command)
    def reporting(*args: P.args, **kwargs: P.kwargs) -> R:
        given: dict[str, Any] = {name: kwargs.pop(name) for name in ("summary", "dotenv", "json_file")}
        reports = Reports(**given, environ=os.environ)
        try:
            reports.prepare()
        except UsageError as error:
            # None of the files is written: one of them may be a file of the project.
            Reports(environ=os.environ).write(error, int(error.exit_code))
            raise
        try:
            code = command(*args, **kwargs)
        except ScalerError as error:
            reports.write(error, int(error.exit_code))
            raise
        except (KeyboardInterrupt, click.Abort) as interrupt:
            reports.write(stopped := interruption(interrupt), int(stopped.exit_code))
            raise
        except click.ClickException:
            raise  # The end of the process, or a usage error, which `report_usage` writes.
        except Exception as error:
            reports.write(unexpected(error), ExitCode.ERROR)
            raise
        result = click.get_current_context().meta.get(_RESULT)
        if isinstance(result, Ended):
            reports.write(result, int(code) if isinstance(code, int) else ExitCode.OK)
        return code

    for option in reversed(_OPTIONS):
        reporting = option(reporting)
    return reporting


def report_usage(error: ScalerError, command: click.Command | None) -> None:
    """Write the outputs of a step for a command line that cannot be parsed, if its command has reports."""
    if command and any(parameter.name == "json_file" for parameter in command.params):
        Reports(environ=os.environ).write(error, int(error.exit_code))


def keep_result(result: Ended) -> None:
    """Keep a command's result for the reports."""
    context = click.get_current_context(silent=True)
    if context:
        context.meta[_RESULT] = result


@dataclass(frozen=True, kw_only=True)
class Reports:
    """The files that one command writes when it ends."""

    summary: Path | None = None
    dotenv: Path | None = None
    json_file: Path | None = None
    environ: Mapping[str, str]

    def prepare(self) -> None:
        """Remove the files of an earlier run; UsageError if one of them cannot be written."""
        for path in filter(None, (self._file("GITHUB_STEP_SUMMARY"), self._file("GITHUB_OUTPUT"))):
            targets.require_free(path)
        for path in filter(None, (self.summary, self.dotenv, self.json_file)):
            targets.prepare(path)

    def write(self, ended: Ended | ScalerError, code: int) -> None:
        """Write the files that the options or the variables of a pipeline ask for."""
        facts = outputs(ended, code)
        markdown = _markdown(ended)
        for path, text, mode in (
            (self.summary, markdown, "w"),
            (self.dotenv, _lines({f"SCALER_{key.upper()}": value for key, value in facts.items()}), "w"),
            (self.json_file, _json(ended), "w"),
            (self._file("GITHUB_STEP_SUMMARY"), markdown, "a"),
            (self._file("GITHUB_OUTPUT"), _lines({**facts, "servers": _servers(ended)}), "a"),
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


def outputs(ended: Ended | ScalerError, code: int) -> dict[str, str]:
    """Return the outputs for later steps, one line each; of an error: outcome, exit code and the error's code."""
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
        outcome = "refused" if isinstance(ended, RefusedError) else "failed"
        changed = "unknown" if ended.code in _IN_THE_MIDDLE else "false"
        return {"outcome": outcome, "exit_code": str(code), "changed": changed, "error": ended.code}
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


def _outputs_of_round(ended: Round, code: int) -> dict[str, str]:
    """Return the sums of the stacks' numbers, the names of the stacks, and of those that ended with an error."""
    each = [outputs(end, code) for end in ended.ends.values()]
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


def _servers(ended: Ended | ScalerError) -> str:
    from scaler.records.codec import server_to_json

    results = ended.ends.values() if isinstance(ended, Round) else [ended]
    servers = [server for result in results if isinstance(result, Result) for server in result.servers]
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
