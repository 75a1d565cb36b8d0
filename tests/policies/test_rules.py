"""The rules of the policy pack, one by one, without Pulumi; and that each one is registered."""

from __future__ import annotations

import importlib.util
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

PACK = Path(__file__).parents[2] / "policies"


def _load() -> ModuleType:
    """The pack's rules; its folder is no package, as with any policy pack."""
    spec = importlib.util.spec_from_file_location("policy_rules", PACK / "rules.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


rules = _load()


def server(**facts: Any) -> Any:
    usual = {"name": "a", "type": "cx23", "location": "fsn1", "image": "343", "labels": {}, "public_ipv4": True}
    return rules.Server(**{**usual, **facts})


@pytest.mark.parametrize(
    ("rule", "facts", "settings", "complaints"),
    [
        ("allowed_types", {"type": "cx23"}, {"types": ["cx23", "cpx22"]}, []),
        ("allowed_types", {"type": "cx53"}, {"types": ["cx23"]}, ["cx53 is not allowed; allowed: cx23"]),
        ("allowed_types", {"type": "cx23"}, {"types": []}, ["cx23 is not allowed; allowed: "]),
        ("allowed_locations", {"location": "fsn1"}, {"locations": ["nbg1", "fsn1"]}, []),
        ("allowed_locations", {"location": "ash"}, {"locations": ["fsn1"]}, ["ash is not allowed; allowed: fsn1"]),
        ("allowed_images", {"image": "343"}, {"images": [343.0]}, []),
        ("allowed_images", {"image": "343"}, {"images": ["343"]}, []),
        ("allowed_images", {"image": "debian-12"}, {"images": ["debian-*"]}, []),
        ("allowed_images", {"image": "343"}, {"images": ["34"]}, ["the image 343 is not allowed; allowed: 34"]),
        ("required_labels", {"labels": {"team": "shop", "a": "b"}}, {"labels": ["team", "a=b"]}, []),
        ("required_labels", {}, {"labels": ["team", "a=b"]}, ["the label team is missing", "the label a=b is missing"]),
        ("required_labels", {"labels": {"a": "c"}}, {"labels": ["a=b"]}, ["the label a=b is missing; a is c"]),
        ("required_labels", {"labels": {"team": ""}}, {"labels": ["team"]}, ["the label team is missing"]),
        ("public_ipv4", {"public_ipv4": True}, {"allowed": False}, ["a public IPv4 address is not allowed"]),
        ("public_ipv4", {"public_ipv4": True}, {"allowed": True}, []),
        ("public_ipv4", {"public_ipv4": False}, {"allowed": False}, []),
    ],
)
def test_rules_about_one_server(rule: str, facts: Any, settings: Any, complaints: list[str]) -> None:
    assert list(getattr(rules, rule)(server(**facts), **settings)) == complaints


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_stack_of_exactly_the_limit_is_allowed(count: int, most: int) -> None:
    for typed in (most, float(most), str(most)):
        complaints = list(rules.largest_stack([server()] * count, most=typed))
        assert complaints == ([f"{count} servers are {count - most} more than {most}"] if count > most else [])


PRICES = st.decimals(0, 500, places=2)


@given(st.lists(st.sampled_from(["cx23", "cpx22"]), max_size=12), PRICES, PRICES, PRICES)
def test_the_cost_is_the_sum_to_the_cent(types: list[str], small: Decimal, large: Decimal, most: Decimal) -> None:
    prices = {"cx23": small, "cpx22": large}
    total = sum((prices[kind] for kind in types), Decimal(0))
    texts = {kind: str(price) for kind, price in prices.items()}
    complaints = list(rules.monthly_cost([server(type=kind) for kind in types], most=str(most), prices=texts))
    assert bool(complaints) is (total > most)
    if complaints:
        assert Decimal(complaints[0].split()[-3]) == total - most


def test_a_type_without_a_price_is_a_violation() -> None:
    (complaint,) = rules.monthly_cost([server(type="cx53"), server()], most=100, prices={"cx23": 3})
    assert complaint == "no price is known of cx53; add it to the policy's prices"


def test_an_unknown_setting_is_an_error() -> None:
    with pytest.raises(TypeError, match="type"):
        rules.allowed_types(server(), type=["cx23"])


def test_a_server_is_read_from_either_clouds_properties() -> None:
    hetzner = {
        "serverType": "cx23",
        "location": "fsn1",
        "image": "343",
        "labels": {"team": "shop"},
        "publicNets": [{"ipv4Enabled": False, "ipv6Enabled": True}],
    }
    assert rules.read_server("a", hetzner) == server(labels={"team": "shop"}, public_ipv4=False)
    assert rules.read_server("a", {**hetzner, "publicNets": []}).public_ipv4
    ocean = {"size": "s-1vcpu-1gb", "region": "fra1", "image": 343.0, "tags": ["scaler", "team:shop", "a:b:c"]}
    assert rules.read_server("a", ocean) == server(
        type="s-1vcpu-1gb", location="fra1", labels={"scaler": "", "team": "shop", "a": "b:c"}
    )


def test_every_rule_is_registered() -> None:
    written = {name for name, value in vars(rules).items() if getattr(value, "__module__", "") == rules.__name__}
    written -= {"Server", "read_server", *(name for name in written if name.startswith("_"))}
    registered = {name for name in written if f"rules.{name}:" in (PACK / "__main__.py").read_text(encoding="utf-8")}
    assert registered == written
    assert len(written) == 7
