"""Several requests at the same time, in threads that keep no process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def at_once(ask: Callable[[T], R], things: Iterable[T], most: int, name: str) -> list[R]:
    """Return the answers for all things, in their order. Raise the first error that there was.

    Python waits for the threads of its own pools before it exits, also for one whose server never
    stops to answer slowly.
    """
    left: SimpleQueue[tuple[int, T]] = SimpleQueue()
    for one in enumerate(things):
        left.put(one)
    answers: dict[int, R] = {}
    errors: list[Exception] = []

    def work() -> None:
        while not errors:
            try:
                index, thing = left.get_nowait()
            except Empty:
                return
            try:
                answers[index] = ask(thing)
            except Exception as error:
                errors.append(error)

    threads = [
        threading.Thread(target=work, name=f"{name}-{number}", daemon=True) for number in range(min(most, left.qsize()))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [answers[index] for index in sorted(answers)]
