"""Rolls as JSON, and back: as the state file and the stack's output `scaler` hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaler.model.roll import Pace, Roll, RollState, RollTarget
from scaler.records.json_fields import Fields
from scaler.support.clock import format_time, parse_time

_NUMBERS = ("surge", "unavailable", "canary")
"""The keys of a pace that are numbers of servers."""


def rolls_to_json(rolls: Mapping[str, Roll]) -> dict[str, object]:
    """Return the rolls, by group."""
    return {name: _roll_to_json(roll) for name, roll in rolls.items()}


def rolls_from_json(document: Mapping[str, object]) -> dict[str, Roll]:
    """Return the rolls that `rolls_to_json` wrote. ValueError if the document is not of rolls."""
    return {name: _roll_from_json(roll) for name, roll in document.items()}


def pace_to_json(pace: Pace) -> dict[str, object]:
    """Return the keys of a pace."""
    return {
        "surge": pace.surge,
        "unavailable": pace.unavailable,
        "canary": pace.canary,
        "bake_s": int(pace.bake.total_seconds()),
    }


def pace_from_json(fields: Fields) -> Pace:
    """Return the pace that has these keys."""
    return Pace(
        surge=fields.whole_number("surge"),
        unavailable=fields.whole_number("unavailable"),
        canary=fields.whole_number("canary"),
        bake=fields.seconds("bake_s"),
    )


def given_to_json(given: Mapping[str, Any]) -> dict[str, int]:
    """Return what of a pace was given for one run, with the keys of a pace."""
    numbers = {name: given[name] for name in _NUMBERS if name in given}
    return {**numbers, "bake_s": int(given["bake"].total_seconds())} if "bake" in given else numbers


def given_from_json(fields: Fields) -> dict[str, Any]:
    """Return what `given_to_json` wrote."""
    numbers = {name: number for name in _NUMBERS if (number := fields.optional_whole_number(name)) is not None}
    has_bake = fields.optional_whole_number("bake_s") is not None
    return {**numbers, "bake": fields.seconds("bake_s")} if has_bake else numbers


def _roll_to_json(roll: Roll) -> dict[str, object]:
    return {
        "since": format_time(roll.since),
        "state": str(roll.state),
        "target": _target_to_json(roll.target),
        **pace_to_json(roll.pace),
        "good": roll.good,
        "undoes": _target_to_json(roll.undoes) if roll.undoes else None,
        "undone": dict(roll.undone),
        "waves": roll.waves,
        "size": roll.size,
        "ahead": roll.ahead,
        "wave": sorted(roll.wave),
        "accepted": dict(roll.accepted),
        "replaced": dict(roll.replaced),
        "error": roll.error,
        "held": roll.held,
    }


def _roll_from_json(document: object) -> Roll:
    fields = Fields(document)
    undoes = fields.optional_object("undoes")
    return Roll(
        since=parse_time(fields.text("since")),
        state=RollState(fields.text("state")),
        target=_target_from_json(fields.optional_object("target")),
        pace=pace_from_json(fields),
        good=fields.optional_text("good"),
        undoes=_target_from_json(undoes) if undoes else None,
        undone=fields.text_by_name("undone"),
        waves=fields.whole_number("waves"),
        size=fields.whole_number("size"),
        ahead=fields.whole_number("ahead"),
        wave=frozenset(fields.texts("wave")),
        accepted=fields.text_by_name("accepted"),
        replaced=fields.text_by_name("replaced"),
        error=fields.text("error"),
        held=fields.optional_text("held") or "",
    )


def _target_to_json(target: RollTarget) -> dict[str, object]:
    return {"images": sorted(target.images), "digest": target.digest}


def _target_from_json(document: object) -> RollTarget:
    fields = Fields(document)
    return RollTarget(images=frozenset(fields.texts("images")), digest=fields.text("digest"))
