"""Check of the identity of stacks: whose servers a run would take for its own, and where they were recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from scaler.commands.checks.finding import Finding, Level
from scaler.commands.context import Context
from scaler.commands.recorded import recorded
from scaler.config.project import Project
from scaler.errors import CredentialsError, EngineError, ScalerError, UnrecognisedError
from scaler.model import Machine, Spec
from scaler.model.identity import Identity, new_id
from scaler.output.sentences import identity_words, lost_stack_words
from scaler.planning.claims import Sorted, sort_out
from scaler.planning.recognition import check_place
from scaler.records.codec import read_outputs
from scaler.records.state_file import stacks_without_spec
from scaler.support.values import dataclass

if TYPE_CHECKING:
    from scaler.engine.backend import LocalBackend
    from scaler.engine.checkpoint import Checkpoint


@dataclass(frozen=True)
class KnownServers:
    """What is recorded of a stack: in its records, and in its backend where that is a folder."""

    identity: Identity | None = None
    servers: frozenset[str] = frozenset()
    """Ids of the servers that the records know."""
    is_readable: bool = True
    """Whether it is known whose servers with the stack's names are."""

    def sort_out(self, spec: Spec, machines: list[Machine]) -> Sorted:
        """Sort machines with a stack's names by whose they are, as a run does."""
        known = self.identity.id if self.identity else ""
        claims = self.identity.claims if self.identity else ()
        return sort_out(machines, self.servers, spec.owner.with_id(known or new_id()), claims)


def _known(context: Context, project: Project, spec: Spec, environ: Mapping[str, str]) -> KnownServers:
    """Read what is recorded of a stack; no engine is started. Raises ScalerError for records that cannot be read."""
    from scaler.engine.backend import LocalBackend
    from scaler.wiring import backend_url

    # Why shared records cannot be read is said by the check of the backend.
    state = recorded(context, project, spec.stack, warn=lambda text: None).state()
    local = LocalBackend.at(backend_url(project, spec, environ), project.name, spec.stack)
    saved = _last_save(project, local) if local else None
    shared = read_outputs(saved.outputs).identity if saved else None
    own = state.identity if state else None
    older = Identity(id="", project=state.project, cloud=state.cloud) if state else None
    servers = {server.id for server in (state.servers if state else ()) if server.id and not server.finished}
    held = {resource.id for resource in (saved.resources if saved else ())}
    return KnownServers(shared.united_with(own) if shared else own or older, frozenset(servers | held))


def _last_save(project: Project, local: LocalBackend) -> Checkpoint | None:
    """Return the checkpoint that a run would go on from: where it is cut off, the save before it."""
    from scaler.wiring import scratch_of

    try:
        return local.checkpoint()
    except EngineError:
        with scratch_of(project) as scratch:
            copy = local.copied(scratch / "backend")
            if not copy.heal_checkpoint():
                raise
            return copy.checkpoint()


def check_identity(
    context: Context, project: Project, spec: Spec, environ: Mapping[str, str]
) -> tuple[Finding, KnownServers]:
    """Compare where a stack's servers were recorded with where a run would look for them; return what is recorded."""
    check = f"identity {spec.stack}"
    try:
        known = _known(context, project, spec, environ)
        return _compare(check, known, project, spec, environ), known
    except ScalerError as error:
        # A run stops at this, too.
        return Finding.failed(check, error), KnownServers(is_readable=False)


def _compare(check: str, known: KnownServers, project: Project, spec: Spec, environ: Mapping[str, str]) -> Finding:
    from scaler.wiring import place_of

    identity = known.identity
    if identity is None:
        return Finding(check=check, message="a spec without a stack: nothing is recorded of it")
    words = identity_words(identity)
    try:
        place = place_of(project, spec, environ)
    except CredentialsError:
        return Finding(check=check, message=words)
    try:
        if known.servers:
            check_place(spec, identity, place)
    except UnrecognisedError as error:
        return Finding.failed(check, error)
    if known.servers and identity.id and not identity.is_proven(place):
        message = f"{words}; this token has not seen its servers yet"
        return Finding(check=check, level=Level.WARN, message=message)
    return Finding(check=check, message=words)


def check_lost_stacks(project: Project) -> Iterator[Finding]:
    """Warn of each stack whose records have servers, and whose spec is gone or has another name."""
    for name, state in stacks_without_spec(project.state_dir, project.stacks()).items():
        yield Finding(
            check=f"stack {name}",
            level=Level.WARN,
            message=lost_stack_words(name, state),
            fix=f"If it was renamed, put stacks/{name}.yaml back, and destroy it before the name changes.",
        )
