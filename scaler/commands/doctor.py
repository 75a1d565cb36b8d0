"""`scaler doctor`: whether everything that a run needs is there, and how to mend what is not."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path

import click

from scaler.clouds import Catalogue, CloudError, Limits
from scaler.clouds.registry import CLOUDS, find_vendor
from scaler.commands.context import Context, Output, common_options
from scaler.commands.document import dump, markdown_table
from scaler.config.project import Project
from scaler.engine import binary as engine_binary
from scaler.errors import ExitCode, ScalerError
from scaler.model import Spec
from scaler.support.clock import Clock, format_time
from scaler.support.installation import install_command

LOW_BUDGET = 100
"""Requests left below which a run may have to wait for the vendor's rate limit."""

LARGEST_SKEW = timedelta(seconds=30)

EMBEDDED = "embedded"


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check and what came of it."""

    check: str
    level: Level = Level.OK
    message: str
    fix: str = ""
    exit_code: ExitCode = ExitCode.OK

    @classmethod
    def failed(cls, check: str, error: ScalerError) -> Finding:
        """The finding that an error makes of a check."""
        problems = [str(problem) for problem in getattr(error, "problems", ())]
        message = "\n".join([str(error), *problems])
        return cls(check=check, level=Level.FAIL, message=message, fix=error.fix, exit_code=error.exit_code)


@click.command()
@common_options
def doctor(context: Context) -> int:
    """Check what a run needs: engine, specs, plugin, credentials, cloud, prices, requests left, clock.

    Changes nothing at any cloud, and sends each a handful of requests. Without --stack, all specs are checked.

    \b
    Examples:
      scaler doctor
      scaler doctor --stack prod -o json

    \b
    Exit codes: 0 all is well or a warning, else that of the first failed check: 1, 64, 65, 69 or 77.
    """
    findings = []
    for finding in examine(context, os.environ):
        findings.append(finding)
        if context.output is Output.TEXT:
            click.echo(_as_text(finding, color=context.colored(sys.stdout)))
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump({"checks": [_as_facts(finding) for finding in findings]}, context.output))
    elif context.output is Output.MARKDOWN:
        rows = [(finding.level.value, finding.check, finding.message, finding.fix) for finding in findings]
        click.echo(markdown_table(("result", "check", "found", "fix"), rows))
    return next((finding.exit_code for finding in findings if finding.level is Level.FAIL), ExitCode.OK)


def examine(context: Context, environ: Mapping[str, str]) -> Iterator[Finding]:
    """All findings, in the order in which a run would meet them; a check that hangs on a failed one is left out."""
    yield _engine(environ)
    try:
        project = Project.find(context.directory, context.state_dir)
        stacks = [project.choose(context.stack)] if context.stack or not project.stacks() else project.stacks()
    except ScalerError as error:
        yield Finding.failed("project", error)
        return
    yield Finding(check="project", message=f"{project.name} in {project.directory}")
    state = _state_dir(project.state_dir)
    yield state
    specs = []
    for stack in stacks:
        finding, spec = _spec(project, stack)
        yield finding
        if spec is not None:
            specs.append(spec)
            yield _plugin(project, spec, environ)
    for spec in _one_of_each_account(specs):
        if spec.endpoint != EMBEDDED or state.level is Level.OK:  # the embedded cloud lives in the state folder
            yield from _cloud(project, spec, environ, context.clock)


# ---------------------------------------------------------------------------------------------
# On this machine


def _engine(environ: Mapping[str, str]) -> Finding:
    try:
        binary = engine_binary.find(environ)
    except ScalerError as error:
        return Finding.failed("engine", error)
    version = engine_binary.version_of(binary, environ)
    if version is None:
        return Finding(
            check="engine",
            level=Level.FAIL,
            message=f"{binary} does not start",
            fix=f"remove it, and {engine_binary.INSTALL}",
            exit_code=ExitCode.UNAVAILABLE,
        )
    return Finding(check="engine", message=f"{version} at {binary}")


def _state_dir(folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return Finding(check="state", message=f"{folder} can be written")
    return Finding(
        check="state",
        level=Level.FAIL,
        message=f"{folder} cannot be written: {existing} is {'read-only' if existing.is_dir() else 'no folder'}",
        fix="mend its permissions, or name another folder with --state-dir",
        exit_code=ExitCode.ERROR,
    )


def _spec(project: Project, stack: str) -> tuple[Finding, Spec | None]:
    from scaler.config.spec import load

    check = f"spec {stack}"
    try:
        spec = load(project.spec_path(stack), project.name)
    except ScalerError as error:
        return Finding.failed(check, error), None
    groups = ", ".join(f"{group.name} {group.count}" for group in spec.groups.values())
    return Finding(check=check, message=f"{spec.cloud}: {groups}"), spec


def _plugin(project: Project, spec: Spec, environ: Mapping[str, str]) -> Finding:
    """Whether what serves the resource types to the engine is there."""
    from scaler.engine.plugin import resource_type
    from scaler.wiring import backend_url

    check = f"plugin {spec.stack}"
    package = resource_type(spec.cloud).package
    if spec.plugin == "official":
        name = f"pulumi-resource-{package}"
        home = Path(environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
        found = shutil.which(name, path=environ.get("PATH")) or next(home.glob(f"plugins/resource-{package}-v*/"), None)
        if found:
            return Finding(check=check, message=f"official, {found}")
        fix = f"{engine_binary.find(environ)} plugin install resource {package}" if _has_engine(environ) else ""
        message = f"official: {name} is neither on PATH nor in {home}; the engine downloads it where it can"
        return Finding(check=check, level=Level.WARN, message=message, fix=fix)
    backend = backend_url(project, spec, environ).partition(":")[0]
    needed = [f"pulumi_{package}"] if spec.cloud in CLOUDS else []
    if missing := [module for module in needed if importlib.util.find_spec(module) is None]:
        return Finding(
            check=check,
            level=Level.FAIL,
            message=f"{missing[0]} is not installed",
            fix=install_command(spec.cloud),
            exit_code=ExitCode.ERROR,
        )
    return Finding(check=check, message=f"scaler's own, in this process; backend: {backend}")


def _has_engine(environ: Mapping[str, str]) -> bool:
    try:
        return bool(engine_binary.find(environ))
    except ScalerError:
        return False


# ---------------------------------------------------------------------------------------------
# At the cloud


def _one_of_each_account(specs: Iterable[Spec]) -> list[Spec]:
    """The first spec for each cloud and endpoint: the others would be asked the same with the same token."""
    return list({(spec.cloud, spec.endpoint): spec for spec in reversed(list(specs))}.values())[::-1]


def _cloud(project: Project, spec: Spec, environ: Mapping[str, str], clock: Clock) -> Iterator[Finding]:
    from scaler.wiring import opened_cloud

    check = f"{spec.cloud} token"
    try:
        with _notices() as notices, opened_cloud(project, spec, environ, clock) as cloud:
            yield Finding(check=check, message="not needed" if spec.endpoint == EMBEDDED else "present")
            check = f"{spec.cloud} API"
            servers = len(cloud.list_owned(spec.owner))
            yield Finding(check=check, message=f"answers; stack {spec.stack} has {servers} servers there")
            check = f"{spec.cloud} limits"
            yield _budget(check, cloud.limits())
            check = f"{spec.cloud} catalogue"
            yield _placements(check, spec, cloud.catalogue(), clock)
            yield _farewells(f"{spec.cloud} notices", notices)
    except ScalerError as error:
        yield Finding.failed(check, error)
        if not isinstance(error, CloudError):
            return
    if spec.endpoint != EMBEDDED:
        yield _skew(spec, environ, clock)


def _placements(check: str, spec: Spec, catalogue: Catalogue, clock: Clock) -> Finding:
    """Whether what the spec names is sold, and goes on being sold."""
    named = {(kind, place) for group in spec.groups.values() for kind in group.types for place in group.locations}
    going = [
        f"{offer.type} in {offer.location} is deprecated, and not sold from {format_time(offer.deprecated_after)} on"
        for offer in catalogue.offers
        if (offer.type, offer.location) in named and offer.deprecated_after
    ]
    unknown = [f"{kind} is not sold in {place}" for kind, place in sorted(named) if not catalogue.offer(kind, place)]
    if going or unknown:
        fix = "name other types or locations in the spec"
        return Finding(check=check, level=Level.WARN, message="\n".join(going + unknown), fix=fix)
    return Finding(check=check, message=f"{len(catalogue.types)} types; those of {spec.stack} are sold")


@contextmanager
def _notices() -> Iterator[list[str]]:
    """What answers say, while the block runs, of the end of what was asked for."""
    found: list[str] = []
    logger = logging.getLogger("scaler.clouds.transport")
    listener = logging.Handler(logging.INFO)
    listener.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(listener)
    try:
        yield found
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before)


def _farewells(check: str, notices: Iterable[str]) -> Finding:
    told = list(dict.fromkeys(notices))
    if told:
        return Finding(check=check, level=Level.WARN, message="\n".join(told), fix="look for a newer scaler")
    return Finding(check=check, message="nothing that was asked for is announced to end")


def _budget(check: str, limits: Limits) -> Finding:
    servers = f"; at most {limits.servers} servers" if limits.servers is not None else ""
    if limits.requests_left is None:
        return Finding(check=check, message=f"the cloud does not tell how many requests are left{servers}")
    message = f"{limits.requests_left} requests left{servers}"
    if limits.requests_left >= LOW_BUDGET:
        return Finding(check=check, message=message)
    reset = f" until {format_time(limits.requests_reset)}" if limits.requests_reset else ""
    fix = f"wait{reset}, or stop what else uses this account's requests"
    return Finding(check=check, level=Level.WARN, message=message, fix=fix)


def _skew(spec: Spec, environ: Mapping[str, str], clock: Clock) -> Finding:
    """This machine's clock against the one that the API's answers carry, an unauthorized one's too."""
    import requests

    vendor = find_vendor(spec.cloud)
    url = spec.endpoint or environ.get(vendor.endpoint_variable) or vendor.endpoint
    try:
        # The empty auth keeps requests from sending what ~/.netrc has.
        answer = requests.head(url, timeout=(5, 5), allow_redirects=False, auth=lambda request: request)
    except requests.RequestException as error:
        return Finding(check="clock", level=Level.WARN, message=f"could not be compared: {type(error).__name__}")
    try:
        skew = abs(clock.now() - parsedate_to_datetime(answer.headers.get("Date", "")))
    except ValueError:
        return Finding(check="clock", level=Level.WARN, message="could not be compared: the answers carry no date")
    if skew <= LARGEST_SKEW:
        return Finding(check="clock", message=f"within {LARGEST_SKEW.seconds} s of {vendor.title}'s")
    return Finding(
        check="clock",
        level=Level.WARN,
        message=f"{skew.total_seconds():.0f} s away from {vendor.title}'s: deadlines and waits will be wrong",
        fix="set this machine's clock, for instance with NTP",
    )


# ---------------------------------------------------------------------------------------------
# Printing


def _as_facts(finding: Finding) -> dict[str, object]:
    return {
        "check": finding.check,
        "result": finding.level.value,
        "message": finding.message,
        "fix": finding.fix,
        "exit_code": int(finding.exit_code),
    }


def _as_text(finding: Finding, *, color: bool) -> str:
    paint = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}[finding.level]
    word = click.style(f"{finding.level:<4}", fg=paint) if color else f"{finding.level:<4}"
    lines = f"{finding.check:<22}  {finding.message}".splitlines()
    if finding.fix:
        lines += f"{'fix':<22}  {finding.fix}".splitlines()
    return f"{word}  " + "\n      ".join(lines)
