"""Label selectors, and the labels that Hetzner accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.simulator.hetzner.labels import parse_selector, problem

LABELS = {"role": "worker", "env": "prod", "empty": "", "example.com/team": "a_b.c-d"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("role", True),
        ("missing", False),
        ("!missing", True),
        ("! missing", True),
        ("!role", False),
        ("role=worker", True),
        ("role==worker", True),
        ("role = worker", True),
        ("role=web", False),
        ("role!=web", True),
        ("role!=worker", False),
        ("missing!=web", True),
        ("empty=", True),
        ("role=", False),
        ("role in (web,worker)", True),
        ("role in (web, worker)", True),
        ("role in (web)", False),
        ("missing in (web)", False),
        ("role notin (web)", True),
        ("role notin (web,worker)", False),
        ("missing notin (web)", True),
        ("role=worker,env=prod", True),
        ("role=worker,env=dev", False),
        ("role in (web,worker),env in (prod,dev),!missing", True),
        ("example.com/team=a_b.c-d", True),
    ],
)
def test_selector(selector: str, matches: bool) -> None:
    assert parse_selector(selector)(LABELS) is matches


@pytest.mark.parametrize("selector", ["=a", "a=b=c", "a,,b", "a in b", "a in (b", "-a", "a=-", "a b", "!", "a&b"])
def test_no_selector(selector: str) -> None:
    with pytest.raises(ValueError, match="label"):
        parse_selector(selector)


@pytest.mark.parametrize(
    "labels",
    [
        {"-a": ""},
        {"a-": ""},
        {"": ""},
        {"a" * 64: ""},
        {"a": "b" * 64},
        {"a": "-b"},
        {"a": None},
        {"a": 1},
        {"hetzner.cloud/a": "b"},
        {"Example.com/a": "b"},
        {"a/b/c": "d"},
        ["a"],
    ],
)
def test_labels_that_hetzner_refuses(labels: object) -> None:
    assert problem(labels)


@given(st.dictionaries(st.from_regex(r"[a-z]([a-z0-9._-]{0,20}[a-z0-9])?", fullmatch=True), st.sampled_from("abc")))
def test_every_set_of_labels_selects_itself(labels: dict[str, str]) -> None:
    assert problem(labels) is None
    assert parse_selector(",".join(f"{key}={value}" for key, value in labels.items()))(labels)
