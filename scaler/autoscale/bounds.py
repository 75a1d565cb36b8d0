"""What bounds the stack as a whole from outside the spec's counts: its budget, and the account's quota."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from scaler.autoscale.decide import Bound, Supply
from scaler.clouds import Catalogue, Cloud, CloudError
from scaler.model import Group, Server, Spec
from scaler.planning import prices
from scaler.planning.plan import placements
from scaler.records.shortages import QUOTA_FOR, Shortages
from scaler.support.clock import Clock

_PRICES_FOR_S = timedelta(hours=1).total_seconds()


@dataclass
class Prices:
    """A cloud's catalogue, read once an hour: a watch keeps one of these for all of its ticks."""

    clock: Clock
    _known: tuple[str, float, Catalogue] | None = None

    def of(self, cloud: Cloud) -> Catalogue | None:
        """The catalogue; None if the cloud does not give it now."""
        now = self.clock.monotonic()
        if self._known and self._known[0] == cloud.name and now - self._known[1] < _PRICES_FOR_S:
            return self._known[2]
        try:
            self._known = cloud.name, now, cloud.catalogue()
        except CloudError:
            return None
        return self._known[2]


def per_month(catalogue: Catalogue, servers: Iterable[Server]) -> Decimal:
    """What servers that are there cost a month, by list prices."""
    return _sum(catalogue, map(prices.existing, servers))


def budget(spec: Spec, catalogue: Catalogue, servers: Iterable[Server], supplies: Mapping[str, Supply]) -> Bound | None:
    """As many servers as the budget pays, new ones at the list price of their group's first placement.

    It keeps servers from being created and removes none, as the guard in front of every plan does.
    """
    most = spec.budget
    if most is None:
        return None
    there = per_month(catalogue, (server for server in servers if server.counts))
    each = {name: _price(catalogue, group) for name, group in spec.groups.items()}

    def fits(counts: Mapping[str, int]) -> bool:
        new = (max(0, count - supplies[name].supply) * each[name] for name, count in counts.items())
        return there + sum(new, Decimal(0)) <= most

    return Bound("budget", f"the budget is {catalogue.currency} {most} a month", fits)


def _price(catalogue: Catalogue, group: Group) -> Decimal:
    """A new server's; nothing, if no placement of the group is sold: then none can be created either."""
    sold = (place for place in placements(group) if catalogue.offer(*place))
    return _sum(catalogue, [prices.Priced(*place, group.public_ipv4) for place in sold][:1])


def _sum(catalogue: Catalogue, servers: Iterable[prices.Priced]) -> Decimal:
    cost = prices.cost(catalogue, (), servers)
    return Decimal(str(cost.per_month_after)) if cost else Decimal(0)


def quota(cloud: Cloud, shortages: Shortages, machines: int, now: datetime) -> Bound | None:
    """As many servers as the account is known to allow: as it told, or as it was run into within the hour.

    So that a quota is run into once an hour, not at every look at the load. `machines` are the stack's.
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
