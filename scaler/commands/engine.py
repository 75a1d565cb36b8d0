"""`scaler engine`: find or install the Pulumi engine."""

from __future__ import annotations

import os
from pathlib import Path

import click

from scaler.commands.context import Context, Output, common_options
from scaler.commands.document import dump
from scaler.engine import binary as engine_binary


@click.group()
def engine() -> None:
    """Find or install the Pulumi engine.

    \b
    Examples:
      scaler engine install        download it, or build it with Go where that fails
      $(scaler engine path) about

    \b
    Exit codes: 0 it is there, 64 usage, 69 there is none, or it cannot be installed.
    """


@engine.command()
@click.option("--from-source", is_flag=True, help="Build it with Go; do not try to download it.")
@common_options
def install(context: Context, *, from_source: bool) -> None:
    """Install the engine into the user cache, unless it is there.

    Tries the official download first, then builds the same version with Go (about 4 minutes on 2
    cores). Nothing but the cache is touched.

    \b
    Examples:
      scaler engine install
      scaler engine install --from-source    where the download does not work

    \b
    Exit codes: 0 it is there, 69 neither way worked.
    """

    def report(line: str) -> None:
        if context.verbosity >= 0:
            click.echo(f"scaler: {line}", err=True)

    _print(engine_binary.install(os.environ, report=report, from_source=from_source), context)


@engine.command()
@common_options
def path(context: Context) -> None:
    """Print the path of the engine that scaler uses.

    It is the one that SCALER_ENGINE names, else pulumi on PATH if it is new enough, else the one
    that `scaler engine install` installed.

    \b
    Examples:
      scaler engine path
      scaler engine path -o json    its version too

    \b
    Exit codes: 0 printed, 69 there is none that is new enough.
    """
    _print(engine_binary.find(os.environ), context)


def _print(binary: Path, context: Context) -> None:
    if context.output in (Output.JSON, Output.YAML):
        version = engine_binary.version_of(binary, os.environ)
        click.echo(dump({"engine": {"path": str(binary), "version": version}}, context.output))
    else:
        click.echo(binary)
