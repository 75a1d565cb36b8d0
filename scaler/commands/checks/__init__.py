"""The checks of `scaler doctor`: whether everything that a run needs is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scaler.commands.checks.backend import check_backend
from scaler.commands.checks.cloud import by_account, check_cloud
from scaler.commands.checks.commands import check_commands
from scaler.commands.checks.finding import Finding, Level
from scaler.commands.checks.identity import check_identity, check_lost_stacks
from scaler.commands.checks.lock import check_lock
from scaler.commands.checks.machine import (
    EMBEDDED,
    check_certificates,
    check_engine,
    check_engine_variables,
    check_plugin,
    check_proxies,
    check_spec,
    check_state_folder,
)
from scaler.commands.checks.metrics import check_metrics
from scaler.commands.context import Context
from scaler.config.project import Project
from scaler.errors import ScalerError

__all__ = ["Finding", "Level", "examine"]


def examine(context: Context, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Run all checks in the order in which a run needs their subjects; skip a check that depends on a failed one.

    A fault that several checks meet is said once.
    """
    said = set()
    for finding in _examine(context, environ):
        if finding.level is not Level.FAIL or finding.message not in said:
            yield finding
        said.add(finding.message)


def _examine(context: Context, environ: Mapping[str, str]) -> Iterator[Finding]:
    engine = check_engine(environ)
    yield engine
    yield from check_engine_variables(environ)
    yield from check_proxies(environ)
    yield from check_certificates(environ)
    try:
        project = Project.find(context.directory, context.state_dir)
        stacks = [project.choose(context.stack)] if context.stack or not project.stacks() else project.stacks()
    except ScalerError as error:
        yield Finding.failed("project", error)
        return
    yield Finding(check="project", message=f"{project.name} in {project.directory}")
    state = check_state_folder(project.state_dir)
    yield state
    specs, known = [], {}
    for stack in stacks:
        finding, spec = check_spec(project, stack)
        yield finding
        if spec is not None:
            specs.append(spec)
            yield check_plugin(project, spec, environ)
            backend = check_backend(project, spec, environ, context.clock) if engine.level is Level.OK else None
            if backend:
                yield backend
            # A backend that does not answer does not say it again.
            if backend is None or backend.level is not Level.FAIL:
                yield check_lock(project, spec, environ, context.clock)
            identity, known[stack] = check_identity(context, project, spec, environ)
            yield identity
            yield from check_commands(project, spec, environ)
    yield from check_lost_stacks(project)
    for sharing in by_account(specs):
        if sharing[0].endpoint != EMBEDDED or state.level is Level.OK:  # the embedded cloud lives in the state folder
            yield from check_cloud(project, sharing, known, environ, context.clock)
    for spec in specs:
        yield from check_metrics(context, project, spec)
