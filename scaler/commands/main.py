"""The entry point: run one command line, print what went wrong, return the exit code."""

from __future__ import annotations

import atexit
import gc
import os
import re
import signal
import sys
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import click

from scaler.commands.answers import take_answers
from scaler.commands.cli import cli
from scaler.commands.command_line import last_value
from scaler.commands.context import Output
from scaler.commands.ending import Ending
from scaler.commands.failure import as_document, as_sentence, as_text, unexpected
from scaler.commands.printing import fit_error, print_note
from scaler.commands.streams import prepare_streams, settled
from scaler.errors import ExitCode, HungUp, ScalerError, Terminated, UsageError
from scaler.support.certificates import trust_named_certificates
from scaler.support.text import named, one_line, visible

if TYPE_CHECKING:
    from scaler.commands.round import Ended

_LONGEST_USAGE = 2000
"""Characters of a usage error that are shown: it may quote an argument."""

_OBJECTS_BETWEEN_COLLECTIONS = 100_000

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Those that end a command."""

_LONG_WORD = re.compile(r"[^\s/'\"]{61,}")


def main(argv: Sequence[str] | None = None, held: Collection[signal.Signals] = ()) -> int:
    """Run one command line (default: the process's own) and return its exit code.

    The signals that are `held` back until then may end it from now on.
    """
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
    return _run(arguments, held)


def entry(held: Collection[signal.Signals] = ()) -> None:
    """The console script `scaler`."""
    # Modules make many objects that stay. To look for garbage among them as often as Python does by itself (700) takes
    # a tenth of a command's start.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    # And to free all of them, one by one, before the process ends takes as long as a fifth of a short command.
    atexit.register(gc.freeze)
    prepare_streams()
    trust_named_certificates(os.environ)
    sys.exit(settled(main(held=held)))


def _run(arguments: list[str], held: Collection[signal.Signals]) -> int:
    ending = Ending()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
        code = cli.main(arguments, prog_name="scaler", standalone_mode=False, obj=ending)
        # Before the reports, which have the exit code.
        code = settled(ExitCode.OK if code is None else int(code))
        if ending.result:
            _report(ending.result, code, ending, arguments)
    except (Exception, KeyboardInterrupt) as error:
        return _fail(error, arguments, ending)
    return code


def _fail(error: Exception | KeyboardInterrupt, arguments: Sequence[str], ending: Ending) -> int:
    """Report and print what ended a command, and return its exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return ExitCode.USAGE
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, KeyboardInterrupt):
        # Until Python 3.12, this is what is left of a signal that came while a module made a class.
        error = error.__cause__
    with _undisturbed():
        failure = _failure(error, arguments, ending)
        _report(failure, failure.exit_code, ending, arguments)
    _print(failure, error, arguments)
    return failure.exit_code


def _failure(error: Exception | KeyboardInterrupt, arguments: Sequence[str], ending: Ending) -> ScalerError:
    if isinstance(error, ScalerError):
        return error
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "scaler"
        said = visible(_said(error, arguments)[:_LONGEST_USAGE])
        return UsageError(said, fix=f"Run: {path} --help", code="usage")
    # click wraps Ctrl-C, SIGTERM and an unanswered question in an Abort.
    if isinstance(error, click.Abort | KeyboardInterrupt):
        from scaler.commands.interruption import interruption

        return interruption(error, ending.begun)
    return unexpected(error)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore signals while the block runs: where several come one after the other, the second costs no report."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(ended: Ended | ScalerError, code: int, ending: Ending, arguments: Sequence[str]) -> None:
    try:
        from scaler.commands.reports import report_end

        report_end(ended, code, ending, arguments)
    except Exception as error:
        print_note(f"scaler: warning: no report was written: {one_line(str(unexpected(error)))}")


def _print(failure: ScalerError, error: BaseException, arguments: Sequence[str]) -> None:
    output = _output_of(arguments)
    is_interrupt = isinstance(error, click.Abort | KeyboardInterrupt)
    if output in (Output.JSON, Output.YAML):
        click.echo(as_document(failure, output))
    elif isinstance(error, click.UsageError):
        said = fit_error(failure.what)
        error.format_message = lambda: said  # type: ignore[method-assign]
        error.show()
    else:
        print_note(as_sentence(failure) if is_interrupt else as_text(failure))
    from scaler.commands.github import annotate_error, on_github

    if on_github(os.environ) and not is_interrupt:
        click.echo("\n".join(annotate_error(failure, os.environ)), err=True)
    if "--debug" in arguments and not is_interrupt:
        traceback.print_exception(error)


def _said(error: click.UsageError, arguments: Sequence[str]) -> str:
    """Return click's message. Of what it quotes on several lines, or longer than a name, only the size is said."""
    said = error.format_message()
    for argument in sorted(arguments, key=len, reverse=True):
        for part in (argument, *argument.partition("=")[::2]):
            if "\n" in part.strip():
                said = said.replace(part, named(part)).replace(repr(part)[1:-1], named(part))
    return _LONG_WORD.sub(lambda word: named(word[0]), said)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def _hang_up(_signal: int, _frame: FrameType | None) -> None:
    raise HungUp


def _output_of(arguments: Sequence[str]) -> Output:
    """The output format that a command line asks for, even one that cannot be parsed."""
    wanted = last_value(arguments, "-o", "--output")
    return Output(wanted) if wanted in {output.value for output in Output} else Output.TEXT
