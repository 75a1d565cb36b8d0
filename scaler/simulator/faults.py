"""Failures on order: rules that match requests, and what then happens to them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Any

from scaler.simulator.bodies import Kind, amount, number, several, text, wrong_field
from scaler.support.values import dataclass

WORLD_CHANGES = frozenset({"capacity", "quota", "deprecate", "token_revoked", "token_readonly"})
"""These change the world when their rule fires, before the request is looked at, and last."""

BEFORE = frozenset({"drop_before", "hang", "hang_forever", "respond", "rate_limit", "html_502"})
"""These keep the request from being carried out (`hang` only for a while)."""

AFTER = frozenset({"accept_then_drop", "accept_then_hang", "accept_then_status", "truncated_json", "null_fields"})
"""These spoil the answer to a request that was carried out."""

BEHAVIOUR = frozenset(
    {
        "stuck_initializing",
        "stuck_new",
        "stuck_locked",
        "action_error",
        "slow",
        "list_misses",
        "stale_list",
        "shutdown_ignored",
    }
)
"""These are for the API's own code, which asks `Call.effect`."""

EFFECTS = WORLD_CHANGES | BEFORE | AFTER | BEHAVIOUR


_HEADER = re.compile(r"[\x20-\x7e]*")


def _is_status(value: object) -> bool:
    return isinstance(value, int) and 200 <= value <= 599


_PARAMETERS: Mapping[str, Kind] = {
    "factor": amount,
    "fields": several(text),
    "headers": lambda value: isinstance(value, dict) and all(_HEADER.fullmatch(str(text)) for text in value.values()),
    "ids": several(number),
    "names": several(text),
    "newest": number,
    "seconds": amount,
    "status": _is_status,
}
"""The types of the effects' parameters."""

_STATED = ("status", "code", "message", "details", "body", "html", "headers")
_ACTION = ("command", "code", "message", "keep")

PARAMETERS_OF: Mapping[str, Collection[str]] = {
    "accept_then_hang": ("seconds",),
    "accept_then_status": _STATED,
    "action_error": _ACTION,
    "capacity": ("type", "location", "left"),
    "deprecate": ("type",),
    "hang": ("seconds",),
    "list_misses": ("ids", "names", "newest"),
    "null_fields": ("fields",),
    "quota": ("servers", "primary_ips", "droplets"),
    "rate_limit": ("json", "headers"),
    "respond": _STATED,
    "slow": ("factor",),
    "stale_list": ("seconds",),
}
"""What each effect reads; the others read nothing."""

_PATTERN_LENGTH = 200
_REPETITIONS = 3
_PATH_LENGTH = 300
"""Longer paths match no rule; no API has such."""


@dataclass(frozen=True)
class Effect:
    """What happens, with its parameters: `respond` has `status`, `code`, `message`; `hang` has `seconds`; and so on."""

    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in EFFECTS:
            raise ValueError(f"no effect {self.kind!r}: it is one of {', '.join(sorted(EFFECTS))}")
        check_known(f"the effect {self.kind}", self.parameters, PARAMETERS_OF.get(self.kind, ()))

    def get(self, name: str, default: Any = None) -> Any:
        """One parameter."""
        return self.parameters.get(name, default)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which requests it hits, after how many, how often, and with what effect."""

    effect: Effect
    method: str = ".*"
    """A regular expression for the whole method."""
    path: str = ""
    """A regular expression, searched for in the path (without the query): `/v1/servers$`."""
    body: Any = None
    """Any JSON; the request's body must contain it (`contains`)."""
    skip: int = 0
    times: int | None = 1
    """None: every time."""

    def matches(self, method: str, path: str, body: Any) -> bool:
        """Whether a request is of the kind that this rule is about."""
        return (
            len(path) <= _PATH_LENGTH
            and re.fullmatch(self.method, method) is not None
            and re.search(self.path, path) is not None
            and (self.body is None or contains(body, self.body))
        )

    def to_json(self) -> dict[str, Any]:
        """The rule as the control plane takes and tells it."""
        return {
            "match": {"method": self.method, "path": self.path, "body": self.body},
            "skip": self.skip,
            "times": self.times,
            "effect": {"kind": self.effect.kind, **self.effect.parameters},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rule:
        """The rule that a JSON object describes; ValueError says what is wrong with it."""
        check_known("a rule", data, ("match", "skip", "times", "effect"))
        effect = data.get("effect")
        described = {"kind": effect} if isinstance(effect, str) else dict(effect or {})
        kind = str(described.pop("kind", ""))
        if wrong := wrong_field(described, _PARAMETERS):
            raise ValueError(f"{wrong} of the effect has the wrong type")
        skip, times = data.get("skip", 0), data.get("times", 1)
        if not number(skip) or not (times is None or number(times)):
            raise ValueError("skip is a number, and times a number or null")
        match = data.get("match") or {}
        check_known("match", match, ("method", "path", "body"))
        try:
            method, path = (_pattern(match.get(key) or default) for key, default in (("method", ".*"), ("path", "")))
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return cls(
            effect=Effect(kind, described),
            method=method.pattern,
            path=path.pattern,
            body=match.get("body"),
            skip=skip,
            times=times,
        )


def check_known(what: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse a key that nothing reads: a misspelt one would be obeyed in silence."""
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"{what} has no {', '.join(unknown)}: it has {', '.join(known) or 'none'}")


def _pattern(text: object) -> re.Pattern[str]:
    """A regular expression that ends soon on any path: one without repeated groups and with few repetitions."""
    if not isinstance(text, str) or len(text) > _PATTERN_LENGTH:
        raise ValueError(f"a pattern is a string of at most {_PATTERN_LENGTH} characters")
    bare = re.sub(r"\\.|\[\^?\]?[^\]]*\]", "x", text)
    if re.search(r"\)[*+{]", bare) or len(re.findall(r"[*+{]", bare)) > _REPETITIONS:
        raise ValueError(f"a pattern has no repeated groups, and at most {_REPETITIONS} repetitions")
    return re.compile(text)


@dataclass(frozen=True)
class FaultReport:
    """A rule in force: how many matching requests it has seen and how many it hit."""

    id: int
    rule: Rule
    seen: int
    fired: int


def contains(actual: Any, wanted: Any) -> bool:
    """Whether `actual` has everything that `wanted` has: objects by key, lists as sets, the rest by equality."""
    if isinstance(wanted, dict):
        return isinstance(actual, dict) and all(
            key in actual and contains(actual[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(actual, list) and all(any(contains(item, value) for item in actual) for value in wanted)
    return bool(actual == wanted)
