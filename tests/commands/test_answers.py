"""Questions to a person at a terminal, and the signals and ends that come instead of an answer."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.commands.test_main import CLEAN, probe_command

WITHIN_S = 60.0
"""Only a hang takes so long."""

ASKING = """
import click, sys, signal
from scaler.commands.answers import take_answers

def end(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGUSR1, lambda *_: None)
take_answers()
for number in range(int(sys.argv[1])):
    try:
        said = click.prompt(f"Question {number}", err=True)
    except click.Abort:
        said = "no answer"
    print(f"<{said}>", flush=True)
"""


class Terminal:
    """The other end of a terminal."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self.descriptor = descriptor
        self.process = process
        self._shown = b""

    def read_until(self, wanted: bytes) -> None:
        """Read what the process shows, up to this."""
        end = time.monotonic() + WITHIN_S
        while wanted not in self._shown:
            assert select.select([self.descriptor], [], [], max(0.0, end - time.monotonic()))[0], self._shown
            self._shown += os.read(self.descriptor, 4096)
        self._shown = self._shown.partition(wanted)[2]

    def type(self, text: bytes) -> None:
        os.write(self.descriptor, text)


@contextmanager
def asked(command: list[str]) -> Iterator[Terminal]:
    here, there = pty.openpty()
    process = subprocess.Popen(command, env=CLEAN, stdin=there, stdout=there, stderr=there)
    os.close(there)
    terminal = Terminal(here, process)
    try:
        yield terminal
        assert process.wait(timeout=WITHIN_S) is not None
    finally:
        process.kill()
        process.wait()
        os.close(terminal.descriptor)


def test_a_signal_at_any_moment_of_a_question_ends_it() -> None:
    """One that comes right after the question was lost in about one of thirty."""
    times = 300
    with asked([sys.executable, "-c", ASKING, str(times)]) as terminal:
        for number in range(times):
            terminal.read_until(f"Question {number}".encode())
            terminal.process.send_signal(signal.SIGTERM)
            terminal.read_until(b"<no answer>")


def test_answers_in_lines() -> None:
    with asked([sys.executable, "-c", ASKING, "4"]) as terminal:
        terminal.read_until(b"Question 0: ")
        # A signal that ends nothing leaves the question as it is.
        terminal.process.send_signal(signal.SIGUSR1)
        terminal.type(b"caf\xc3\xa9 \xff\nthe next\n")
        terminal.read_until("<café �>".encode())
        terminal.read_until(b"Question 1: ")
        terminal.read_until(b"<the next>")
        terminal.read_until(b"Question 2: ")
        terminal.type(b"wrong\x15right\n")
        terminal.read_until(b"<right>")
        terminal.read_until(b"Question 3: ")
        terminal.type(b"\x04")
        terminal.read_until(b"<no answer>")


def test_the_answers_of_a_pipe_end_without_a_last_line_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASKING, "3"],
        env=CLEAN, input=b"one\ntwo", capture_output=True, check=False, timeout=WITHIN_S,
    )  # fmt: skip
    assert done.stdout == b"<one>\n<two>\n<no answer>\n"


def test_a_terminal_that_goes_away_at_a_question_is_no_answer() -> None:
    # With SIGHUP ignored, as by `nohup`, only the read tells of it.
    body = "signal.signal(signal.SIGHUP, signal.SIG_IGN); click.confirm('Sure?', err=True)"
    command = probe_command(f"import signal; {body}")
    with asked(command) as terminal:
        terminal.read_until(b"Sure?")
        os.close(terminal.descriptor)
        terminal.descriptor = os.open(os.devnull, os.O_RDONLY)
        assert terminal.process.wait(timeout=WITHIN_S) == 130


@pytest.mark.parametrize("command", ["destroy", "snapshot web-1"])
def test_without_standard_input_nobody_is_asked(command: str) -> None:
    shell = f'"$0" -m scaler {command} <&-'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable], env=CLEAN, capture_output=True, text=True, check=False, timeout=WITHIN_S
    )
    assert done.returncode == 64
    assert done.stderr.startswith("Error: Nobody can be asked here")
    assert "Add --yes." in done.stderr
