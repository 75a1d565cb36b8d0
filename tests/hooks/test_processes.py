"""The bounds of commands: their output, their time, and what they leave behind."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from scaler.hooks.processes import CommandProcess, ask_command, run_command
from tests.support.processes import is_alive, wait_until

_MOST_KEPT = 600


def kept_on_disk() -> int:
    """Bytes of the files without a name that this process has open."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # The folder itself was open while it was listed.
            found += link.stat().st_size if str(link.readlink()).endswith("(deleted)") else 0
    return found


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def output_threads() -> int:
    return sum(thread.name == "output" for thread in threading.enumerate())


def test_a_command_that_writes_without_end_fills_neither_disk_nor_memory(tmp_path: Path) -> None:
    process = CommandProcess(["sh", "-c", "touch began; exec yes"], tmp_path)
    wait_until((tmp_path / "began").exists, "the command")
    assert process.ended() is None
    assert kept_on_disk() < 100_000
    assert len(process.end()) < _MOST_KEPT
    assert output_threads() == 0


def test_a_child_that_goes_on_writing_is_killed_and_delays_nothing(tmp_path: Path) -> None:
    words = ["sh", "-c", "yes & echo $! > child; exit 3"]
    problem = run_command(words, tmp_path, 30)
    assert problem is not None
    assert problem.startswith("ended with 3")
    assert len(problem) < _MOST_KEPT
    wait_until(lambda: not is_alive(int((tmp_path / "child").read_text())), "the child's end")


def test_a_child_in_a_session_of_its_own_may_live_but_is_not_listened_to(tmp_path: Path) -> None:
    """It is the way to start something that outlives the command."""
    words = ["sh", "-c", "setsid sh -c 'echo $$ > child; exec yes' & while ! [ -s child ]; do sleep 0.01; done"]
    assert run_command(words, tmp_path, 30) is None
    assert output_threads() == 0
    # It writes to a pipe that nobody reads.
    wait_until(lambda: not is_alive(int((tmp_path / "child").read_text())), "the child's end")


def test_a_child_that_is_silent_does_not_hide_what_the_command_printed(tmp_path: Path) -> None:
    done = ask_command(["sh", "-c", "sleep 1000 & echo $! > child; echo 7"], tmp_path, 30, largest=100)
    assert (done.code, done.output, done.too_long) == (0, b"7\n", False)
    wait_until(lambda: not is_alive(int((tmp_path / "child").read_text())), "the child's end")


def test_the_beginning_of_what_was_asked_for_is_kept_and_that_there_was_more(tmp_path: Path) -> None:
    done = ask_command(["sh", "-c", "exec yes"], tmp_path, 30, largest=3)
    assert (done.code, done.output, done.too_long) == (None, b"y\ny", True)
    done = ask_command(["printf", "abc"], tmp_path, 30, largest=3)
    assert (done.code, done.output, done.too_long) == (0, b"abc", False)
    done = ask_command(["printf", "abcd"], tmp_path, 30, largest=3)
    assert (done.output, done.too_long) == (b"abc", True)


def test_a_command_that_cannot_be_started_leaves_no_descriptor_open(tmp_path: Path) -> None:
    run_command(["true"], tmp_path, 30)  # The first one has the guardian started, which has a pipe.
    before = open_descriptors()
    for _ in range(3):
        assert run_command(["/no/such/program"], tmp_path, 1) == "cannot be run: No such file or directory"
    assert open_descriptors() == before


def test_without_input_no_temporary_file_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert run_command(["cat"], tmp_path, 30) is None
