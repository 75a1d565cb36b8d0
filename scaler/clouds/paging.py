"""Read a list that comes in pages while others create and delete."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Generic, TypeVar

from scaler.support.values import dataclass

T = TypeVar("T")

_PASSES = 3
_AT_ONCE = 8
"""How many pages are asked for side by side."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page: its items by id, whether there is another, and how many items the whole list has."""

    items: Sequence[tuple[int | str, T]]
    more: bool
    total: int | None


def read_all(fetch: Callable[[int], Page[T]]) -> list[T]:
    """Return every item once. `fetch` takes a page's number, from 1.

    A deletion during the reading moves an item to a page that was already read. The pages then hold
    fewer items than the total says, and the list is read again. If it changes during three passes,
    the result is everything that they found together.
    """
    found: dict[int | str, T] = {}
    for _ in range(_PASSES):
        items, complete = _read_pages(fetch)
        if complete:
            return list(items.values())
        found |= items
    return list(found.values())


def _read_pages(fetch: Callable[[int], Page[T]]) -> tuple[dict[int | str, T], bool]:
    """Read all pages once; return the items, and whether none can have moved meanwhile."""
    items: dict[int | str, T] = {}
    totals: set[int | None] = set()
    read, more, ahead = 0, True, 1
    while more:
        before = len(items)
        for page in _fetch_many(fetch, range(read + 1, read + 1 + ahead)):
            items |= dict(page.items)
            totals.add(page.total)
            # Stop at an API that repeats its last page for ever.
            more = page.more and len(items) > before
        read += ahead
        ahead = min(_AT_ONCE, max(1, _pages_of(page) - read))
    return items, read == 1 or totals <= {len(items), None}


def _pages_of(page: Page[T]) -> int:
    """Return how many pages the list has, by one that is full; 0 if the vendor does not say."""
    return math.ceil(page.total / len(page.items)) if page.total and page.items else 0


def _fetch_many(fetch: Callable[[int], Page[T]], numbers: Sequence[int]) -> Iterable[Page[T]]:
    """Return these pages in order, fetched side by side."""
    if len(numbers) == 1:
        return [fetch(numbers[0])]
    # Each thread gets this thread's context: what cancels its work.
    contexts = [copy_context() for _ in numbers]
    with ThreadPoolExecutor(len(numbers)) as pool:
        return list(pool.map(lambda context, number: context.run(fetch, number), contexts, numbers))
