"""Check of the backend of a stack: that it can be reached, read and written, and that its secrets can be read."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, suppress

from scaler.commands.checks.finding import Finding, Level
from scaler.commands.checks.machine import unwritable
from scaler.config.project import Project
from scaler.errors import ExitCode, ScalerError
from scaler.model import Spec
from scaler.support.clock import Clock


def check_backend(project: Project, spec: Spec, environ: Mapping[str, str], clock: Clock) -> Finding:
    """Check the backend of a stack. A folder without the stack starts no engine, and nothing is made in it."""
    check = f"backend {spec.stack}"
    try:
        return _examine(check, project, spec, environ, clock)
    except ScalerError as error:
        return Finding.failed(check, error)


def require_writable(url: str, project: Project, spec: Spec, environ: Mapping[str, str]) -> None:
    """Write a document beside the engine's state, and delete it: credentials may allow to read alone.

    A folder is tried before, and Pulumi Cloud has no place for it. StoreUnavailableError if it cannot be written.
    """
    from scaler.records.store import ConflictError, open_store

    store = open_store(url, project.name, spec.stack, environ)
    if store is None:
        return
    with closing(store):
        # The document is there if another doctor looks at the same moment.
        with suppress(ConflictError):
            store.write("doctor", b"{}")
        store.delete("doctor")


def _examine(check: str, project: Project, spec: Spec, environ: Mapping[str, str], clock: Clock) -> Finding:
    from scaler.engine.backend import LocalBackend
    from scaler.engine.secrets import PASSPHRASE_FILE, passphrase_file_problem, require_allowed_settings
    from scaler.wiring import RunSettings, backend_url, open_engine, scratch_of

    url = backend_url(project, spec, environ)
    require_allowed_settings(project.directory, spec.stack, environ)
    if problem := passphrase_file_problem(environ):
        return Finding(
            check=check,
            level=Level.FAIL,
            message=problem,
            fix=f"Name a readable file in {PASSPHRASE_FILE}, or unset it.",
            exit_code=ExitCode.ERROR,
        )
    local = LocalBackend.at(url, project.name, spec.stack)
    if local is not None:
        if problem := unwritable(local.root):
            return Finding(
                check=check,
                level=Level.FAIL,
                message=problem,
                fix="Make it a folder that can be written, or name another `backend` in the spec.",
                exit_code=ExitCode.ERROR,
            )
        local.check_layout()
        if not local.exists():
            return Finding(check=check, message=f"{local.root.parent} can be written; the stack is not there yet")
    looking = RunSettings(project=project, spec=spec, cause="doctor", environ=environ, looks=True)
    with scratch_of(project) as scratch:
        copy = local.copied(scratch / "backend") if local else None
        healed = copy if copy and copy.heal_checkpoint() else None
        engine = open_engine(looking, healed.url if healed else url, clock, lambda text: None, scratch=scratch)
        engine.read_with_secrets()
        engine.try_secrets(scratch)
    require_writable(url, project, spec, environ)
    if healed:
        message = "the stack as last saved is cut off; the next run goes on from the save before it"
        return Finding(check=check, level=Level.WARN, message=message)
    return Finding(check=check, message="the stack and its secrets can be read")
