"""ProgressDisplay: exact log lines, a live view that says no less, and streams that go away."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time

import click
import pytest

from scaler.output.progress import HEARTBEAT, LiveProgress, PlainProgress, ProgressDisplay, QuietProgress, open_progress
from scaler.support.clock import SystemClock


class HandClock(SystemClock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def plain(color: bool = False) -> tuple[ProgressDisplay, io.StringIO, HandClock]:
    stream, clock = io.StringIO(), HandClock()
    return open_progress(stream, interactive=False, quiet=False, color=color, clock=clock), stream, clock


def show_a_run(progress: ProgressDisplay, clock: SystemClock) -> None:
    """A scale-up from 3 to 5, polled each second."""
    progress.phase("observing")
    progress.note("prod: 3 ready of 3, want 5")
    progress.phase("applying")
    progress.server("prod-worker-4", "starting")
    progress.server("prod-worker-5", "starting", "cx22, since cx23 has no capacity")
    progress.phase("confirming")
    for second in range(1, 64):
        clock.sleep(1)
        progress.server("prod-worker-4", "running" if second >= 41 else "starting")
        progress.server("prod-worker-5", "running" if second >= 63 else "starting")
        progress.waiting(3 + (second >= 41) + (second >= 63), 5)
    progress.warn("the event log is full")
    progress.phase("recording")


# ---------------------------------------------------------------------------------------------
# Logs

LOG = """\
scaler: observing
scaler: prod: 3 ready of 3, want 5
scaler: applying
scaler: prod-worker-4 starting
scaler: prod-worker-5 starting: cx22, since cx23 has no capacity
scaler: confirming
scaler: still waiting: 3 of 5 ready (30s)
scaler: prod-worker-4 running (41s)
scaler: prod-worker-5 running (63s)
scaler: warning: the event log is full
scaler: recording
"""


def test_log_has_one_line_per_change() -> None:
    progress, stream, clock = plain()
    with progress:
        show_a_run(progress, clock)
    assert stream.getvalue() == LOG


def test_heartbeat_breaks_every_half_minute_of_silence() -> None:
    progress, stream, clock = plain()
    for _ in range(1, 121):
        clock.sleep(1)
        progress.waiting(3, 5)
    assert stream.getvalue().splitlines() == [
        f"scaler: still waiting: 3 of 5 ready ({seconds}s)" for seconds in (30, 60, 90, 120)
    ]


def test_seconds_count_anew_after_a_server_was_finished() -> None:
    progress, stream, clock = plain()
    for status in ("running", "rebooting", "running", "stopping", "deleting", "deleted"):
        clock.sleep(10)
        progress.server("prod-worker-1", status)
    assert stream.getvalue().splitlines() == [
        "scaler: prod-worker-1 running",
        "scaler: prod-worker-1 rebooting",
        "scaler: prod-worker-1 running (10s)",
        "scaler: prod-worker-1 stopping",
        "scaler: prod-worker-1 deleting (10s)",
        "scaler: prod-worker-1 deleted (20s)",
    ]


def test_another_sides_words_stay_on_one_line() -> None:
    progress, stream, _ = plain()
    progress.server("prod-worker-1", "errored", "quota:\n  \x1b[31mserver limit\r reached")
    assert stream.getvalue() == "scaler: prod-worker-1 errored: quota: \\x1b[31mserver limit reached\n"


def test_colour_in_a_log_only_repeats_the_words() -> None:
    progress, stream, clock = plain(color=True)
    show_a_run(progress, clock)
    assert click.style("prod-worker-4 running (41s)", fg="green") in stream.getvalue()
    assert click.unstyle(stream.getvalue()) == LOG


def test_quiet_shows_warnings_only() -> None:
    stream, clock = io.StringIO(), HandClock()
    with open_progress(stream, interactive=True, quiet=True, color=False, clock=clock) as progress:
        show_a_run(progress, clock)
    assert stream.getvalue() == "scaler: warning: the event log is full\n"


# ---------------------------------------------------------------------------------------------
# Terminals


def live(stream: io.StringIO, clock: SystemClock, color: bool = False) -> ProgressDisplay:
    return open_progress(stream, interactive=True, quiet=False, color=color, clock=clock)


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "10")


def test_live_keeps_what_has_to_be_seen_and_ends_with_a_clean_terminal() -> None:
    stream, clock = io.StringIO(), HandClock()
    with live(stream, clock) as progress:
        show_a_run(progress, clock)
        progress.server("prod-worker-6", "errored", "quota")
    kept = [line.strip() for line in click.unstyle(stream.getvalue()).splitlines()]
    assert "prod: 3 ready of 3, want 5" in kept
    assert "prod-worker-6 errored: quota" in kept
    assert "warning: the event log is full" in kept
    # The bar counts those that are ready.
    assert not any("running" in line for line in kept)
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 1  # cursor hidden, shown


def test_live_redraws_what_is_not_ready_with_a_bar_and_one_clock() -> None:
    stream, clock = io.StringIO(), HandClock()
    with live(stream, clock) as progress:
        progress.phase("observing")
        clock.sleep(5)
        progress.phase("confirming")
        progress.server("prod-worker-4", "starting", "the cloud says [initializing], and a lot more")
        clock.sleep(7)
        progress.waiting(3, 5)
        drawn_soon(stream, "starting prod-worker-4: the cloud says [initializing], an…")
        drawn_soon(stream, "3 of 5 ready (12s) ━━━━━━━━━━━━━━━━━━")


def test_live_folds_many_servers_into_a_line() -> None:
    stream, clock = io.StringIO(), HandClock()
    with live(stream, clock) as progress:
        progress.phase("confirming")
        for number in range(1, 61):
            progress.server(f"prod-worker-{number}", "starting", "60 are wanted")
        for number in (1, 2, 7):
            progress.server(f"prod-worker-{number}", "running")
        drawn_soon(stream, "starting prod-worker-3 … -6, -8 … -60: 60 are wanted")


def test_live_cuts_to_the_terminals_height() -> None:
    stream, clock = io.StringIO(), HandClock()
    with live(stream, clock) as progress:
        progress.phase("confirming")
        for number in range(200):
            progress.server(f"prod-worker-{number}", "starting", f"reason {number}")
        drawn_soon(stream, "and 193 more")
    assert "prod-worker-7:" not in stream.getvalue()


def test_the_time_of_a_question_is_not_the_runs() -> None:
    progress, stream, clock = plain()
    progress.phase("planning")
    clock.sleep(10)
    progress.stop()
    clock.sleep(3600)
    progress.phase("applying")
    clock.sleep(HEARTBEAT)
    progress.waiting(0, 2)
    assert stream.getvalue().splitlines()[-1] == "scaler: still waiting: 0 of 2 ready (40s)"


def test_live_gives_the_terminal_away_for_a_question_and_comes_back() -> None:
    stream, clock = io.StringIO(), HandClock()
    with live(stream, clock) as progress:
        progress.phase("planning")
        progress.stop()
        asked = len(stream.getvalue())
        assert stream.getvalue().endswith("\x1b[2K")
        progress.phase("applying")
        drawn_soon(stream, "applying", after=asked)


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(live(io.StringIO(), HandClock()), PlainProgress)


def drawn_soon(stream: io.StringIO, text: str, after: int = 0) -> None:
    """Wait for the next redraw, which comes four times a second."""
    for _ in range(200):
        if text in stream.getvalue()[after:]:
            return
        time.sleep(0.05)
    raise AssertionError(f"{text!r} was never drawn: {stream.getvalue()[after:]!r}")


# ---------------------------------------------------------------------------------------------
# Streams that go away, and threads

KINDS = [QuietProgress, PlainProgress, LiveProgress]


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_that_went_away_does_not_stop_the_run(kind: type[ProgressDisplay]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", buffering=1)
    clock = HandClock()
    with kind(stream, color=False, clock=clock) as progress:
        show_a_run(progress, clock)
    with pytest.raises(BrokenPipeError):
        stream.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_stream_does_not_stop_the_run(kind: type[ProgressDisplay]) -> None:
    stream = io.StringIO()
    stream.close()
    clock = HandClock()
    with kind(stream, color=False, clock=clock) as progress:
        show_a_run(progress, clock)


@pytest.mark.parametrize("kind", [PlainProgress, LiveProgress])
def test_threads_neither_mix_their_lines_nor_lock_each_other(kind: type[ProgressDisplay]) -> None:
    stream, clock = io.StringIO(), HandClock()

    def show(thread: int) -> None:
        for number in range(50):
            progress.server(f"server-{thread}-{number}", "starting")
            progress.server(f"server-{thread}-{number}", "errored")

    with kind(stream, color=False, clock=clock) as progress:
        threads = [threading.Thread(target=show, args=(thread,), daemon=True) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert not any(thread.is_alive() for thread in threads)
    lines = [line.strip().removeprefix("scaler: ") for line in click.unstyle(stream.getvalue()).splitlines()]
    finished = [line for line in lines if line.endswith(" errored")]
    assert sorted(finished) == sorted(f"server-{t}-{n} errored" for t in range(4) for n in range(50))


def test_plain_progress_does_not_load_rich() -> None:
    script = (
        "import sys; from scaler.support.clock import SystemClock; from scaler.output.progress import open_progress; "
        "open_progress(sys.stderr, interactive=False, quiet=False, color=False, clock=SystemClock()).phase('x'); "
        "print('rich' in sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (loaded.stdout, loaded.stderr) == ("False\n", "scaler: x\n")
