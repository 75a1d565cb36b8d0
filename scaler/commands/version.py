"""`scaler version`: the versions that a bug report needs."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import click

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context, Output
from scaler.commands.document import dump
from scaler.commands.printing import print_result
from scaler.engine import binary
from scaler.errors import UnavailableError
from scaler.output.table import columns, markdown_table
from scaler.support.version import VERSION

PACKAGES = ("pulumi", "pulumi-hcloud", "pulumi-digitalocean", "hcloud", "pydo")
"""The SDK, the resource types' packages and the clouds' own clients; all but the first are extras."""


@click.command(cls=Command)
@common_options
def version(context: Context) -> None:
    """Show the versions of scaler and its dependencies.

    `engine` is the engine that is found, and `engine_pinned` the one that `scaler engine install` installs.

    \b
    Examples:
      scaler version
      scaler version -o json

    \b
    Exit codes: 0 shown.
    """
    facts = {
        "scaler": VERSION,
        "python": platform.python_version(),
        "engine": _engine(),
        "engine_pinned": binary.PINNED,
        **{package: _installed(package) for package in PACKAGES},
    }
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump({"versions": facts}, context.output))
        return
    rows = [(name, found or "not installed") for name, found in facts.items()]
    if context.output is Output.MARKDOWN:
        click.echo(markdown_table(("what", "version"), rows))
        return
    print_result("\n".join(columns(rows)))


def _engine() -> str | None:
    try:
        return binary.version_of(binary.find(os.environ), os.environ)
    except UnavailableError:
        return None


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
