"""Lists that come in pages: every item once, whatever changes meanwhile, and side by side where the total is known."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.clouds.paging import Page, read_all
from scaler.support.cancellation import cancelled_by, is_cancelled

SIZE = 50


@dataclass
class Listing:
    """An API's list of numbers, and which of its pages were asked for."""

    numbers: list[int]
    tells_total: bool = True
    asked: list[int] = field(default_factory=list)
    before: Callable[[int], None] = lambda page: None

    def fetch(self, page: int) -> Page[int]:
        self.before(page)
        self.asked.append(page)
        numbers = self.numbers[(page - 1) * SIZE : page * SIZE]
        total = len(self.numbers)
        more = page * SIZE < total
        return Page([(number, number) for number in numbers], more, total if self.tells_total else None)


@given(st.integers(0, 1100), st.booleans())
def test_every_item_once_and_every_page_once(count: int, tells_total: bool) -> None:
    listing = Listing(list(range(count)), tells_total)
    assert read_all(listing.fetch) == list(range(count))
    assert sorted(listing.asked) == list(range(1, max(1, -(-count // SIZE)) + 1))


def test_pages_are_fetched_side_by_side() -> None:
    """Each of eight pages is answered only when all eight are asked for."""
    together = threading.Barrier(8, timeout=30)

    def meet(page: int) -> None:
        if page > 1:
            together.wait()

    listing = Listing(list(range(9 * SIZE)), before=meet)
    assert read_all(listing.fetch) == list(range(9 * SIZE))


def test_an_item_that_moves_to_a_page_that_was_read_is_found_in_the_next_pass() -> None:
    listing = Listing(list(range(3 * SIZE)))

    def delete_the_first(page: int) -> None:
        if page == 2 and listing.numbers[0] == 0:
            del listing.numbers[0]

    listing.before = delete_the_first
    assert set(read_all(listing.fetch)) >= set(range(1, 3 * SIZE))


@pytest.mark.parametrize("total", [None, 10**9])
def test_an_api_that_repeats_its_last_page_for_ever_ends(total: int | None) -> None:
    asked = []

    def fetch(page: int) -> Page[int]:
        asked.append(page)
        return Page([(number, number) for number in range(SIZE)], True, total)

    assert read_all(fetch) == list(range(SIZE))
    assert len(asked) < 40


def test_a_cancelled_reading_is_cancelled_on_every_page() -> None:
    event = threading.Event()
    event.set()
    seen = []
    listing = Listing(list(range(5 * SIZE)), before=lambda page: seen.append(is_cancelled()))
    with cancelled_by(event):
        read_all(listing.fetch)
    assert seen == [True] * 5


def test_a_page_that_fails_is_the_error_of_the_list() -> None:
    def fail(page: int) -> None:
        if page == 4:
            raise ValueError(page)

    with pytest.raises(ValueError, match="4"):
        read_all(Listing(list(range(9 * SIZE)), before=fail).fetch)
