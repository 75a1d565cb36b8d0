"""Shell completion of the names of servers and groups. Offers nothing where there is no project; never fails."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from scaler.commands.context import Context, context_of
from scaler.config.project import Project
from scaler.errors import ScalerError
from scaler.records.state import State
from scaler.records.state_file import StateFile


def complete_server(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the recorded servers that are not on the command line yet."""
    typed = ctx.params.get(param.name or "") or ()
    state = _state(context_of(ctx))
    servers = [server for server in (state.servers if state else ()) if not server.finished]
    return [
        CompletionItem(server.name, help=str(server.status))
        for server in servers
        if server.name.startswith(incomplete) and server.name not in typed
    ]


def complete_group(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the groups of the spec."""
    del param
    return [CompletionItem(name) for name in _groups(context_of(ctx)) if name.startswith(incomplete)]


def complete_count(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer `GROUP=COUNT` with the spec's count, for the groups that are not on the command line yet."""
    typed = {word.partition("=")[0] for word in ctx.params.get(param.name or "") or ()}
    counts = {name: f"{name}={count}" for name, count in _groups(context_of(ctx)).items() if name not in typed}
    return [CompletionItem(text) for text in counts.values() if text.startswith(incomplete)]


def complete_cloud(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the clouds of scaler and of installed packages."""
    del ctx, param
    from scaler.clouds.registry import known_clouds

    return [CompletionItem(name) for name in known_clouds() if name.startswith(incomplete)]


def _groups(context: Context) -> dict[str, object]:
    """The count of each group as the spec has it; validating the spec would take too long here."""
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
