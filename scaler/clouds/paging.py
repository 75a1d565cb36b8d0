"""Read a list that comes in pages while others create and delete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_PASSES = 3


@dataclass(frozen=True, slots=True)
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
    number, more = 0, True
    while more:
        number += 1
        page = fetch(number)
        before = len(items)
        items |= dict(page.items)
        totals.add(page.total)
        # Stop at an API that repeats its last page for ever.
        more = page.more and len(items) > before
    return items, number == 1 or totals <= {len(items), None}
