"""`scaler sim`: the embedded cloud as a server of its own, for any client."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from scaler.commands.context import Context, common_options
from scaler.errors import UnavailableError

TOKEN = "embedded" * 8
"""Hetzner's clients want 64 characters; DigitalOcean's take anything."""


@click.group()
def sim() -> None:
    """Serve the embedded cloud.

    \b
    Examples:
      scaler sim serve                                 then paste the exports into another shell
      scaler sim serve --port 8080 --profile realistic

    \b
    Exit codes: 0 ended by Ctrl-C or SIGTERM, 64 usage, 69 the port cannot be had.
    """


@sim.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port on 127.0.0.1. Default: any free one.")
@click.option(
    "--world",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file that keeps the world. Default: embedded.sqlite in the state directory.",
)
@click.option(
    "--profile",
    type=click.Choice(["instant", "fast", "realistic"]),
    help="How long things take. Default: what the world has, and fast for a new one.",
)
@click.option(
    "--clock-speed", type=click.FloatRange(min=0), metavar="X", help="Let the world's time run X times faster."
)
@common_options
def serve(context: Context, *, port: int, world: Path | None, profile: str | None, clock_speed: float | None) -> None:
    """Serve Hetzner's and DigitalOcean's API on loopback until Ctrl-C.

    Prints what to export so that other programs use it. The world outlives the server.

    \b
    Examples:
      scaler sim serve --world /tmp/world.db
      scaler sim serve --clock-speed 60          a minute passes in a second

    \b
    Exit codes: 0 ended by Ctrl-C or SIGTERM, 64 usage, 69 the port cannot be had.
    """
    from scaler.simulator import EmbeddedCloud

    # Blocked before the serving thread starts, so that the signals wait for us, whichever thread they would hit.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    path = context.directory / world if world else context.state_dir / "embedded.sqlite"
    cloud = EmbeddedCloud(path, port=port, profile=profile, clock_speed=clock_speed)
    try:
        cloud.start()
    except OSError as error:
        raise UnavailableError(
            f"The embedded cloud cannot listen on port {port}.",
            why=error.strerror or str(error),
            fix="leave --port out, or choose another",
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
