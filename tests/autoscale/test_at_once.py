"""Requests at the same time, and the end of the process that waits for none."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from scaler.autoscale.metrics.at_once import at_once


def test_answers_are_in_order_and_no_more_are_asked_at_once_than_allowed() -> None:
    names = set()

    def ask(number: int) -> int:
        names.add(threading.current_thread().name)
        return number * 2

    assert at_once(ask, range(50), 3, "a") == [number * 2 for number in range(50)]
    assert names <= {"a-0", "a-1", "a-2"}
    assert at_once(ask, [], 3, "a") == []


def test_an_error_is_raised_and_ends_the_rest() -> None:
    asked = []

    def ask(number: int) -> float:
        asked.append(number)
        return 1 / number

    with pytest.raises(ZeroDivisionError):
        at_once(ask, [1, 0, 2, 3], 1, "a")
    assert asked == [1, 0]


def test_a_request_without_an_answer_keeps_no_process_alive() -> None:
    code = """
import threading, time
from scaler.autoscale.metrics.at_once import at_once
begun = threading.Event()
ask = lambda number: (begun.set(), time.sleep(600))
threading.Thread(target=at_once, args=(ask, [1, 2], 2, "a"), daemon=True).start()
begun.wait()
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
