"""Check of the locks of a stack: who holds them, since when and for what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from scaler.commands.checks.finding import Finding, Level
from scaler.config.project import Project
from scaler.errors import ScalerError
from scaler.model import Spec
from scaler.support.clock import Clock

_LONG = timedelta(minutes=30)
"""An engine's operation lasts no longer."""


def check_lock(project: Project, spec: Spec, environ: Mapping[str, str], clock: Clock) -> Finding:
    """Say who holds the stack's lock; one that is held for longer than any run holds it is a warning."""
    from scaler.engine.holders import living_holders
    from scaler.wiring import backend_url

    check = f"lock {spec.stack}"
    try:
        url = backend_url(project, spec, environ)
        holders = living_holders(url, project.name, spec.stack, project.state_dir, environ)
    except ScalerError as error:
        return Finding(check=check, level=Level.WARN, message=f"not known: {error}", fix=error.fix)
    if not holders:
        return Finding(check=check, message="nobody holds it")
    now = clock.now()
    message = "; ".join(holder.words(now) for holder in holders)
    if all(now - holder.since < _LONG for holder in holders):
        return Finding(check=check, message=f"held by {message}")
    fix = "Check whether it still runs. If it has ended: scaler unlock --force"
    return Finding(check=check, level=Level.WARN, message=f"held by {message}", fix=fix)
