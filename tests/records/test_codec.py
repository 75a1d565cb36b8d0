"""The JSON documents of states, servers and events: round trips, the contract, newer and older writers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.errors import StateError
from scaler.model import Drain, DrainStage, Health, Price, Replacement, Server
from scaler.model.events import Event, EventName
from scaler.model.lifecycle import Status
from scaler.model.orders import NamedOperation, Orders
from scaler.model.roll import Pace, Roll, RollState, RollTarget
from scaler.records.codec import event_from_json, event_to_json, from_json, server_from_json, server_to_json, to_json
from scaler.records.state import State
from tests.support.fakes import group, spec
from tests.support.records import NOW, server, state
from tests.support.worlds import machine

moments = st.datetimes(
    min_value=datetime(2020, 1, 1),
    max_value=datetime(2100, 1, 1),
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=0))
texts = st.text(max_size=20)
optional_texts = st.none() | texts
statuses = st.sampled_from(Status)
amounts = st.decimals(min_value=0, max_value=10**6, places=18)
prices = st.builds(Price, currency=texts, per_hour=amounts, per_month=st.none() | amounts)
servers = st.builds(
    Server,
    name=st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True),
    group=texts,
    id=st.none() | st.integers(1, 10**20).map(str),
    status=statuses,
    since=moments,
    previous=st.none() | statuses,
    ipv4=st.none() | st.ip_addresses(v=4).map(str),
    ipv6=st.none() | st.ip_addresses(v=6).map(str),
    private_ip=st.none() | st.ip_addresses().map(str),
    in_service=st.sampled_from([None, True, False]),
    missing_since=st.none() | moments,
    drain_failed=optional_texts,
    type=optional_texts,
    location=optional_texts,
    image=optional_texts,
    created=st.none() | moments,
    error=optional_texts,
    protected=st.booleans(),
    set_aside=st.booleans(),
    reboot_asked=st.booleans(),
    drain=st.none()
    | st.builds(
        Drain,
        since=moments,
        until=moments,
        stage=st.sampled_from(DrainStage),
        then=st.sampled_from(["delete", "power_off"]),
        asked=st.booleans(),
        for_good=st.booleans(),
        reason=texts,
        notes=st.lists(texts, max_size=2).map(tuple),
    ),
    health=st.none() | st.builds(Health, checked=moments, failures=st.integers(0, 100), problem=texts),
    price=st.none() | prices,
)
replacements = st.builds(Replacement, server=texts, id=texts, group=texts, since=moments)
numbers = st.integers(0, 9)
targets = st.builds(RollTarget, images=st.frozensets(texts, max_size=2), digest=texts)
rolls = st.builds(
    Roll,
    since=moments,
    target=targets,
    pace=st.builds(Pace, surge=numbers, unavailable=numbers, canary=numbers, bake=numbers.map(timedelta)),
    state=st.sampled_from(RollState),
    good=optional_texts,
    undoes=st.none() | targets,
    undone=st.dictionaries(texts, texts, max_size=2),
    waves=numbers,
    size=numbers,
    ahead=numbers,
    wave=st.frozensets(texts, max_size=2),
    accepted=st.dictionaries(texts, texts, max_size=2),
    replaced=st.dictionaries(texts, texts, max_size=2),
    error=texts,
    held=texts,
)
states = st.builds(
    State,
    stack=texts,
    project=texts,
    cloud=texts,
    serial=st.integers(0, 2**53),
    updated=moments,
    wanted=st.dictionaries(texts, st.integers(0, 100_000), max_size=3),
    servers=st.lists(servers, max_size=4).map(tuple),
    orders=st.builds(
        Orders,
        serial=st.integers(0, 9),
        replacements=st.lists(replacements, max_size=2).map(tuple),
        rolls=st.dictionaries(texts, rolls, max_size=2),
    ),
)
events = st.builds(
    Event,
    event=st.sampled_from(EventName).map(str),
    server=optional_texts,
    group=optional_texts,
    previous=st.none() | statuses,
    status=st.none() | statuses,
    reason=optional_texts,
    cause=optional_texts,
    at=st.none() | moments,
    run=optional_texts,
)


@given(states)
def test_state_survives_the_round_trip_through_text(value: State) -> None:
    assert from_json(json.loads(json.dumps(to_json(value)))) == value


@pytest.mark.acceptance("P17", "P18")
@given(servers)
def test_record_survives_the_round_trip_and_is_plain_values_only(value: Server) -> None:
    document = server_to_json(value)
    inner = [block for block in (document["drain"], document["health"]) if isinstance(block, dict)]
    fields = [field for name, field in document.items() if name not in ("drain", "health")]
    fields += [field for block in inner for field in block.values()]
    assert all(field is None or type(field) in (str, bool, list, int) for field in fields)
    assert server_from_json(json.loads(json.dumps(document))) == value


@given(events)
def test_event_survives_the_round_trip(value: Event) -> None:
    assert event_from_json(json.loads(json.dumps(event_to_json(value)))) == value


def test_document_is_exactly_the_contract() -> None:
    value = state(
        server(
            "prod-worker-4",
            previous=Status.STARTING,
            ipv4="192.0.2.4",
            ipv6="2001:db8::1",
            private_ip="10.0.0.4",
            missing_since=datetime(2026, 11, 24, 22, 9, tzinfo=UTC),
            in_service=True,
            type="cx23",
            location="fsn1",
            image="343",
            created=NOW - timedelta(minutes=1),
            price=Price("EUR", Decimal("0.0096"), Decimal("5.99")),
        ),
        serial=42,
    )
    assert to_json(value) == {
        "schema": 1,
        "stack": "prod",
        "project": "scaler",
        "cloud": "hetzner",
        "serial": 42,
        "updated": "2026-11-24T22:10:00Z",
        "wanted": {"worker": 1},
        "servers": [
            {
                "name": "prod-worker-4",
                "group": "worker",
                "id": "4711",
                "status": "running",
                "since": "2026-11-24T22:10:00Z",
                "previous": "starting",
                "ipv4": "192.0.2.4",
                "ipv6": "2001:db8::1",
                "private_ip": "10.0.0.4",
                "type": "cx23",
                "location": "fsn1",
                "image": "343",
                "created": "2026-11-24T22:09:00Z",
                "error": None,
                "protected": False,
                "delete_protection": False,
                "set_aside": False,
                "missing_since": "2026-11-24T22:09:00Z",
                "reboot_asked": False,
                "in_service": True,
                "drain_failed": None,
                "drain": None,
                "health": None,
                "outdated": None,
                "currency": "EUR",
                "price_per_hour": "0.0096",
                "price_per_month": "5.99",
            }
        ],
        "orders": {"serial": 0, "pause": None, "operations": []},
    }


def test_a_newer_scalers_fields_are_tolerated() -> None:
    document = to_json(state(server()))
    document["colour"] = "blue"
    document["servers"] = [server_to_json(server()) | {"rack": "7"}]
    assert from_json(document) == state(server())


def test_optional_fields_may_be_missing() -> None:
    document = to_json(state())
    del document["wanted"]
    document["servers"] = [
        {"name": "a", "group": "worker", "status": "new", "since": "2026-11-24T22:10:00Z"},
    ]
    assert from_json(document) == replace(state(server("a", Status.NEW, id=None)), wanted={})


def test_a_state_from_before_a_field_was_added_opens_without_it() -> None:
    """Fields are only ever added: protected, reboot_asked and the price came after the first version."""
    older = Path(__file__).parents[1] / "e2e" / "older" / "hetzner" / "state" / "demo.json"
    read = from_json(json.loads(older.read_text(encoding="utf-8")))
    server = read.records["demo-worker-1"]
    assert (server.id, server.status, server.ipv4) == ("4000010", Status.RUNNING, "127.189.9.11")
    assert (server.protected, server.reboot_asked, server.price) == (False, False, None)
    assert from_json(to_json(read)) == read


def test_a_newer_schema_says_to_upgrade() -> None:
    with pytest.raises(StateError) as caught:
        from_json(to_json(state()) | {"schema": 2})
    assert caught.value.code == "state_newer"
    assert caught.value.fix == "Upgrade scaler."
    assert "schema 2" in caught.value.why


@pytest.mark.parametrize(
    ("document", "names"),
    [
        (None, "object"),
        ("output<string>", "object"),
        ({}, "`name`"),
        ({"name": 7, "group": "g", "status": "new", "since": "2026-11-24T22:10:00Z"}, "`name`"),
        ({"name": "a", "group": "g", "status": "resting", "since": "2026-11-24T22:10:00Z"}, "resting"),
        ({"name": "a", "group": "g", "status": "new", "since": "yesterday"}, "yesterday"),
        (server_to_json(server()) | {"name": "-oProxyCommand=x"}, "`name`"),
        (server_to_json(server()) | {"id": "4000005/../x"}, "`id`"),
        (server_to_json(server()) | {"id": "4" * 5000}, "`id` is no server's id: a text of 5000 characters"),
        (server_to_json(server()) | {"ipv4": "-oProxyCommand=touch x"}, "`ipv4`"),
        (server_to_json(server()) | {"ipv4": "2001:db8::1"}, "`ipv4`"),
        (server_to_json(server()) | {"ipv6": "fe80::1%;touch x"}, "`ipv6`"),
        (server_to_json(server()) | {"private_ip": "metadata.example"}, "`private_ip`"),
        (server_to_json(server()) | {"currency": "EUR", "price_per_hour": "cheap"}, "`price_per_hour`"),
        (server_to_json(server()) | {"currency": "EUR", "price_per_hour": "Infinity"}, "`price_per_hour`"),
    ],
)
def test_what_is_no_record_is_a_value_error(document: object, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        server_from_json(document)


def test_an_operation_that_makes_a_snapshot_survives_the_round_trip_and_lasts_while_its_server_is_there() -> None:
    counts = NamedOperation(command="increase 2", since=NOW, counts={"worker": 3})
    making = NamedOperation(command="snapshot a", since=NOW, snapshot="a-1", server="7", after="40")
    orders = Orders(serial=1, operations=(counts, making))
    read = from_json(json.loads(json.dumps(to_json(replace(state(), orders=orders))))).orders
    assert read.operations == (counts, making)
    here = [replace(machine(spec(group()), server()), id=number) for number in ("6", "7")]
    assert read.lasting_operations(here) == (making,)
    assert read.lasting_operations(here[:1]) == ()
