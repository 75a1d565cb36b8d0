"""What a server's id, name and addresses can be, whichever cloud or file says so."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from scaler.clouds import Image, Offer
from scaler.errors import ExitCode, UnsoundError
from scaler.model import Machine, StackEntry
from scaler.model.lifecycle import Phase


def machine(**facts: Any) -> Machine:
    usual: dict[str, Any] = {"id": "vm:4.a_b", "name": "Web_1.example.com", "labels": {"a": "b"}, "image": None}
    return Machine(
        **usual | facts,
        phase=Phase.RUNNING,
        vendor_status="up",
        type="small",
        location="here",
        created=datetime(2026, 11, 24, tzinfo=UTC),
    )


def test_a_cloud_of_others_may_have_ids_that_are_no_numbers_and_names_as_people_give_them() -> None:
    assert machine(ipv4="203.0.113.7", ipv6="2001:db8::1", private_ip="fd00::7").id == "vm:4.a_b"


@pytest.mark.parametrize(
    "facts",
    [{"id": "-o"}, {"id": "a/b"}, {"id": "a\nb"}, {"id": "7" * 101}, {"id": 7}, {"name": "-v"}, {"ipv4": "localhost"}],
    ids=repr,
)
def test_what_no_server_has_is_refused_whichever_cloud_says_so(facts: dict[str, Any]) -> None:
    with pytest.raises(UnsoundError, match=f"machine.{next(iter(facts))} cannot be") as refused:
        machine(**facts)
    assert refused.value.exit_code is ExitCode.UNAVAILABLE


def test_an_offer_and_an_image_have_texts_where_texts_are_promised() -> None:
    free: dict[str, Any] = {"per_hour": Decimal(0), "per_month": Decimal(0), "disk": 10, "available": True}
    with pytest.raises(UnsoundError, match=r"offer.type cannot be \[7\]"):
        Offer(type=[7], location="here", architecture="x86", **free)  # type: ignore[arg-type]
    made: dict[str, Any] = {"created": datetime(2026, 11, 24, tzinfo=UTC), "available": True, "disk": 10}
    with pytest.raises(UnsoundError, match=r"image\.name"):
        Image(id="7", name={}, architecture="x86", **made)  # type: ignore[arg-type]


def test_an_entry_of_the_engine_is_checked_too() -> None:
    assert StackEntry("prod-worker-1", "worker", "", {}).id == ""
    for name, number in (("-oProxyCommand=x", "7"), ("prod-worker-1", "7/../8")):
        with pytest.raises(UnsoundError):
            StackEntry(name, "worker", number, {})
