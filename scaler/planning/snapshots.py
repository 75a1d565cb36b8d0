"""Snapshots: which labels the spec asks for, and which snapshots are no longer needed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from scaler.clouds.snapshots import Snapshot
from scaler.model import Group, ImageRef
from scaler.model.roll import Roll
from scaler.support.values import dataclass

_TERM = re.compile(r"(?P<key>[^=!\s(),]+)\s*(?:==?\s*(?P<value>[^=!\s(),]*))?")


@dataclass(frozen=True, kw_only=True)
class Surplus:
    """The snapshots beyond those that are to be kept."""

    remove: tuple[Snapshot, ...] = ()
    """Oldest first."""
    spared: tuple[tuple[Snapshot, str], ...] = ()
    """Those that would have to go, and why they stay."""


def selected_labels(image: ImageRef) -> dict[str, str] | None:
    """Return the labels by which a spec's selector finds a snapshot; None if it says anything but labels."""
    if image.kind != "selector":
        return None
    terms = [_TERM.fullmatch(term.strip()) for term in image.value.split(",")]
    return {term["key"]: term["value"] or "" for term in terms if term} if all(terms) else None


def is_found(image: ImageRef, labels: Mapping[str, str]) -> bool:
    """Return whether a spec's selector finds a snapshot with these labels, as far as that can be said here."""
    wanted = selected_labels(image)
    return wanted is None or wanted.items() <= labels.items()


def surplus(
    snapshots: Iterable[Snapshot], labels: Mapping[str, str], keep: int, spared: Mapping[str, str], unknown: str = ""
) -> Surplus:
    """Return which of the finished snapshots with these labels are beyond the newest `keep`.

    `spared` says by id or name why one stays; `unknown` why all stay, where it is not known what needs them.
    """
    ours = [each for each in snapshots if each.available and labels.items() <= each.labels.items()]
    beyond = ours[: max(0, len(ours) - keep)]
    why = {each.id: unknown or _why_spared(each, spared) for each in beyond}
    return Surplus(
        remove=tuple(each for each in beyond if not why[each.id]),
        spared=tuple((each, why[each.id]) for each in beyond if why[each.id]),
    )


def _why_spared(snapshot: Snapshot, spared: Mapping[str, str]) -> str:
    if snapshot.protected:
        return "it is protected"
    return spared.get(snapshot.id) or spared.get(snapshot.name) or ""


def named_by(groups: Sequence[Group]) -> dict[str, str]:
    """Return the images that a spec names by id or by name, and which group does."""
    return {group.image.value: f"{group.name} names it" for group in groups if group.image.kind in ("id", "name")}


def pinned_by(rolls: Iterable[Roll]) -> dict[str, str]:
    """Return the images that rolls make servers of, or may go back to."""
    images: set[str] = set()
    for roll in rolls:
        undone = roll.undoes.images if roll.undoes else ()
        images |= {*roll.target.images, *undone, *roll.replaced.values(), *([roll.good] if roll.good else [])}
    return dict.fromkeys(sorted(images - {""}), "a roll may go back to it")
