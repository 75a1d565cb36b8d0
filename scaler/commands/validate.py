"""`scaler validate`: check specs, without asking a cloud."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context, Output
from scaler.commands.document import dump
from scaler.commands.printing import print_note, print_result
from scaler.config.project import Project
from scaler.errors import InvalidSpecError, Problem, ScalerError
from scaler.model import Spec


@click.command(cls=Command)
@common_options
def validate(context: Context) -> None:
    """Check one spec, or all of them, and report every problem.

    Asks no cloud: `scaler preview` finds out whether a type, a location or an image exists.

    \b
    Examples:
      scaler validate                every spec in stacks/
      scaler validate -s prod        one
      scaler validate -o json        for other programs

    \b
    Exit codes: 0 valid, 64 usage, 65 a spec is invalid.
    """
    project = Project.find(context.directory, context.state_dir)
    stacks = project.stacks() if context.stack is None else []
    specs = _load_all([project.spec_path(stack) for stack in stacks or [project.choose(context.stack)]], project.name)
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump({"specs": [_document(spec, project) for spec in specs]}, context.output))
        return
    for warning in (warning for spec in specs for warning in _warnings(spec, project)):
        print_note(f"scaler: warning: {warning}")
    for spec in specs:
        groups = ", ".join(f"{group.name} {group.count}" for group in spec.groups.values())
        print_result(f"ok  {spec.stack}  {spec.cloud}: {groups}")


def _load_all(paths: list[Path], project: str) -> list[Spec]:
    """Load all specs; InvalidSpecError with the problems of all of them."""
    from scaler.config import spec

    specs: list[Spec] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            specs.append(spec.load(path, project))
        except InvalidSpecError as error:
            problems.extend(error.problems)
    if problems:
        raise InvalidSpecError(problems)
    return specs


def _document(spec: Spec, project: Project) -> dict[str, object]:
    counts = {group.name: group.count for group in spec.groups.values()}
    return {"stack": spec.stack, "cloud": spec.cloud, "groups": counts, "warnings": _warnings(spec, project)}


def _warnings(spec: Spec, project: Project) -> list[str]:
    """Return what is allowed in a spec and probably not meant."""
    from scaler.config.schema.cloud_init import has_known_kind

    headless = [
        f"stacks/{spec.stack}.yaml: line 1 of the user data of {group.name} says not what it is: "
        "cloud-init ignores it without #cloud-config, #! or another header"
        for group in spec.groups.values()
        if group.user_data and not has_known_kind(group.user_data)
    ]
    return [*headless, *_drains_cut_off(spec), *_refused_here(spec, project)]


def _refused_here(spec: Spec, project: Project) -> Iterator[str]:
    """Yield why a run would stop at once in this environment; where the spec runs, another one may allow more."""
    from scaler.clouds.registry import endpoint_of, find_vendor
    from scaler.config.backend import choose_backend

    def check_endpoint() -> None:
        if spec.endpoint != "embedded":
            endpoint_of(find_vendor(spec.cloud), spec.endpoint, os.environ)

    def check_backend() -> None:
        choose_backend(spec.backend, project.backend, os.environ)

    for check in (check_endpoint, check_backend):
        try:
            check()
        except ScalerError as error:
            yield f"stacks/{spec.stack}.yaml: with this environment a run is refused: {error.what} {error.fix}"


def _drains_cut_off(spec: Spec) -> list[str]:
    """Return the groups whose drains end with this machine, which CI takes away at the end of its job."""
    if not os.environ.get("CI"):
        return []
    return [
        f"stacks/{spec.stack}.yaml: the drains of {group.name} end with this machine, since CI is set: "
        "add drained, a check, to its stop"
        for group in spec.groups.values()
        if group.stop.drain and not group.stop.drained
    ]
