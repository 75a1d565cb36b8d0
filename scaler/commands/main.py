"""The entry point: run one command line, print what went wrong, return the exit code."""

from __future__ import annotations

import atexit
import gc
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType

import click

from scaler.commands.answers import take_answers
from scaler.commands.cli import cli
from scaler.commands.context import Output, terminal_width
from scaler.commands.failure import as_document, as_text, unexpected
from scaler.commands.printing import print_note
from scaler.commands.streams import prepare_streams, settled
from scaler.errors import ExitCode, HungUp, ScalerError, Terminated, UsageError
from scaler.output.width import fit
from scaler.support.certificates import trust_named_certificates
from scaler.support.text import named, visible

_LONGEST_USAGE = 2000
"""Characters of a usage error that are shown: it may quote an argument."""

_OBJECTS_BETWEEN_COLLECTIONS = 100_000

_LONG_WORD = re.compile(r"[^\s/'\"]{61,}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _terminate)
    # A closed terminal or connection ends a run, unless `nohup` has it ignored.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _hang_up)
    # Whoever starts scaler may ignore the ends of its own children. Inherited, that hides every exit code from us.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Only the owner may write the files that scaler and its child processes create, and the owner may use them,
    # whatever the shell's umask is.
    os.umask((os.umask(0o022) | 0o022) & 0o077)
    take_answers()
    return _run(arguments)


def entry() -> None:
    """The console script `scaler`."""
    # Modules make many objects that stay. To look for garbage among them as often as Python does by itself (700) takes
    # a tenth of a command's start.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    # And to free all of them, one by one, before the process ends takes as long as a fifth of a short command.
    atexit.register(gc.freeze)
    prepare_streams()
    trust_named_certificates(os.environ)
    sys.exit(settled(main()))


def _run(arguments: list[str]) -> int:
    try:
        code = cli.main(arguments, prog_name="scaler", standalone_mode=False)
    except ScalerError as error:
        return _fail(error, arguments)
    except click.UsageError as error:
        return _fail_usage(error, arguments)
    except click.Abort as aborted:  # click wraps Ctrl-C, SIGTERM and an unanswered question in it
        return _interrupted(aborted, arguments)
    except KeyboardInterrupt as interrupt:
        return _interrupted(interrupt, arguments)
    except Exception as error:
        return _fail_unexpectedly(error, arguments)
    return ExitCode.OK if code is None else int(code)


def _fail(error: ScalerError, arguments: Sequence[str]) -> int:
    output = _output_of(arguments)
    if output in (Output.JSON, Output.YAML):
        click.echo(as_document(error, output))
    else:
        print_note(as_text(error))
    from scaler.commands.github import annotate_error, on_github

    if on_github(os.environ):
        click.echo("\n".join(annotate_error(error, os.environ)), err=True)
    if "--debug" in arguments:
        traceback.print_exception(error)
    return error.exit_code


def _fail_usage(error: click.UsageError, arguments: Sequence[str]) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return ExitCode.USAGE
    from scaler.commands.reports import report_usage

    said = visible(_said(error, arguments)[:_LONGEST_USAGE])
    path = error.ctx.command_path if error.ctx else "scaler"
    failure = UsageError(said, fix=f"Run: {path} --help", code="usage")
    report_usage(failure, error.ctx.command if error.ctx else None)
    if _output_of(arguments) in (Output.JSON, Output.YAML):
        return _fail(failure, arguments)
    error.format_message = lambda: fit(said, terminal_width(sys.stderr))  # type: ignore[method-assign]
    error.show()
    return ExitCode.USAGE


def _said(error: click.UsageError, arguments: Sequence[str]) -> str:
    """Return click's message. Of what it quotes on several lines, or longer than a name, only the size is said."""
    said = error.format_message()
    for argument in sorted(arguments, key=len, reverse=True):
        for part in (argument, *argument.partition("=")[::2]):
            if "\n" in part.strip():
                said = said.replace(part, named(part)).replace(repr(part)[1:-1], named(part))
    return _LONG_WORD.sub(lambda word: named(word[0]), said)


def _fail_unexpectedly(error: Exception, arguments: Sequence[str]) -> int:
    failure = unexpected(error)
    if "--debug" in arguments:
        traceback.print_exception(error)
    return _fail(failure, [argument for argument in arguments if argument != "--debug"])


def _interrupted(cause: BaseException | None, arguments: Sequence[str]) -> int:
    from scaler.commands.interruption import interruption, sentence

    error = interruption(cause, arguments)
    output = _output_of(arguments)
    if output in (Output.JSON, Output.YAML):
        click.echo(as_document(error, output))
    else:
        print_note(sentence(error))
    return error.exit_code


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def _hang_up(_signal: int, _frame: FrameType | None) -> None:
    raise HungUp


def _output_of(arguments: Sequence[str]) -> Output:
    """The output format that a command line asks for, even one that cannot be parsed."""
    wanted = Output.TEXT.value
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument in ("-o", "--output"):
            wanted = following
        elif argument.startswith("--output="):
            wanted = argument.removeprefix("--output=")
        elif argument.startswith("-o"):
            wanted = argument.removeprefix("-o")
        elif argument == "--":
            break
    return Output(wanted) if wanted in {output.value for output in Output} else Output.TEXT
