"""Costs by the catalogue, added up exactly."""

from __future__ import annotations

from decimal import Decimal

from fakes import FakeClock, FakeCloud
from test_plan import server

from scaler.clouds import Catalogue, Offer
from scaler.model import Cost
from scaler.prices import cost


def catalogue() -> Catalogue:
    offer = Offer(
        type="cx23",
        location="fsn1",
        available=True,
        per_hour=Decimal("0.0088"),
        per_month=Decimal("5.49"),
        disk=40,
        architecture="x86",
    )
    return Catalogue(currency="EUR", offers=(offer,), ipv4_per_hour=Decimal("0.0008"), ipv4_per_month=Decimal("0.50"))


def test_before_and_after() -> None:
    three = [server(f"prod-worker-{number}") for number in (1, 2, 3)]
    assert cost(catalogue(), three[:1], three) == Cost(
        currency="EUR", per_hour_before=0.0096, per_hour_after=0.0288, per_month_after=17.97
    )


def test_tenths_do_not_drift() -> None:
    ten = [server(f"prod-worker-{number}") for number in range(10)]
    told = cost(FakeCloud(FakeClock()).catalogue(), [], ten)
    assert told is not None
    assert told.per_hour_after == 0.1


def test_nothing_costs_nothing_and_unknown_prices_are_not_invented() -> None:
    told = cost(catalogue(), [], [])
    assert told == Cost(currency="EUR", per_hour_before=0.0, per_hour_after=0.0, per_month_after=0.0)
    assert cost(None, [], [server()]) is None
