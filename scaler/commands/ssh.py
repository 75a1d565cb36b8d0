"""`scaler ssh`: log in to a server with the user's own ssh program."""

from __future__ import annotations

import os
import shutil
import sys

import click

from scaler.commands.command import Command, common_options
from scaler.commands.completers import complete_server
from scaler.commands.context import Context
from scaler.config.project import Project
from scaler.errors import ScalerError, UsageError
from scaler.model import Server
from scaler.support.suggestions import nearest


@click.command(cls=Command)
@click.argument("name", metavar="NAME", shell_complete=complete_server)
@click.argument("command", nargs=-1, metavar="[-- COMMAND ...]", type=click.UNPROCESSED)
@click.option("-l", "--login", default="root", show_default=True, metavar="USER", help="The user to log in as.")
@common_options
def ssh(context: Context, name: str, command: tuple[str, ...], login: str) -> None:
    """Log in to a server, or run a command there, with your own ssh and its settings.

    Takes the public address, or the private one if there is no other. The key of a server that was never seen is
    accepted and remembered for this server alone: another one that gets its address later is no stranger. With a
    command, ssh asks nothing. Ends with the exit code of ssh, which is the command's own.

    \b
    Examples:
      scaler ssh prod-worker-2
      scaler ssh prod-worker-2 -- systemctl is-active horizon
      scaler ssh prod-worker-2 -l deploy

    \b
    Exit codes: 0 the command ended with 0, 1 there is no ssh, 64 usage.
    """
    program = shutil.which("ssh")
    if program is None:
        raise ScalerError("There is no ssh on this machine.", fix="Install an OpenSSH client.", code="ssh_missing")
    server = _find(context, name)
    address = server.ipv4 or server.ipv6 or server.private_ip
    if not address:
        raise UsageError(
            f"{name} has no address yet: it is {server.status}.", fix="Try again when `scaler status` shows one."
        )
    options = ["StrictHostKeyChecking=accept-new", f"HostKeyAlias={name}.{server.id}"]
    options += ["BatchMode=yes"] if command else []
    arguments = [word for option in options for word in ("-o", option)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program, [program, *arguments, "-l", login, "--", address, *command])  # noqa: S606 - the user's own program


def _find(context: Context, name: str) -> Server:
    from scaler.commands.recorded import recorded

    project = Project.find(context.directory, context.state_dir)
    stack = project.choose(context.stack)
    state = recorded(context, project, stack).state()
    servers = {server.name: server for server in (state.servers if state else ()) if not server.finished}
    if name not in servers:
        raise UsageError(f"There is no server {name} in the records of {stack}.", fix=nearest(name, list(servers)))
    return servers[name]
