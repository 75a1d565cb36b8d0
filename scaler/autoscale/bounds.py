"""The bounds of a stack besides its limit: the budget, and the account's quota."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from decimal import Decimal

from scaler.autoscale.decision import Bound, Supply
from scaler.clouds import Catalogue, Cloud, CloudError
from scaler.model import PLACED_TOGETHER, Group, Server, Spec
from scaler.model.identity import Place
from scaler.planning import prices
from scaler.planning.guards import overfull
from scaler.planning.placements import placements
from scaler.records.shortages import QUOTA_FOR, Shortages
from scaler.support.clock import Clock
from scaler.support.values import dataclass

_PRICES_FOR_S = timedelta(hours=1).total_seconds()


@dataclass
class Prices:
    """A cache of the clouds' catalogues, each valid for an hour. Ticks share one, also those of several stacks."""

    clock: Clock
    _known: dict[tuple[str, str], tuple[float, Catalogue]] = field(default_factory=dict)

    def of(self, cloud: Cloud, place: Place) -> Catalogue | None:
        """Return the catalogue of the cloud at this place; None if the cloud does not return it now."""
        now, key = self.clock.monotonic(), (place.cloud, place.endpoint)
        known = self._known.get(key)
        if known and now - known[0] < _PRICES_FOR_S:
            return known[1]
        try:
            # Several stacks may read it at the same time: one that hangs must not make the others wait.
            catalogue = cloud.catalogue()
        except CloudError:
            return None
        self._known[key] = now, catalogue
        return catalogue


def per_month(catalogue: Catalogue, servers: Iterable[Server]) -> Decimal:
    """Return what existing servers cost a month, by list prices."""
    return _sum(catalogue, map(prices.existing, servers))


def budget(spec: Spec, catalogue: Catalogue, servers: Iterable[Server], supplies: Mapping[str, Supply]) -> Bound | None:
    """Return the spec's budget as a bound; None if it has none.

    A new server costs the list price of its group's first placement. The bound prevents new servers
    and removes none, like the budget guard of every plan. While the price of a server is not known, nothing new fits,
    and no new server whose own price is not known.
    """
    most = spec.budget
    if most is None:
        return None
    counted = [server for server in servers if server.counts]
    existing = per_month(catalogue, counted)
    unknown = prices.unpriced(catalogue, map(prices.existing, counted))
    first = {name: _first(catalogue, group) for name, group in spec.groups.items()}
    each = {name: _sum(catalogue, servers) for name, servers in first.items()}

    def fits(counts: Mapping[str, int]) -> bool:
        new = {name: max(0, count - supplies[name].supply) for name, count in counts.items()}
        coming = [item for name, number in new.items() if number for item in first[name]]
        if any(new.values()) and (unknown or prices.unpriced(catalogue, coming)):
            return False
        return existing + sum((number * each[name] for name, number in new.items()), Decimal(0)) <= most

    why = f"the budget is {catalogue.currency} {most} a month"
    told = sorted({*unknown, *prices.unpriced(catalogue, [item for servers in first.values() for item in servers])})
    return Bound("budget", f"{why}, and the price of {', '.join(told)} is not known" if told else why, fits)


def _first(catalogue: Catalogue, group: Group) -> list[prices.Priced]:
    """Return what a new server's price depends on; none if no placement of the group is sold: it cannot be created."""
    sold = (place for place in placements(group) if catalogue.offer(*place))
    return [prices.Priced(*place, group.public_ipv4) for place in sold][:1]


def _sum(catalogue: Catalogue, servers: Iterable[prices.Priced]) -> Decimal:
    cost = prices.cost(catalogue, (), servers)
    return Decimal(str(cost.per_month_after)) if cost else Decimal(0)


def placement_groups(spec: Spec) -> Bound | None:
    """Return the room in the spec's placement groups as a bound; None if it names none."""
    if not any(group.placement_group for group in spec.groups.values()):
        return None
    return Bound(
        "placement_group",
        f"a placement group has at most {PLACED_TOGETHER} servers",
        lambda counts: not overfull(spec, counts),
    )


def room(spec: Spec, servers: Iterable[Server]) -> Bound | None:
    """Return what servers that are set aside leave of the limit, as a bound; None without a limit, or without such."""
    limit, aside = spec.limit, sum(server.set_aside for server in servers)
    if limit is None or not aside:
        return None
    why = f"the stack's limit is {limit}, and {aside} of its servers {'is' if aside == 1 else 'are'} set aside"
    return Bound("limit", why, lambda counts: sum(counts.values()) + aside <= limit)


def addresses(spec: Spec, shortages: Shortages, now: datetime) -> Bound | None:
    """Return the account's quota of public addresses as a bound; None if none refused a server within the last hour."""
    met = shortages.addresses(now)
    if met is None:
        return None
    most, at = met
    return Bound(
        "quota",
        f"the account refused more public addresses at {at:%H:%M} UTC, and is asked again at {at + QUOTA_FOR:%H:%M}",
        lambda counts: sum(count * spec.groups[name].addresses for name, count in counts.items()) <= most,
    )


def quota(cloud: Cloud, shortages: Shortages, machines: int, now: datetime) -> Bound | None:
    """Return the account's quota as a bound; None if it is not known.

    A quota that refused a server within the last hour counts before the limit that the cloud reports,
    so that it is hit once an hour and not on every tick. `machines` is the number of the stack's servers.
    """
    if learned := shortages.quota(now):
        most, at = learned
        why = f"the account refused more at {at:%H:%M} UTC, and is asked again at {at + QUOTA_FOR:%H:%M}"
    else:
        try:
            limits = cloud.limits()
        except CloudError:
            return None
        if limits.servers is None:
            return None
        most = limits.servers - max(0, (limits.in_use or 0) - machines)
        why = f"the account's limit of {limits.servers} leaves the stack {most}"
    return Bound("quota", why, lambda counts: sum(counts.values()) <= most)
