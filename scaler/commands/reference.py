"""The reference's pages of the commands, made from the code: `python -m scaler.commands.reference`."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from scaler.commands.context import shared_options
from scaler.commands.main import COMMANDS, EXIT_CODES

FOLDER = Path("docs/reference/commands")
"""Where the pages are, in the repository."""

_INDEX = """\
# The commands

Made from the code by `make docs`.

| command | what it does |
|---|---|
{rows}

## Options of every command

They may stand before the command's name too; the one nearer to the end wins.

{options}

## Exit codes

{codes}
"""


def pages() -> dict[str, str]:
    """Each page's text, by its file's name."""
    made = {f"{name}.md": _page(name) for name in COMMANDS}
    rows = "\n".join(f"| [`{name}`]({name}.md) | {text} |" for name, text in COMMANDS.items())
    codes = re.findall(r"^  (\d+) +(.*)$", EXIT_CODES, re.MULTILINE)
    made["README.md"] = _INDEX.format(
        rows=rows,
        options=_table("option", "meaning", _options(_SHARED)),
        codes=_table("code", "meaning", codes),
    )
    return made


@click.command()
@shared_options
def _SHARED() -> None: ...  # noqa: N802 - a command that has the shared options alone


def _page(name: str) -> str:
    command: click.Command = getattr(importlib.import_module(f"scaler.commands.{name}"), name)
    parts = list(_sections(command, f"scaler {name}", 1))
    return "\n\n".join(parts) + "\n"


def _sections(command: click.Command, path: str, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    yield f"{'#' * level} {path}"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{path} {usage}\n```"
    yield from _prose(command.help or "")
    shared = {parameter.name for parameter in _SHARED.params}
    if options := [option for option in _options(command) if option[2] not in shared]:
        yield _table("option", "meaning", options)
    if not isinstance(command, click.Group):
        yield "And the [options of every command](README.md#options-of-every-command)."
        return
    for name, below in command.commands.items():
        yield from _sections(below, f"{path} {name}", level + 1)


def _prose(text: str) -> Iterator[str]:
    """The help's paragraphs, the examples as code."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.removeprefix("\b\n")
        if lines.startswith("Examples:\n"):
            yield f"```text\n{inspect.cleandoc(lines.partition(chr(10))[2])}\n```"
        else:
            yield lines


def _options(command: click.Command) -> list[tuple[str, ...]]:
    """The options' own words, as the help has them, and their parameters' names."""
    context = click.Context(command)
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    records = [(option.get_help_record(context), option.name) for option in options]
    return [(f"`{record[0]}`", record[1], name or "") for record, name in records if record]


def _table(left: str, right: str, rows: list[tuple[str, ...]]) -> str:
    lines = [
        (left, right),
        ("---", "---"),
        *((name.replace("|", "\\|"), text.replace("|", "\\|")) for name, text, *_ in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _write() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _write()
