"""Threads whose work a signal of the main thread ends, with what is to be done in the end."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from scaler.errors import Terminated
from scaler.support.lanes import Lanes


def test_what_ends_one_ends_no_other_and_is_reported_once() -> None:
    goes_on, ended = threading.Event(), []

    def fail() -> None:
        raise ZeroDivisionError

    with Lanes() as lanes:
        lanes.start("broken", fail)
        lanes.start("good", lambda: ended.append(goes_on.wait(60)))
        while "broken" in lanes.running:
            pass
        assert lanes.running == {"good"}
        assert [type(error) for error in lanes.take_failures().values()] == [ZeroDivisionError]
        assert lanes.take_failures() == {}
        goes_on.set()
        lanes.join()
    assert ended == [True]


def test_an_interrupt_ends_all_work_as_it_ends_the_main_thread() -> None:
    begun, ends = threading.Barrier(3), []

    def wait_for_a_process(name: str) -> None:
        """As a run waits for its engine."""
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        try:
            begun.wait(60)
            process.wait(600)
        except KeyboardInterrupt as interrupt:
            ends.append((name, type(interrupt), threading.current_thread().name))
            raise
        finally:
            process.kill()
            process.wait()

    with pytest.raises(Terminated), Lanes() as lanes:
        for name in ("prod", "test"):
            lanes.start(name, lambda name=name: wait_for_a_process(name))  # type: ignore[misc]
        begun.wait(60)
        raise Terminated
    assert sorted(ends) == [("prod", Terminated, "lane-prod"), ("test", Terminated, "lane-test")]
    assert lanes.running == frozenset()
