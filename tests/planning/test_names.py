"""The order in which people read names."""

from __future__ import annotations

from scaler.planning.names import as_words, natural


def test_numbers_are_in_the_order_of_numbers() -> None:
    assert as_words(["prod-web-10", "prod-web-2", "prod-web-10", "prod-app-11"]) == "prod-app-11 prod-web-2 prod-web-10"
    assert sorted(["prod-web-10", "prod-web-2.4711", "prod-web-2"], key=natural) == [
        *("prod-web-2", "prod-web-2.4711", "prod-web-10"),
    ]
