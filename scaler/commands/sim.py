"""`scaler sim`: serve the embedded cloud to other programs."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from scaler.commands.command import Command, CommandGroup, common_options
from scaler.commands.context import Context
from scaler.errors import UnavailableError

TOKEN = "embedded" * 8
"""Hetzner's clients want 64 characters; DigitalOcean's accept any text."""


@click.group(cls=CommandGroup)
def sim() -> None:
    """Serve the embedded cloud.

    \b
    Examples:
      scaler sim serve                                 then paste the output into another shell
      scaler sim serve --port 8080 --profile realistic

    \b
    Exit codes: 0 ended by Ctrl-C or SIGTERM, 64 usage, 69 the port is in use.
    """


@sim.command(cls=Command)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port on 127.0.0.1. Default: a free one.")
@click.option(
    "--world",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file that stores the embedded cloud. Default: embedded.sqlite in the state folder.",
)
@click.option(
    "--profile",
    type=click.Choice(["instant", "fast", "realistic", "hostile"]),
    help="How long boots and other actions take. Default: as stored in the file, and `fast` for a new one.",
)
@click.option("--clock-speed", type=click.FloatRange(min=0), metavar="X", help="Let time pass X times faster.")
@common_options
def serve(context: Context, *, port: int, world: Path | None, profile: str | None, clock_speed: float | None) -> None:
    """Serve the APIs of Hetzner Cloud and DigitalOcean on 127.0.0.1 until Ctrl-C.

    Prints the variables to export so that other programs use it. The servers are kept in the file when this ends.

    \b
    Examples:
      scaler sim serve --world /tmp/world.db
      scaler sim serve --clock-speed 60          one minute passes in one second

    \b
    Exit codes: 0 ended by Ctrl-C or SIGTERM, 64 usage, 69 the port is in use.
    """
    from scaler.simulator import EmbeddedCloud

    # Block the signals before the serving thread starts, so that `sigwait` gets them and no thread does.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    path = context.directory / world if world else context.state_dir / "embedded.sqlite"
    cloud = EmbeddedCloud(path, port=port, profile=profile, clock_speed=clock_speed)
    try:
        cloud.start()
    except OSError as error:
        raise UnavailableError(
            f"The embedded cloud cannot listen on port {port}.",
            why=error.strerror or str(error),
            fix="Leave out --port, or choose another one.",
        ) from error
    click.echo(
        f"export HCLOUD_ENDPOINT={cloud.hetzner_endpoint}\n"
        f"export DIGITALOCEAN_API_URL={cloud.digitalocean_endpoint}\n"
        f"export HCLOUD_TOKEN={TOKEN}\n"
        f"export DIGITALOCEAN_TOKEN={TOKEN}"
    )
    click.echo(f"scaler: serving {path}; stop with Ctrl-C", err=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    cloud.stop()
