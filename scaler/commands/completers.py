"""What a shell offers for a stack's servers and groups. Never fails: without a project there is nothing to offer."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from scaler.commands.context import Context, context_of
from scaler.errors import ScalerError
from scaler.project import Project
from scaler.state import State, StateFile


def complete_server(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The recorded servers that were not typed yet."""
    typed = ctx.params.get(param.name or "") or ()
    state = _state(context_of(ctx))
    servers = [server for server in (state.servers if state else ()) if not server.finished]
    return [
        CompletionItem(server.name, help=str(server.status))
        for server in servers
        if server.name.startswith(incomplete) and server.name not in typed
    ]


def complete_group(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The groups of the last recorded run: the spec takes longer to read."""
    del param
    state = _state(context_of(ctx))
    return [CompletionItem(name) for name in (state.wanted if state else ()) if name.startswith(incomplete)]


def _state(context: Context) -> State | None:
    try:
        project = Project.find(context.directory, context.state_dir)
        return StateFile(project.state_dir, project.choose(context.stack)).load()
    except ScalerError:
        return None
