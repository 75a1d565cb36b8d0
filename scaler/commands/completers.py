"""What a shell offers for a stack's servers and groups. Never fails: without a project there is nothing to offer."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from scaler.commands.context import Context, context_of
from scaler.config.project import Project
from scaler.errors import ScalerError
from scaler.records.state import State
from scaler.records.state_file import StateFile


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
    """The groups of the spec."""
    del param
    return [CompletionItem(name) for name in _groups(context_of(ctx)) if name.startswith(incomplete)]


def complete_count(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The groups of the spec with their counts, as one would type them, but those that were typed."""
    typed = {word.partition("=")[0] for word in ctx.params.get(param.name or "") or ()}
    counts = {name: f"{name}={count}" for name, count in _groups(context_of(ctx)).items() if name not in typed}
    return [CompletionItem(text) for text in counts.values() if text.startswith(incomplete)]


def _groups(context: Context) -> dict[str, object]:
    """Each group's count in the spec as it is written, be it a good one or not: checking it takes too long here."""
    from scaler.config.strict_yaml import read

    try:
        project = Project.find(context.directory, context.state_dir)
        value = read(project.spec_path(project.choose(context.stack))).value
    except (ScalerError, OSError):
        return {}
    groups = value.get("groups") if isinstance(value, dict) else None
    if not isinstance(groups, dict):
        return {}
    return {name: group.get("count", 1) if isinstance(group, dict) else 1 for name, group in groups.items()}


def _state(context: Context) -> State | None:
    try:
        project = Project.find(context.directory, context.state_dir)
        return StateFile(project.state_dir, project.choose(context.stack)).load()
    except (ScalerError, OSError):
        return None
