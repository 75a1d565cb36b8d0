"""Write the commands' pages of the reference from the code: `python -m scaler.commands.reference`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from scaler.commands.cli import COMMANDS, EXIT_CODES, GROUPS, load_command
from scaler.commands.command import common_option_records
from scaler.commands.help import ENVIRONMENT

FOLDER = Path("docs/reference/commands")
"""Where the pages are, in the repository."""

_INDEX = """\
# The commands

`make docs` writes these pages from the code. `scaler --help` lists the same commands.

{groups}

## Options of every command

You can put them before or after the command's name. If an option is given twice, the last one counts.
`scaler help options` lists them too.

{options}

## Environment variables

{environment}

## Exit codes

{codes}
"""


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    made = {f"{name}.md": _page(name) for name in COMMANDS}
    codes = re.findall(r"^  (\d+) +(.*)$", EXIT_CODES, re.MULTILINE)
    made["README.md"] = _INDEX.format(
        groups="\n\n".join(_group(title, commands) for title, commands in GROUPS.items()),
        options=_table("option", "meaning", [(f"`{names}`", text) for names, text in common_option_records()]),
        environment=_table("variable", "meaning", [(f"`{names}`", text) for names, text in ENVIRONMENT]),
        codes=_table("code", "meaning", codes),
    )
    return made


def _group(title: str, commands: Mapping[str, str]) -> str:
    rows = [(f"[`{name}`]({name}.md)", text) for name, text in commands.items()]
    return f"## {title}\n\n{_table('command', 'what it does', rows)}"


def _page(name: str) -> str:
    parts = list(_sections(load_command(name), f"scaler {name}", 1))
    return "\n\n".join(parts) + "\n"


def _sections(command: click.Command, path: str, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    yield f"{'#' * level} {path}"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{path} {usage}\n```"
    yield from _prose(command.help or "")
    if options := _options(command):
        yield _table("option", "meaning", options)
    if not isinstance(command, click.Group):
        yield "It also has the [options of every command](README.md#options-of-every-command)."
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


def _options(command: click.Command) -> list[tuple[str, str]]:
    """The names and the help of the command's own options."""
    context = click.Context(command)
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return [(f"`{record[0]}`", record[1]) for option in options if (record := option.get_help_record(context))]


def _table(left: str, right: str, rows: Sequence[tuple[str, str]]) -> str:
    lines = [
        (left, right),
        ("---", "---"),
        *((name.replace("|", "\\|"), text.replace("|", "\\|")) for name, text in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _write() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _write()
