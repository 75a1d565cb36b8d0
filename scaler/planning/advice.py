"""What earlier attempts of a run learned, and what the plan therefore does differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from scaler.model import Placement, Replacement
from scaler.model.roll import Roll
from scaler.planning.template import Current
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What earlier attempts of this run learned, and what its caller asked for by name."""

    exhausted: frozenset[Placement] = frozenset()
    """Placements that have no capacity."""
    unfit: frozenset[tuple[str, Placement]] = frozenset()
    """(group, placement): placements where the group's servers cannot run, whatever the capacity."""
    most: int | None = None
    """How many machines the account allows this stack; None: unknown."""
    withheld: frozenset[str] = frozenset()
    """Groups that the account, or what their servers are put into, refused more machines of: create none."""
    taken: frozenset[str] = frozenset()
    """Names that servers of others have."""
    power_on_failed: frozenset[str] = frozenset()
    """Servers that could not be powered on: they are replaced."""
    undrained: frozenset[str] = frozenset()
    """Servers whose drain failed: they stay."""
    not_resumed: frozenset[str] = frozenset()
    """Draining servers that could not be taken back."""
    held_back: int = 0
    """How many servers are created only when draining ones are gone, since there is no room beside them."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """The same by group, where a placement group or a network of theirs has no room."""
    crowded: frozenset[str] = frozenset()
    """Groups whose new servers come last: there is room for them only when others have left."""
    not_kept: frozenset[str] = frozenset()
    """Servers that are not kept for their paid hour: they could not be powered off, or are in the way."""
    remove: frozenset[str] = frozenset()
    """Servers that were asked to be removed: they go before others."""
    renew: frozenset[str] = frozenset()
    """Servers that were asked to be replaced: they go when new ones are ready."""
    out_of_scope: frozenset[str] = frozenset()
    """Servers that this run must neither count nor change."""
    adopted: frozenset[str] = frozenset()
    """Servers that were orphans when the run began: they go before others."""
    rolls: Mapping[str, Roll] = field(default_factory=dict)
    """By group."""
    replacements: tuple[Replacement, ...] = ()
    """The unhealthy servers whose replacement was decided before."""
    unchecked: Mapping[str, str] = field(default_factory=dict)
    """Groups of which no server can be checked from here → why."""
    room: int | None = None
    """How many servers may be created in place of unhealthy ones; None: any number."""
    current: Mapping[str, Current] = field(default_factory=dict)
    """By group: what a new server would have; without one, that is unknown."""
