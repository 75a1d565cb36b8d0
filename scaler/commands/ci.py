"""What a pipeline gets beside the printed result: files, step outputs, annotations and log groups.

Nothing here decides anything, or fails a run: a report that cannot be written after servers were
changed is a warning, and one that could not be written is refused before anything is looked at.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from scaler.commands.context import Output
from scaler.commands.failure import as_document, as_text
from scaler.errors import ExitCode, Problem, RefusedError, ScalerError, UsageError
from scaler.model import Action, Result, StepResult

P = ParamSpec("P")
R = TypeVar("R")

_RESULT = "scaler.result"
"""Where a command's result is kept, for the reports on its end."""

_FILE = click.Path(dir_okay=False, path_type=Path)

_OPTIONS = (
    click.option("--summary", type=_FILE, metavar="FILE", help="Write the result as Markdown too."),
    click.option("--dotenv", type=_FILE, metavar="FILE", help="Write SCALER_OUTCOME and the like, KEY=VALUE."),
    click.option("--json-file", type=_FILE, metavar="FILE", help="Write the result, or the error, as JSON too."),
)


def report_options(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command the options of `Reports`, and write the reports when it ends.

    Put the decorator below the command's own options and above `common_options`.
    """

    @functools.wraps(command)
    def reporting(*args: P.args, **kwargs: P.kwargs) -> R:
        given: dict[str, Any] = {name: kwargs.pop(name) for name in ("summary", "dotenv", "json_file")}
        reports = Reports(**given, environ=os.environ)
        reports.prepare()
        try:
            code = command(*args, **kwargs)
        except ScalerError as error:
            reports.write(error, int(error.exit_code))
            raise
        result = click.get_current_context().meta.get(_RESULT)
        if isinstance(result, Result):
            reports.write(result, int(code) if isinstance(code, int) else ExitCode.OK)
        return code

    for option in reversed(_OPTIONS):
        reporting = option(reporting)
    return reporting


def keep_result(result: Result) -> None:
    """Remember a command's result for the reports on its end."""
    context = click.get_current_context(silent=True)
    if context:
        context.meta[_RESULT] = result


def on_github(environ: Mapping[str, str]) -> bool:
    """Whether this is a step of GitHub Actions, or of one that speaks its language."""
    return environ.get("GITHUB_ACTIONS") == "true"


@contextmanager
def log_group(title: str, environ: Mapping[str, str]) -> Iterator[None]:
    """On GitHub, fold what is written to standard error while the block runs."""
    if not on_github(environ):
        yield
        return
    click.echo(f"::group::{_data(title)}", err=True)
    try:
        yield
    finally:
        click.echo("::endgroup::", err=True)


# ---------------------------------------------------------------------------------------------
# Files and outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """The files that one command writes when it ends."""

    summary: Path | None
    dotenv: Path | None
    json_file: Path | None
    environ: Mapping[str, str]

    def prepare(self) -> None:
        """Remove the files of an earlier run; UsageError if one of them could not be written."""
        for path in filter(None, (self.summary, self.dotenv, self.json_file)):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.open("a").close()
                path.unlink()
            except OSError as error:
                raise UsageError(f"{path} cannot be written.", why=error.strerror or str(error)) from error

    def write(self, ended: Result | ScalerError, code: int) -> None:
        """Write everything that was asked for, by options or by the pipeline's variables."""
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
        if on_github(self.environ) and isinstance(ended, Result):
            for line in _annotate_result(ended):
                click.echo(line, err=True)

    def _file(self, variable: str) -> Path | None:
        return Path(self.environ[variable]) if self.environ.get(variable) else None


def outputs(ended: Result | ScalerError, code: int) -> dict[str, str]:
    """What a later step may want to know, one line each.

    For a result: all of it; for an error: `outcome`, `exit_code` and `error`, which is its code.
    """
    if isinstance(ended, ScalerError):
        outcome = "refused" if isinstance(ended, RefusedError) else "failed"
        return {"outcome": outcome, "exit_code": str(code), "changed": "false", "error": ended.code}
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


def _servers(ended: Result | ScalerError) -> str:
    from scaler.records.codec import server_to_json

    servers = ended.servers if isinstance(ended, Result) else ()
    return json.dumps([server_to_json(server) for server in servers], separators=(",", ":"))


def _lines(facts: Mapping[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in facts.items())


def _markdown(ended: Result | ScalerError) -> str:
    from scaler.output.render import render

    if isinstance(ended, Result):
        return render(ended, "markdown") + "\n"
    return f"### scaler: {ended.code}\n\n```text\n{as_text(ended)}\n```\n"


def _json(ended: Result | ScalerError) -> str:
    from scaler.output.render import render

    return (render(ended, "json") if isinstance(ended, Result) else as_document(ended, Output.JSON)) + "\n"


def _write(path: Path, text: str, mode: str) -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        click.echo(f"scaler: warning: {path} was not written: {error.strerror or error}", err=True)


# ---------------------------------------------------------------------------------------------
# Annotations, in GitHub's language of workflow commands


def annotate_error(error: ScalerError, environ: Mapping[str, str]) -> Iterable[str]:
    """An error, or each of its problems at its file and line, as GitHub marks them."""
    problems = [problem for problem in getattr(error, "problems", ()) if isinstance(problem, Problem)]
    for problem in problems:
        text = f"{problem.message}; {problem.fix}" if problem.fix else problem.message
        yield _command("error", text, file=_in_repository(problem.file, environ), line=str(problem.line))
    if not problems:
        yield _command("error", " ".join(filter(None, (str(error), error.fix))), title=f"scaler: {error.code}")


def _annotate_result(result: Result) -> Iterator[str]:
    for violation in result.violations:
        yield _command("error" if violation.forbids else "warning", str(violation), title=f"policy {violation.policy}")
    for report in result.steps:
        if report.result is StepResult.FAILED:
            yield _command("error", f"{report.step.server}: {report.error}", title=f"{report.step.action} failed")


def _in_repository(file: str, environ: Mapping[str, str]) -> str:
    """A file as GitHub knows it: relative to the root of the repository."""
    path = Path(file).resolve()
    with suppress(KeyError, ValueError):
        path = path.relative_to(Path(environ["GITHUB_WORKSPACE"]).resolve())
    return str(path)


def _command(name: str, text: str, **properties: str) -> str:
    told = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name} {told}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
