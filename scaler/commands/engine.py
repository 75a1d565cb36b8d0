"""`scaler engine`: find or install the Pulumi engine."""

from __future__ import annotations

import os
from pathlib import Path

import click

from scaler.commands.command import Command, CommandGroup, common_options
from scaler.commands.context import Context, Output
from scaler.commands.document import dump
from scaler.commands.printing import print_note
from scaler.engine import binary as engine_binary


@click.group(cls=CommandGroup)
def engine() -> None:
    """Find or install the Pulumi engine.

    \b
    Examples:
      scaler engine install        download it; if that fails, build it with Go
      $(scaler engine path) about

    \b
    Exit codes: 0 found or installed, 64 usage, 69 not found, or it cannot be installed.
    """


@engine.command(cls=Command)
@click.option("--from-source", is_flag=True, help="Build it with Go, without trying the download.")
@common_options
def install(context: Context, *, from_source: bool) -> None:
    """Install the engine into the user's cache folder, unless it is there already.

    Tries the official download first. If that fails, builds the same version with Go, which takes about
    4 minutes on 2 cores. Writes only to the cache folder.

    \b
    Examples:
      scaler engine install
      scaler engine install --from-source    if the download does not work

    \b
    Exit codes: 0 installed, 69 neither way worked.
    """
    _print(install_engine(context, from_source=from_source), context)


def install_engine(context: Context, *, from_source: bool = False) -> Path:
    """Install the engine, unless it is there; report the progress, and return its path. UnavailableError."""

    def report(line: str) -> None:
        if context.verbosity >= 0:
            print_note(f"scaler: {line}")

    return engine_binary.install(os.environ, report=report, from_source=from_source)


@engine.command(cls=Command)
@common_options
def path(context: Context) -> None:
    """Print the path of the engine that scaler uses.

    Scaler uses the engine that SCALER_ENGINE names. Without that, it uses `pulumi` on PATH if it is new
    enough, else the engine that `scaler engine install` installed.

    \b
    Examples:
      scaler engine path
      scaler engine path -o json    its version too

    \b
    Exit codes: 0 printed, 69 there is no engine that is new enough.
    """
    _print(engine_binary.find(os.environ), context)


def _print(binary: Path, context: Context) -> None:
    if context.output in (Output.JSON, Output.YAML):
        version = engine_binary.version_of(binary, os.environ)
        click.echo(dump({"engine": {"path": str(binary), "version": version}}, context.output))
    else:
        click.echo(binary)
