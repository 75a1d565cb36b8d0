"""Printing: results on standard output, notes and errors on standard error; for people as wide as the terminal."""

from __future__ import annotations

import sys

import click

from scaler.commands.context import Output, terminal_width
from scaler.output.width import fit


def print_result(text: str, output: Output = Output.TEXT, *, color: bool | None = None) -> None:
    """Print a result. Only text for people is broken where the terminal ends, never a document for programs."""
    width = terminal_width(sys.stdout) if output is Output.TEXT else None
    click.echo(fit(text, width), color=color)


def fit_error(message: str) -> str:
    """Return a message for click to show: broken where the terminal ends, with the word that click puts before it."""
    return fit(f"Error: {message}", terminal_width(sys.stderr)).removeprefix("Error: ")


def print_note(text: str, *, color: bool | None = None) -> None:
    """Print what is no result: an error, a warning, a plan, what comes next."""
    click.echo(fit(text, terminal_width(sys.stderr)), err=True, color=color)
