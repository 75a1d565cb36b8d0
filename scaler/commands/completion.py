"""`scaler completion`: the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common_options
def completion(context: Context, *, shell: str) -> None:
    """Print the completion script of a shell.

    It completes commands, options, and the names of stacks, groups and servers.

    \b
    Examples:
      scaler completion bash > /etc/bash_completion.d/scaler
      scaler completion zsh > "${fpath[1]}/_scaler"
      scaler completion fish > ~/.config/fish/completions/scaler.fish

    \b
    Exit codes: 0 printed, 64 usage.
    """
    del context
    script = get_completion_class(shell)
    assert script is not None  # noqa: S101 - click has one for each choice above
    root = click.get_current_context().find_root().command
    click.echo(script(root, {}, "scaler", "_SCALER_COMPLETE").source())
