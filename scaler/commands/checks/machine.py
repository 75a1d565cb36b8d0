"""Checks on this machine: the engine, the state folder, the specs, the plugin."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from scaler.clouds.registry import CLOUDS
from scaler.commands.checks.finding import Finding, Level
from scaler.config.project import Project
from scaler.engine import binary as engine_binary
from scaler.engine.settings import ENGINE_FOLDER, not_handed_over
from scaler.errors import ExitCode, ScalerError
from scaler.model import Spec
from scaler.support.certificates import certificates_problem
from scaler.support.files import failure_reason
from scaler.support.folders import home_folder
from scaler.support.installation import install_command

EMBEDDED = "embedded"

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


def check_engine(environ: Mapping[str, str]) -> Finding:
    """Check that the Pulumi engine is there and starts."""
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
            fix=f"Remove it, and run: {engine_binary.INSTALL}",
            exit_code=ExitCode.UNAVAILABLE,
        )
    return Finding(check="engine", message=f"{version} at {binary}")


def check_engine_variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn of variables that would change what the engine does, if it got them."""
    if ignored := not_handed_over(environ):
        yield Finding(
            check="engine",
            level=Level.WARN,
            message=f"scaler keeps these variables from the engine: {', '.join(ignored)}",
            fix="Unset them, or know that they only count for `pulumi` by hand.",
        )


def check_proxies(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn of variables that name no proxy that requests could go through."""
    from scaler.support.http import proxy_problem

    named = {name: environ[name] for name in environ if name.lower() in _PROXY_VARIABLES and environ[name]}
    problems = [f"{name} {problem}" for name, proxy in named.items() if (problem := proxy_problem(proxy))]
    if problems:
        fix = "Correct these variables, or unset them."
        yield Finding(check="proxy", level=Level.WARN, message="\n".join(problems), fix=fix)


def check_certificates(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check the certificates that variables name: without them no HTTPS request is sent."""
    if problem := certificates_problem(environ):
        yield Finding(
            check="certificates",
            level=Level.FAIL,
            message=problem,
            fix="Correct the variable, or unset it.",
            exit_code=ExitCode.UNAVAILABLE,
        )


def check_state_folder(folder: Path) -> Finding:
    """Check that the state folder can be written, or created, and the engine's folder in it."""
    problem = unwritable(folder) or unwritable(folder / ENGINE_FOLDER)
    if problem is None:
        return Finding(check="state", message=f"{folder} can be written")
    return Finding(
        check="state",
        level=Level.FAIL,
        message=problem,
        fix="Change its permissions, or name another folder with --state-dir.",
        exit_code=ExitCode.ERROR,
    )


def unwritable(folder: Path) -> str | None:
    """Return why a folder can be neither written nor created; None if it can."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        return f"{folder} cannot be written: {existing} is no folder"
    try:
        # Permissions alone do not say it: a disk may be full or read-only, and root may do everything elsewhere.
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(b"probe")
    except OSError as error:
        return f"{folder} cannot be written: {existing}: {failure_reason(error)}"
    return None


def check_spec(project: Project, stack: str) -> tuple[Finding, Spec | None]:
    """Check that a spec is valid, and return it if it is."""
    from scaler.config.spec import load

    check = f"spec {stack}"
    try:
        spec = load(project.spec_path(stack), project.name)
    except ScalerError as error:
        return Finding.failed(check, error), None
    groups = ", ".join(f"{group.name} {group.count}" for group in spec.groups.values())
    return Finding(check=check, message=f"{spec.cloud}: {groups}"), spec


def check_plugin(project: Project, spec: Spec, environ: Mapping[str, str]) -> Finding:
    """Check that the plugin that serves the resource types to the engine is there."""
    return _official_plugin(project, spec, environ) if spec.plugin == "official" else _own_plugin(spec)


def _official_plugin(project: Project, spec: Spec, environ: Mapping[str, str]) -> Finding:
    from scaler.engine.official import refuse_other_place
    from scaler.engine.plugin import resource_type

    package = resource_type(spec.cloud).package
    try:
        refuse_other_place(project.directory, spec.stack, package)
    except ScalerError as error:
        return Finding.failed(f"plugin {spec.stack}", error)
    name = f"pulumi-resource-{package}"
    user = home_folder(environ) or Path("/")
    home = Path(environ.get("PULUMI_HOME") or user / ".pulumi")
    found = shutil.which(name, path=environ.get("PATH")) or next(home.glob(f"plugins/resource-{package}-v*/"), None)
    if found:
        return Finding(check=f"plugin {spec.stack}", message=f"official, {found}")
    return Finding(
        check=f"plugin {spec.stack}",
        level=Level.WARN,
        message=f"official: {name} is neither on PATH nor in {home}; the engine downloads it if it can",
        fix=_plugin_install_command(package, environ),
    )


def _own_plugin(spec: Spec) -> Finding:
    from scaler.engine.plugin import resource_type

    check = f"plugin {spec.stack}"
    module = f"pulumi_{resource_type(spec.cloud).package}"
    if spec.cloud in CLOUDS and importlib.util.find_spec(module) is None:
        return Finding(
            check=check,
            level=Level.FAIL,
            message=f"{module} is not installed",
            fix=install_command(spec.cloud),
            exit_code=ExitCode.ERROR,
        )
    return Finding(check=check, message="scaler's own, in this process")


def _plugin_install_command(package: str, environ: Mapping[str, str]) -> str:
    """The engine's command that installs a plugin; empty where there is no engine."""
    try:
        return f"{engine_binary.find(environ)} plugin install resource {package}"
    except ScalerError:
        return ""
