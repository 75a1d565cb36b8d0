"""`scaler help`: the help of a command, and the page of the common options."""

from __future__ import annotations

import click

from scaler.commands.command import Command, common_option_records, common_options
from scaler.commands.context import Context

ENVIRONMENT = (
    ("SCALER_STACK", "The stack, as --stack."),
    ("SCALER_STATE_DIR", "The folder of the state files, as --state-dir."),
    ("SCALER_STEAL_AFTER", "The age of --steal-after, for the commands that have it."),
    ("SCALER_ENGINE", "The path of the Pulumi engine to use."),
    ("SCALER_HTTP_TIMEOUT", "How long an answer of the cloud may take, such as 10s."),
    ("HCLOUD_TOKEN", "The token of Hetzner Cloud. HCLOUD_TOKEN_FILE names a file that has it."),
    ("DIGITALOCEAN_TOKEN", "The token of DigitalOcean. DIGITALOCEAN_TOKEN_FILE names a file that has it."),
    ("HCLOUD_ENDPOINT", "Another URL of Hetzner's API, where the spec has no `endpoint`."),
    ("DIGITALOCEAN_API_URL", "Another URL of DigitalOcean's API, where the spec has no `endpoint`."),
    ("SCALER_ALLOW_HOSTS", "Other hosts that may get tokens although only a spec names them, separated by commas."),
    ("PULUMI_BACKEND_URL", "Where the engine keeps its state, where the spec has no `backend`."),
    ("SSL_CERT_FILE", "The certificates to trust, for example those of a proxy; REQUESTS_CA_BUNDLE wins."),
    ("CI", "If set, nothing is asked: commands that would ask need --yes."),
    ("NO_COLOR, FORCE_COLOR", "Without colour, or with colour even where there is no terminal."),
)
"""Environment variables and what each one does."""


@click.command(cls=Command)
@click.argument("topic", nargs=-1, metavar="[COMMAND | options]")
@common_options
def help(context: Context, topic: tuple[str, ...]) -> None:  # noqa: A001 - a command is named as its function
    """Show the help of a command, or the common options and environment variables.

    \b
    Examples:
      scaler help
      scaler help ensure
      scaler help options    --stack, -C, -o and the other options of every command

    \b
    Exit codes: 0 shown, 64 usage, such as an unknown command.
    """
    del context
    here = click.get_current_context()
    click.echo(_options_page(here) if topic == ("options",) else _help_of(here.find_root(), topic))


def _help_of(root: click.Context, path: tuple[str, ...]) -> str:
    """The help page of a command, or of a command below it; a UsageError of click's if there is none."""
    ctx, rest = root, list(path)
    while rest:
        if not isinstance(ctx.command, click.Group):
            raise click.UsageError(f"'{ctx.command_path}' has no commands of its own.", ctx)
        name, command, rest = ctx.command.resolve_command(ctx, rest)
        if command is not None:
            ctx = click.Context(command, info_name=name, parent=ctx)
    return ctx.get_help()


def _options_page(ctx: click.Context) -> str:
    formatter = ctx.make_formatter()
    formatter.write_text(
        "Every command has these options. You can put them before or after the command's name; "
        "if an option is given twice, the last one counts."
    )
    with formatter.section("Options"):
        formatter.write_dl(common_option_records())
    with formatter.section("Environment variables"):
        formatter.write_dl(ENVIRONMENT)
    return formatter.getvalue().rstrip("\n")
