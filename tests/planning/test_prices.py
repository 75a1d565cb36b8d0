"""Costs by the catalogue, added up exactly, and bills by the clouds' own rules."""

from __future__ import annotations

import calendar
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.autoscale.billing import bill
from scaler.clouds import Catalogue, Offer
from scaler.model import Action, Cost, Price, Server, Step
from scaler.model.lifecycle import Status
from scaler.planning.prices import Priced, coming, cost, existing, paid_left, price_of, recorded_cost, unpriced
from tests.support.fakes import START, TYPES, FakeClock, FakeCloud, group, spec
from tests.support.worlds import server


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


def with_address(number: int) -> Priced:
    return existing(replace(server(f"prod-worker-{number}"), ipv4=f"192.0.2.{number}"))


def test_before_and_after() -> None:
    three = [with_address(number) for number in (1, 2, 3)]
    assert cost(catalogue(), three[:1], three) == Cost(
        currency="EUR", per_hour_before=0.0096, per_hour_after=0.0288, per_month_before=5.99, per_month_after=17.97
    )


def test_only_a_public_ipv4_address_is_paid_for() -> None:
    bare = existing(server())
    told = cost(catalogue(), [bare], [bare, with_address(2)])
    assert told is not None
    assert (told.per_month_before, told.per_month_after) == (5.49, 11.48)


@pytest.mark.parametrize("public", [True, False])
def test_a_new_server_is_priced_as_it_will_be(public: bool) -> None:
    step = Step(action=Action.CREATE, server="prod-worker-1", group="worker", reason="", type=TYPES[0], location="fsn1")
    assert coming(spec(group(public_ipv4=public)), step) == Priced("cx23", "fsn1", ipv4=public)


def test_tenths_do_not_drift() -> None:
    ten = [existing(server(f"prod-worker-{number}")) for number in range(10)]
    told = cost(FakeCloud(FakeClock()).catalogue(), [], ten)
    assert told is not None
    assert told.per_hour_after == 0.1


def test_nothing_costs_nothing_and_unknown_prices_are_not_invented() -> None:
    told = cost(catalogue(), [], [])
    assert told == Cost("EUR", per_hour_before=0.0, per_hour_after=0.0, per_month_before=0.0, per_month_after=0.0)
    unsold = cost(catalogue(), [], [Priced("cpx11", "fsn1", ipv4=True)])
    assert unsold == told
    assert cost(None, [], [existing(server())]) is None


def test_a_withdrawn_type_costs_what_its_record_says() -> None:
    """V1: Hetzner takes a withdrawn type out of its prices, and goes on to bill the servers that have it."""
    price = Price("EUR", Decimal("0.0080"), Decimal("4.99"))
    withdrawn = existing(replace(server(), type="cpx11", price=price))
    assert price_of(catalogue(), withdrawn) == price
    told = cost(catalogue(), [withdrawn], [withdrawn, withdrawn])
    assert told is not None
    assert (told.per_hour_before, told.per_hour_after) == (0.008, 0.016)
    foreign = existing(replace(server(), type="cpx11", price=replace(price, currency="USD")))
    assert price_of(catalogue(), foreign) is None


def test_what_has_no_price_is_named_and_a_price_without_a_cap_costs_all_hours() -> None:
    priced = existing(replace(server(), type="cpx11", price=Price("EUR", Decimal("0.01"))))
    unknown, undecided = Priced("cpx21", "nbg1", ipv4=True), Priced("", "", ipv4=True)
    assert unpriced(catalogue(), [priced, unknown, with_address(1), unknown, undecided]) == ("cpx21 in nbg1",)
    assert unpriced(None, [unknown]) == ()
    told = cost(catalogue(), [], [priced])
    assert told is not None
    assert told.per_month_after == 7.44


def test_a_server_s_price_has_its_address_and_no_idle_noughts() -> None:
    padded = replace(catalogue(), ipv4_per_hour=Decimal("0.0012000000"))
    assert price_of(padded, with_address(1)) == Price("EUR", Decimal("0.0100"), Decimal("5.99"))
    assert str(price_of(padded, with_address(1)).per_hour) == "0.01"  # type: ignore[union-attr]
    assert price_of(padded, existing(server())) == Price("EUR", Decimal("0.0088"), Decimal("5.49"))
    assert price_of(padded, Priced("cpx11", "fsn1", ipv4=True)) is None


# ---------------------------------------------------------------------------------------------
# What the records say

AMOUNTS = st.integers(min_value=0, max_value=10**7).map(lambda number: Decimal(number) / 10**5)


@st.composite
def recorded(draw: st.DrawFn) -> list[Server]:
    """Servers in any status, with and without a machine, some priced, some before the account's currency changed."""
    priced = st.builds(Price, st.sampled_from(["EUR", "EUR", "USD"]), AMOUNTS, st.none() | AMOUNTS)
    return [
        replace(server(f"prod-worker-{number}", status), id=machine, price=draw(st.none() | priced))
        for number, (status, machine) in enumerate(
            draw(st.lists(st.tuples(st.sampled_from(Status), st.none() | st.just("7")), max_size=30))
        )
    ]


@given(recorded())
def test_the_records_sum_is_exact_and_misses_none_that_is_paid_for(servers: list[Server]) -> None:
    told = recorded_cost(servers)
    paid = [item for item in servers if item.id and item.status not in (Status.DELETING, Status.DELETED)]
    known = [item.price for item in paid if item.price and item.price.currency == told.currency]
    assert (told.known, told.known + told.unknown) == (len(known), len(paid))
    assert (told.currency is None) == (not any(item.price for item in paid))
    # The nearest number to the exact sum, however many there are.
    assert told.per_hour == float(sum(price.per_hour for price in known))
    assert told.per_month == float(sum(price.per_month or 0 for price in known))


@given(st.lists(st.booleans(), max_size=40))
def test_the_records_sum_is_the_plan_s_sum_of_the_same_servers(addresses: list[bool]) -> None:
    servers = [
        replace(server(f"prod-worker-{number}"), ipv4="192.0.2.1" if has else None)
        for number, has in enumerate(addresses)
    ]
    planned = cost(catalogue(), map(existing, servers), [])
    assert planned is not None
    told = recorded_cost([replace(item, price=price_of(catalogue(), existing(item))) for item in servers])
    assert (told.per_hour, told.per_month) == (planned.per_hour_before, planned.per_month_before)


# ---------------------------------------------------------------------------------------------
# The billing rules: at Hetzner started hours up to the monthly price, at DigitalOcean seconds, at
# least a minute and a cent, up to 672 hours; both per calendar month and server

MONTH = datetime(2026, 3, 1, tzinfo=UTC)
LENGTH_S = 31 * 24 * 3600
MILLS = st.integers(min_value=1, max_value=2000).map(lambda number: Decimal(number) / 10000)
SECONDS = st.integers(min_value=1, max_value=LENGTH_S)


def billed(cloud: str, price: Price, seconds: int, start: datetime = MONTH) -> Decimal:
    return bill(cloud, price, [(start, start + timedelta(seconds=seconds))])


@given(per_hour=MILLS, hours=st.integers(min_value=0, max_value=743), rest=st.integers(min_value=1, max_value=3600))
def test_hetzner_a_started_hour_is_a_whole_one_up_to_the_monthly_price(
    per_hour: Decimal, hours: int, rest: int
) -> None:
    price = Price("EUR", per_hour, per_hour * 624)
    assert billed("hetzner", price, hours * 3600 + rest) == per_hour * min(hours + 1, 624)


@given(per_hour=MILLS, seconds=SECONDS)
def test_digitalocean_seconds_with_a_least_and_a_most(per_hour: Decimal, seconds: int) -> None:
    price = Price("USD", per_hour, per_hour * 672)
    told = billed("digitalocean", price, seconds)
    if seconds >= 672 * 3600:
        assert told == per_hour * 672
    elif seconds <= 60:
        assert told == max(Decimal("0.01"), per_hour / 60)
    else:
        assert abs(told - max(Decimal("0.01"), per_hour * seconds / 3600)) < Decimal("1e-20")


@given(cloud=st.sampled_from(["hetzner", "digitalocean"]), first=SECONDS, second=SECONDS, per_hour=MILLS)
def test_who_lives_longer_never_costs_less(cloud: str, first: int, second: int, per_hour: Decimal) -> None:
    price = Price("EUR", per_hour, per_hour * 640)
    short, long = sorted((first, second))
    assert billed(cloud, price, short) <= billed(cloud, price, long) <= price.per_hour * 640


@given(
    cloud=st.sampled_from(["hetzner", "digitalocean"]),
    month=st.integers(min_value=1, max_value=11),
    per_hour=MILLS,
)
def test_each_month_has_its_own_most(cloud: str, month: int, per_hour: Decimal) -> None:
    price = Price("EUR", per_hour, per_hour * 600)
    start = datetime(2026, month, 1, tzinfo=UTC)
    days = calendar.monthrange(2026, month)[1] + calendar.monthrange(2026, month + 1)[1]
    assert billed(cloud, price, days * 24 * 3600, start) == per_hour * 600 * 2


# ---------------------------------------------------------------------------------------------
# What is paid already


@given(seconds=st.integers(min_value=0, max_value=10_000_000))
def test_hetzner_is_paid_until_the_started_hour_is_over(seconds: int) -> None:
    now = START + timedelta(seconds=seconds)
    left = paid_left("hetzner", START, now)
    assert timedelta(0) < left <= timedelta(hours=1)
    price = Price("EUR", Decimal(1))
    paid = bill("hetzner", price, [(START, now + timedelta(seconds=1))])
    month_over = (now + left + timedelta(seconds=1)).month != now.month or START.month != now.month
    if not month_over:
        assert bill("hetzner", price, [(START, now + left)]) == paid
        assert bill("hetzner", price, [(START, now + left + timedelta(seconds=1))]) == paid + 1


def test_digitalocean_is_paid_by_the_second() -> None:
    assert paid_left("digitalocean", START, START + timedelta(minutes=10)) == timedelta(0)
