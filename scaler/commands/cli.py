"""The command line `scaler`: its commands in groups, and its help. A command is imported only when it runs."""

from __future__ import annotations

import importlib

import click

import scaler
from scaler.commands.command import CommandGroup, declare_common_options, write_pointer
from scaler.commands.ending import Ending

GROUPS = {
    "Run": {
        "ensure": "Make exactly the wanted number of healthy servers exist.",
        "increase": "Add servers.",
        "decrease": "Remove servers.",
        "preview": "Show what ensure would do, without doing it.",
        "apply": "Carry out exactly the plan of a file, or nothing.",
        "destroy": "Remove every server of a stack.",
    },
    "Look": {
        "status": "Show the recorded servers.",
        "refresh": "Compare the records with the cloud and report drift.",
        "history": "Show the events of a stack.",
        "why": "Explain the state of a server.",
        "report": "Show how a stack has done: load, decisions, trouble, costs.",
    },
    "Named servers": {
        "reboot": "Reboot servers and wait until they are ready again.",
        "ssh": "Log in to a server, or run a command there.",
        "remove": "Drain, shut down and delete servers.",
        "stop": "Another name of remove: delete servers.",
        "replace": "Create new servers, then delete the old ones.",
        "roll": "Replace outdated servers, in waves.",
        "snapshot": "Make a snapshot of a server, and delete old ones.",
        "protect": "Never choose these servers for scale-down.",
        "unprotect": "Remove the protection of servers.",
    },
    "Autoscale": {
        "autoscale": "Compute the number of servers from the load, and make it so.",
        "metrics": "Read the metrics of the autoscale blocks once, and show them.",
        "pause": "Have autoscaling leave a stack alone.",
        "resume": "End the pause of autoscaling.",
        "simulate": "Replay recorded load against an autoscaling policy.",
    },
    "Repair": {
        "adopt": "Claim servers that carry the stack's labels and not its id.",
        "orphans": "List servers that are in no state; adopt or delete them.",
        "unlock": "Show who holds a stack's locks, and remove stale locks.",
        "prune": "Delete old records and files that the engine leaves behind.",
    },
    "Set-up": {
        "init": "Create a project in the current folder.",
        "validate": "Check specs and report every problem.",
        "doctor": "Check the engine, the specs, the credentials and the cloud.",
        "engine": "Find or install the Pulumi engine.",
        "sim": "Serve the embedded cloud.",
        "completion": "Print the completion script of a shell.",
        "version": "Show the versions of scaler and its dependencies.",
        "help": "Show the help of a command, or the common options.",
    },
}
"""The commands by group, each with one line of help. The command `x` is the object `x` of `scaler.commands.x`."""

COMMANDS = {name: text for commands in GROUPS.values() for name, text in commands.items()}

EXIT_CODES = """\b
Exit codes:
  0    the wanted state is reached, or there was nothing to do
  1    error
  2    changes are pending (only with --detailed-exitcode)
  3    a guard or a policy refused the run
  4    applied, but not confirmed in time
  5    another run holds the lock
  6    the plan is out of date
  64   wrong usage
  65   a spec is invalid
  69   the cloud or the engine cannot be reached
  77   credentials are missing or were refused
  129  the terminal was closed (SIGHUP)
  130  interrupted (Ctrl-C)
  143  terminated (SIGTERM)
"""


class LazyGroup(CommandGroup):
    """A group that lists its commands from one-line stubs and imports only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, stub, rest = super().resolve_command(ctx, args)
        if name is None or stub is None:
            return name, stub, rest
        command = load_command(name)
        ctx.ensure_object(Ending).command = command
        return name, command, rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super(click.Group, self).format_options(ctx, formatter)
        write_pointer(formatter)
        width = max(map(len, COMMANDS))
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


def load_command(name: str) -> click.Command:
    """Import one command."""
    module = importlib.import_module(f"scaler.commands.{name}")
    command: click.Command = getattr(module, name)
    return command


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"scaler {scaler.__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    commands={name: click.Command(name, short_help=text) for name, text in COMMANDS.items()},
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=EXIT_CODES,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@declare_common_options
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Keep exactly N healthy servers, made from a snapshot, on Hetzner Cloud and DigitalOcean.

    \b
    Examples:
      scaler init --cloud hetzner          create a project
      scaler preview 5 --stack prod        show what would be done
      scaler ensure 5 --stack prod         do it, and wait until all 5 are ready
      scaler ensure worker=5 web=2 --yes   in CI: ask nothing
      scaler status -o json                the recorded servers for programs
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
