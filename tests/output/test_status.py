"""The recorded state, in every format."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import click
import pytest
import yaml

from scaler.model import Price
from scaler.model.identity import Identity
from scaler.model.lifecycle import Status
from scaler.model.orders import NamedOperation, Orders, Pause
from scaler.model.roll import Pace, Roll, RollState, RollTarget
from scaler.output.documents import count_by_status
from scaler.output.render import render_stacks, render_status
from scaler.records.codec import to_json
from scaler.records.lock_note import LockHolder
from scaler.records.state import State
from scaler.support.clock import format_time
from tests.support.results import NOW, SERVERS, server

STATE = State(
    stack="prod",
    project="scaler",
    cloud="hetzner",
    serial=42,
    updated=NOW - timedelta(seconds=42),
    wanted={"worker": 3},
    servers=(
        *(replace(item, price=Price("EUR", Decimal("0.0096"), Decimal("5.99"))) for item in SERVERS[:2]),
        *SERVERS[2:],
        server(4, Status.NEW, id=None, type=None, location=None, ipv4=None),
        server(5, Status.DELETED),
    ),
)
STATUS_TEXT = """\
prod · hetzner · 2 of 3 ready · updated 42 s ago

NAME           GROUP   STATUS   SINCE      TYPE  LOCATION  IPV4       ID
prod-worker-1  worker  running  1 min ago  cx23  fsn1      192.0.2.1  4701
prod-worker-2  worker  running  2 min ago  cx23  fsn1      192.0.2.2  4702
prod-worker-3  worker  errored  3 min ago  cx23  fsn1      192.0.2.3  4703
prod-worker-4  worker  new      4 min ago  -     -         -          -

! prod-worker-3: no_capacity: none left

1 deleted server not shown.
Cost: 2 servers, EUR 0.0192/h, and at most EUR 11.98/month; list prices, net. Not known for 1 more server."""


def status(state: State | None, format: str, **options: Any) -> str:
    return render_status(state, format, stack="prod", now=NOW, **options)


def test_status_says_what_protects_a_server() -> None:
    servers = (server(1, protected=True), server(2, delete_protection=True), server(3), server(4))
    known = replace(STATE, servers=(*servers, server(5, protected=True, delete_protection=True)))
    lines = status(known, "text", protected={"prod-worker-4"}).splitlines()
    column = next(line for line in lines if line.startswith("NAME")).index("PROTECTED")
    words = [line[column:].split("  ")[0] for line in lines if line.startswith("prod-worker-")]
    assert words == ["yes", "at the cloud", "-", "yes", "yes and at the cloud"]
    assert "| prod-worker-2 | worker | running | at the cloud |" in status(known, "markdown")


def test_status_shows_the_identity_and_stacks_without_a_spec() -> None:
    url = "https://api.hetzner.cloud/v1"
    identity = Identity(id="1d1d1d1d", project="scaler", cloud="hetzner", endpoint=url, account="a-1")
    known = replace(STATE, identity=identity)
    lost = {"old": replace(STATE, stack="old")}
    words = f"id 1d1d1d1d · project scaler · hetzner at {url} · account a-1"
    warning = "old has 3 servers in its records and no spec stacks/old.yaml"
    for shape in ("text", "markdown"):
        shown = status(known, shape, lost=lost)
        assert words in shown
        assert warning in shown
        assert warning in status(None, shape, lost=lost)
    document = json.loads(status(known, "json", lost=lost))
    assert (document["identity"]["id"], document["without_spec"]) == ("1d1d1d1d", ["old"])


def test_status_shows_who_holds_the_lock() -> None:
    since = NOW - timedelta(minutes=3)
    holder = LockHolder(user="ci", host="runner", pid=7, since=since, command="ensure worker=2")
    words = f"locked by ci@runner, process 7, since {format_time(since)}, for 3m: `ensure worker=2`"
    assert f"\n! {words}\n" in status(STATE, "text", holder=holder)
    assert f"\n! {words}\n" in status(None, "text", holder=holder)
    assert "locked by ci@runner" in status(STATE, "markdown", holder=holder)
    locked_by = json.loads(status(STATE, "json", holder=holder))["locked_by"]
    assert locked_by["command"] == "ensure worker=2"
    assert (locked_by["user"], locked_by["host"], locked_by["pid"]) == ("ci", "runner", 7)
    assert locked_by["since"] == format_time(since)


def test_status_shows_rolls_pauses_and_what_has_not_finished_in_text_and_markdown() -> None:
    since = NOW - timedelta(minutes=3)
    target, pace = RollTarget(images=frozenset({"343"}), digest="x"), Pace()
    rolling = Roll(since=since, target=target, pace=pace, waves=2, accepted={"prod-worker-4": "4"}, held="no room")
    failed = replace(rolling, state=RollState.FAILED, error="prod-web-9 is hanging")
    orders = Orders(
        pause=Pause(since=since, reason="maintenance"),
        rolls={"worker": rolling, "web": failed, "other": replace(rolling, state=RollState.DONE)},
        operations=(NamedOperation(command="increase 2", since=since),),
    )
    old = replace(SERVERS[0], outdated="image 342, not 343")
    known = replace(STATE, orders=orders, servers=(old, *STATE.servers[1:]))
    text, markdown = status(known, "text"), status(known, "markdown")
    for sentence in (
        "worker is being rolled: wave 2, 1 new server so far; no wave begins: no room",
        "the roll of web was stopped at wave 2 (prod-web-9 is hanging): it begins again",
        "maintenance",
        "`increase 2` has not finished: repeat it to go on with it",
        "prod-worker-1 is outdated: image 342, not 343",
    ):
        assert sentence in text
        assert sentence in markdown.replace("\\", "")
    for shown in (text, markdown):
        assert "other" not in shown, "it is done"


@pytest.mark.acceptance("P31")
def test_status_has_a_name_column() -> None:
    assert status(STATE, "text") == STATUS_TEXT


def test_status_in_colour_says_the_same() -> None:
    colored = status(STATE, "text", color=True)
    assert click.style("errored", fg="red") in colored
    assert click.unstyle(colored) == STATUS_TEXT


@pytest.mark.acceptance("P32")
def test_without_servers_status_says_so() -> None:
    empty = State(stack="prod", project="scaler", cloud="hetzner", updated=NOW, wanted={"worker": 0})
    assert status(empty, "text").startswith("prod · hetzner · 0 of 0 ready · updated just now\n\nNo servers.\nTo make")
    assert status(empty, "markdown") == "### prod\n\nNo servers."


@pytest.mark.acceptance("P32")
def test_without_a_record_status_says_so_in_every_format() -> None:
    first_steps = (
        "To make those that the spec asks for: scaler ensure --stack prod\n"
        "To ask the cloud: scaler status --refresh --stack prod"
    )
    assert status(None, "text") == f"No servers. Nothing is recorded for this stack yet.\n{first_steps}"
    empty = State(stack="prod", project="scaler", cloud="hetzner", updated=NOW, wanted={"worker": 0})
    assert status(empty, "text").endswith(f"\n\nNo servers.\n{first_steps}")
    assert status(None, "markdown") == "### prod\n\nNo servers."
    document = json.loads(status(None, "json"))
    assert (document["schema"], document["stack"], document["servers"]) == (1, "prod", [])


@pytest.mark.acceptance("P28")
def test_counts_list_every_status_in_order_with_zeros() -> None:
    servers = [
        server(1, Status.NEW),
        server(2),
        server(3),
        server(4, Status.STOPPED),
        server(5, Status.STOPPED),
    ]
    expected = {
        "new": 1,
        "starting": 0,
        "running": 2,
        "unhealthy": 0,
        "rebooting": 0,
        "stopping": 0,
        "stopped": 2,
        "deleting": 0,
        "deleted": 0,
        "hanging": 0,
        "errored": 0,
    }
    assert list(count_by_status(servers).items()) == list(expected.items())


@pytest.mark.acceptance("P28")
def test_status_document_is_the_state_and_its_counts() -> None:
    document = json.loads(status(STATE, "json"))
    assert list(document) == [*to_json(STATE), "counts", "cost", "without_spec", "locked_by"]
    assert document["locked_by"] is None
    assert document["cost"] == {"currency": "EUR", "per_hour": 0.0192, "per_month": 11.98, "known": 2, "unknown": 1}
    assert document["serial"] == 42
    assert [server["name"] for server in document["servers"]][-1] == "prod-worker-5"
    assert document["counts"] == count_by_status(STATE.servers)
    assert yaml.safe_load(status(STATE, "yaml")) == document


def test_status_as_markdown() -> None:
    assert (
        status(STATE, "markdown")
        == """\
### prod: 2 of 3 ready

| server | group | status | type | location | ipv4 | error |
| --- | --- | --- | --- | --- | --- | --- |
| prod-worker-1 | worker | running | cx23 | fsn1 | 192.0.2.1 |  |
| prod-worker-2 | worker | running | cx23 | fsn1 | 192.0.2.2 |  |
| prod-worker-3 | worker | errored | cx23 | fsn1 | 192.0.2.3 | no_capacity: none left |
| prod-worker-4 | worker | new |  |  |  |  |

Cost: 2 servers, EUR 0.0192/h, and at most EUR 11.98/month; list prices, net. Not known for 1 more server."""
    )


def test_status_shows_private_addresses_where_there_are_some() -> None:
    inner = replace(STATE, servers=(replace(SERVERS[0], private_ip="10.0.0.2"), SERVERS[1]))
    head, first, second = status(inner, "text").splitlines()[2:5]
    assert head.split() == ["NAME", "GROUP", "STATUS", "SINCE", "TYPE", "LOCATION", "IPV4", "PRIVATE", "IP", "ID"]
    assert (first.split()[-2:], second.split()[-2:]) == (["10.0.0.2", "4701"], ["-", "4702"])
    assert "| 192.0.2.1 | 10.0.0.2 |  |" in status(inner, "markdown")
    assert [one["private_ip"] for one in json.loads(status(inner, "json"))["servers"]] == ["10.0.0.2", None]


@pytest.mark.acceptance("T12")
def test_status_shows_who_is_in_service_where_a_group_says_what_that_is() -> None:
    servers = (replace(SERVERS[0], in_service=True), replace(SERVERS[1], in_service=False), SERVERS[2])
    lines = status(replace(STATE, servers=servers), "text").splitlines()[2:6]
    assert "STATUS   IN SERVICE  SINCE" in lines[0]
    assert [line.split()[3] for line in lines[1:]] == ["yes", "no", "-"]
    assert "| running | no | cx23 |" in status(replace(STATE, servers=servers), "markdown")
    documents = json.loads(status(replace(STATE, servers=servers), "json"))["servers"]
    assert [one["in_service"] for one in documents] == [True, False, None]


def test_status_marks_the_servers_that_are_protected_by_hand_or_by_the_spec() -> None:
    servers = (replace(SERVERS[0], protected=True), *SERVERS[1:])
    known = replace(STATE, servers=servers)
    lines = status(known, "text", protected=["prod-worker-3"]).splitlines()[2:6]
    assert "STATUS   PROTECTED  SINCE" in lines[0]
    assert ["yes" in line.split() for line in lines[1:]] == [True, False, True]
    assert "| running | yes | cx23 |" in status(known, "markdown")
    assert "PROTECTED" not in status(STATE, "text")


def test_all_stacks_are_a_line_each_in_every_format() -> None:
    states = {"prod": STATE, "next": None}
    head, prod, new = render_stacks(states, "text", now=NOW).splitlines()
    assert head.split()[:4] == ["STACK", "CLOUD", "READY", "WANTED"]
    assert prod.split()[:8] == ["prod", "hetzner", "2", "3", "1", "new,", "1", "errored"]
    assert "EUR 11.98" in prod
    assert "nothing recorded" in new
    assert "| prod | hetzner | 2 | 3 | 1 new, 1 errored | EUR 11.98 |" in render_stacks(states, "markdown", now=NOW)
    document = json.loads(render_stacks(states, "json", now=NOW, lost={"old": STATE}))
    assert (document["schema"], document["without_spec"]) == (1, ["old"])
    assert document["stacks"]["prod"]["counts"]["running"] == 2
    assert document["stacks"]["next"]["servers"] == []


def test_status_of_servers_without_prices_says_so() -> None:
    text = status(replace(STATE, servers=SERVERS), "text")
    assert text.splitlines()[-1] == "Cost: not known for 3 servers."
    cost = json.loads(status(replace(STATE, servers=SERVERS), "json"))["cost"]
    assert cost == {"currency": None, "per_hour": 0.0, "per_month": 0.0, "known": 0, "unknown": 3}
    assert "Cost" not in status(replace(STATE, servers=()), "text")
