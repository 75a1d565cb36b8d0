"""What GitHub Actions understands: annotations, and groups in the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from scaler.errors import Problem, ScalerError
from scaler.model import Result, StepResult
from scaler.support.text import visible


def on_github(environ: Mapping[str, str]) -> bool:
    """Return whether this is a step of GitHub Actions, or of a runner that is compatible with it."""
    return environ.get("GITHUB_ACTIONS") == "true"


_LONGEST = 4000
"""Characters of an annotation."""


@contextmanager
def log_group(title: str, environ: Mapping[str, str]) -> Iterator[None]:
    """On GitHub, put what the block writes to standard error into a group that can be folded."""
    if not on_github(environ):
        yield
        return
    click.echo(f"::group::{_data(title)}", err=True)
    try:
        yield
    finally:
        click.echo("::endgroup::", err=True)


def annotate_error(error: ScalerError, environ: Mapping[str, str]) -> Iterable[str]:
    """Return one annotation for an error, or one for each of its problems, at its file and line."""
    problems = [problem for problem in getattr(error, "problems", ()) if isinstance(problem, Problem)]
    for problem in problems:
        text = f"{problem.message}; {problem.fix}" if problem.fix else problem.message
        yield _command("error", text, file=_in_repository(problem.file, environ), line=str(problem.line))
    if not problems:
        yield _command("error", " ".join(filter(None, (str(error), error.fix))), title=f"scaler: {error.code}")


def annotate_result(result: Result) -> Iterator[str]:
    """Return an annotation for each violation and each failed step of a result."""
    for violation in result.violations:
        yield _command("error" if violation.forbids else "warning", str(violation), title=f"policy {violation.policy}")
    for report in result.steps:
        if report.result is StepResult.FAILED:
            yield _command("error", f"{report.step.server}: {report.error}", title=f"{report.step.action} failed")


def _in_repository(file: str, environ: Mapping[str, str]) -> str:
    """Return a path relative to the root of the repository."""
    path = Path(file).resolve()
    with suppress(KeyError, ValueError):
        path = path.relative_to(Path(environ["GITHUB_WORKSPACE"]).resolve())
    return str(path)


def _command(name: str, text: str, **properties: str) -> str:
    settings = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name} {settings}::{_data(text)}"


def _data(text: str) -> str:
    return visible(text[:_LONGEST]).replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
