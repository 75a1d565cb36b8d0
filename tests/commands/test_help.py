"""Every command's help: short usage, examples first, exit codes, and the page made from it."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from scaler.commands.cli import COMMANDS, GROUPS, cli
from scaler.commands.main import main
from scaler.commands.reference import FOLDER, pages
from scaler.errors import ExitCode

ROOT = Path(__file__).parents[2]


def walk(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from walk(below, *path, name)


ALL = [
    pytest.param(path, command, id=" ".join(path))
    for name in COMMANDS
    for path, command in walk(getattr(importlib.import_module(f"scaler.commands.{name}"), name), name)
]


def help_of(path: tuple[str, ...], command: click.Command, width: int = 140) -> str:
    parent = None
    for word in ("scaler", *path):
        parent = click.Context(command, info_name=word, parent=parent, max_content_width=width, terminal_width=width)
    assert parent
    return command.get_help(parent)


@pytest.mark.parametrize(("path", "command"), ALL)
def test_examples_then_exit_codes_then_options(path: tuple[str, ...], command: click.Command) -> None:
    text = help_of(path, command)
    places = [text.index("\n  Examples:\n"), text.index("\n  Exit codes: "), text.index("\nOptions:\n")]
    assert places == sorted(places)
    told = re.search(r"^  Exit codes: (.*)$", text, re.MULTILINE)
    assert told
    codes = {int(number) for number in re.findall(r"(?:^|, |: |; | or |also )(\d+)\b", told[1])}
    assert 0 in codes
    assert codes <= set(map(int, ExitCode))
    assert len(text.splitlines()[0]) <= 80, "a usage is short"
    assert max(map(len, help_of(path, command, 78).splitlines())) <= 80, "a terminal may be no wider"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts} has no help"


def examples(path: tuple[str, ...], command: click.Command) -> list[list[str]]:
    """The command lines of the help; what explains them stands behind four blanks."""
    lines = re.findall(r"^    \$?\(?(scaler .*)$", help_of(path, command), re.MULTILINE)
    return [shlex.split(re.split(r" {3,}| > |\)", line)[0]) for line in lines]


@pytest.mark.parametrize(("path", "command"), ALL)
def test_every_example_of_the_help_is_a_command_line(
    path: tuple[str, ...], command: click.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("plan.json", "week.csv", "arrivals.csv", "stacks/calmer.yaml", "servers/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = examples(path, command)
    assert found
    for words in found:
        context = cli.make_context("scaler", words[1:])
        while isinstance(context.command, click.Group):
            # Raises a UsageError for what is unknown or missing.
            found_name, below, rest = context.command.resolve_command(
                context, [*context._protected_args, *context.args]
            )
            assert found_name
            assert below
            context = below.make_context(name, rest, parent=context)


def test_the_pages_are_those_of_the_code() -> None:
    made = pages()
    kept = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / FOLDER).glob("*.md")}
    assert made == kept, "run: make docs"
    assert {f"{name}.md" for name in COMMANDS} < set(made)


def test_the_commands_come_in_groups() -> None:
    text = help_of((), cli)
    places = [text.index(f"\n{title}:\n") for title in GROUPS]
    assert places == sorted(places)
    for (title, commands), start, end in zip(GROUPS.items(), places, [*places[1:], None], strict=True):
        assert re.findall(r"^  (\w+) ", text[start:end], re.MULTILINE)[: len(commands)] == list(commands), title


COMMON = ("--stack", "--directory", "--state-dir", "--output", "--quiet", "--verbose", "--debug", "--color")


@pytest.mark.parametrize(("path", "command"), [*ALL, pytest.param((), cli, id="scaler")])
def test_a_page_points_to_the_common_options(path: tuple[str, ...], command: click.Command) -> None:
    text = help_of(path, command)
    options = text[text.index("\nOptions:\n") :]
    assert [option for option in COMMON if re.search(rf"^  .*{option}\b", options.split("\n\n")[0], re.MULTILINE)] == []
    assert ("scaler help options" in text) == (not isinstance(command, click.Group) or command is cli)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["help", *arguments]) == code
    return "".join(capsys.readouterr())


def test_help_options_lists_them_with_their_variables(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "options")
    for option in COMMON:
        assert re.search(rf"^  .*{option}\b", text, re.MULTILINE), option
    for variable in ("SCALER_STACK", "SCALER_STATE_DIR", "NO_COLOR", "HCLOUD_TOKEN", "PULUMI_BACKEND_URL"):
        assert variable in text.partition("Environment variables:")[2]


def test_help_shows_the_page_of_a_command_and_of_one_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys).startswith("Usage: scaler [OPTIONS]")
    assert shown(capsys, "ensure").startswith("Usage: scaler ensure [OPTIONS]")
    assert shown(capsys, "engine", "install").startswith("Usage: scaler engine install [OPTIONS]")


@pytest.mark.parametrize(("path", "hint"), [(["ensur"], "ensure"), (["ensure", "5"], "no commands of its own")])
def test_help_of_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str], path: list[str], hint: str) -> None:
    assert hint in shown(capsys, *path, code=64)


def test_the_first_page_fits_a_terminal() -> None:
    assert max(map(len, help_of((), cli, 78).splitlines())) <= 80
