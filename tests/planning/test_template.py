"""What servers are made of, and which labels they carry."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scaler.model import Action, Step
from scaler.model.ownership import TEMPLATE
from scaler.planning.template import (
    Current,
    References,
    existing_server,
    fingerprint,
    labels_of,
    new_server,
    outdated,
    recorded_server,
)
from tests.support.fakes import START, group, spec
from tests.support.worlds import machine, server

OWNER = spec().owner.with_id("1d1d1d1d")
CREATE = Step(action=Action.CREATE, server="prod-worker-4", group="worker", reason="", type="cx23", location="fsn1")


@pytest.mark.acceptance("P27")
def test_a_request_has_the_groups_settings_and_the_parts_that_were_looked_up() -> None:
    made = group(
        ssh_keys=("deploy",),
        user_data="#cloud-config",
        labels={"role": "worker"},
        networks=("lan",),
        public_ipv4=False,
        monitoring=True,
    )
    request = new_server(spec(made), CREATE, References(image="161547269", ssh_keys=("7",), networks=("11",)), OWNER)
    assert (request.name, request.type, request.location, request.image) == (
        "prod-worker-4",
        "cx23",
        "fsn1",
        "161547269",
    )
    assert (request.ssh_keys, request.networks, request.user_data) == (("7",), ("11",), "#cloud-config")
    assert (request.public_ipv4, request.public_ipv6, request.monitoring) == (False, True, True)
    assert request.labels == {
        "role": "worker",
        "managed-by": "scaler",
        "scaler-project": "scaler",
        "scaler-stack": "prod",
        "scaler-id": "1d1d1d1d",
        "scaler-group": "worker",
        "scaler-template": fingerprint(made),
    }


def test_the_fingerprint_tells_user_data_and_keys_and_nothing_else() -> None:
    plain = group()
    assert fingerprint(plain) == fingerprint(group(count=9, types=("cpx22",), labels={"a": "b"}))
    assert fingerprint(plain) != fingerprint(group(user_data="x"))
    assert fingerprint(plain) != fingerprint(group(ssh_keys=("a",)))
    assert fingerprint(group(ssh_keys=("a", "b"))) == fingerprint(group(ssh_keys=("b", "a")))
    assert fingerprint(group(user_data="a", ssh_keys=())) != fingerprint(group(ssh_keys=("a",)))


def test_an_existing_server_keeps_the_template_that_it_was_made_from() -> None:
    here = spec(group(user_data="new", labels={"role": "worker"}))
    old = replace(machine(here, server()), labels={"note": "x", **here.owner.group_labels("worker", "0ld")})
    wanted = labels_of(here, old, "worker", OWNER)
    assert wanted == {"note": "x", "role": "worker", **OWNER.group_labels("worker", "0ld")}
    assert existing_server(here, old, "worker", OWNER).labels == wanted


def test_a_server_without_a_template_gets_none() -> None:
    here = spec()
    bare = machine(here, server())
    bare = replace(bare, labels={key: value for key, value in bare.labels.items() if key != TEMPLATE})
    assert TEMPLATE not in labels_of(here, bare, "worker", OWNER)


def test_a_server_of_a_removed_group_keeps_its_group() -> None:
    here = spec()
    stray = machine(here, server("prod-old-1", group_name="old"))
    assert labels_of(here, stray, "old", OWNER)["scaler-group"] == "old"
    assert existing_server(here, stray, "old", OWNER).user_data is None


def test_an_existing_server_is_declared_as_what_it_is() -> None:
    here = spec(group(types=("cpx22",), locations=("nbg1",)))
    request = existing_server(here, machine(here, server()), "worker", OWNER)
    assert (request.type, request.location, request.image) == ("cx23", "fsn1", "100")
    nameless = existing_server(here, replace(machine(here, server()), image=None), "worker", OWNER)
    assert nameless.image == "unknown"


NOW = START + timedelta(days=8)


@pytest.mark.parametrize(
    ("changed", "current", "details", "why"),
    [
        ({}, Current(), {}, None),
        ({"lifetime": timedelta(days=9)}, Current(), {}, None),
        ({"lifetime": timedelta(days=7)}, Current(), {}, "older than 7d"),
        ({}, Current(images=frozenset({"100", "golden"})), {}, None),
        ({}, Current(images=frozenset({"200", "golden"})), {}, "image 100, not 200"),
        ({}, Current(networks={"11": "lan"}), {}, None),
        ({}, Current(networks={"11": "lan"}), {"private_net": [{"network": 12}]}, "without the network lan"),
        ({}, Current(networks={"11": "lan"}), {"private_net": [{"network": 12}, {"network": 11}]}, None),
        ({}, Current(firewalls={"5": "web"}), {"firewall_ids": []}, "without the firewall web"),
        ({}, Current(), {"firewall_ids": [5], "private_net": [{"network": 12}]}, None),
        ({}, Current(vpcs={"v": "lan"}), {"vpc_uuid": "w"}, "not in the VPC lan"),
        (
            {"types": ("cpx22",)},
            Current(networks={"1": "lan"}),
            {"private_net": []},
            "type cx23, not cpx22; without the network lan",
        ),
    ],
)
def test_in_what_a_server_is_outdated(
    changed: dict[str, Any], current: Current, details: dict[str, object], why: str | None
) -> None:
    made = group(**changed)
    old = replace(machine(spec(group()), server()), created=START, details=details)
    assert outdated(made, old, current, NOW) == why


def test_a_recorded_server_is_declared_from_its_record() -> None:
    request = recorded_server(spec(), replace(server(), image="100"), OWNER)
    assert (request.name, request.type, request.image) == ("prod-worker-1", "cx23", "100")
    assert OWNER.owns(request.labels)
