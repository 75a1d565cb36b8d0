"""What `scaler simulate` replays: the group, the policies, the recorded load and the settings."""

from __future__ import annotations

import os
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from scaler.commands.context import Context
from scaler.commands.printing import print_note
from scaler.config.project import Project
from scaler.converge.counts import known_group
from scaler.errors import ScalerError, UsageError
from scaler.model import Group, Price, Spec
from scaler.support.text import one_line
from scaler.support.values import dataclass

if TYPE_CHECKING:
    from scaler.autoscale.simulate import Setting
    from scaler.autoscale.trace import Trace

_PROMETHEUS = "prometheus"
_RECORDED = "recorded"
_DEFAULT_BOOT = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the command line says of the setting; None and () stand for the default."""

    boots: tuple[timedelta, ...]
    throughput: float | None
    start: int | None
    slo: timedelta | None
    price: Decimal | None


def choose_group(spec: Spec, group: str | None) -> str:
    """Return the named group, else the only one with a policy; UsageError if there is no such group."""
    if group is not None:
        return known_group(spec, group)
    having = [name for name, one in spec.groups.items() if one.autoscale]
    if len(having) == 1:
        return having[0]
    if not having:
        raise UsageError(f"No group of {spec.stack} has an autoscale block.", fix=f"Add one in {spec.path}.")
    raise UsageError(
        f"Several groups of {spec.stack} have a policy: {', '.join(having)}.", fix="Say which with --group."
    )


def load_specs(project: Project, spec: Spec, paths: tuple[Path, ...], name: str) -> dict[str, Spec]:
    """Return the specs to compare, by label: the stack's own, and those of these files."""
    from scaler.config.spec import load

    specs = {spec.stack: spec}
    for path in paths:
        if path.stem in specs:
            raise UsageError(f"Two policies are named {path.stem}.", fix="Rename one of the files.")
        specs[path.stem] = load(path.resolve(), project.name)
        group_of(specs[path.stem], name)
    return specs


def group_of(spec: Spec, name: str) -> Group:
    """Return the group of this name, else the only one with a policy."""
    return spec.groups[name if name in spec.groups else choose_group(spec, None)]


def read_trace(
    context: Context, project: Project, spec: Spec, name: str, metrics: str, *, since: timedelta, step: timedelta
) -> Trace:
    """Read the load of a group from a file or from the logged decisions, or ask Prometheus for it."""
    from scaler.autoscale.prometheus_trace import fetch_trace
    from scaler.autoscale.trace import load_trace, trace_of
    from scaler.commands.recorded import recorded

    group = spec.groups[name]
    if metrics == _RECORDED:
        return trace_of(recorded(context, project, spec.stack).events(), name, context.clock.now() - since)
    if metrics != _PROMETHEUS:
        return load_trace(Path(metrics))
    return fetch_trace(
        group, since=since, step=step, clock=context.clock, environ=os.environ, directory=project.directory
    )


def make_setting(context: Context, project: Project, spec: Spec, group: Group, given: Given) -> Setting:
    """Return the setting of one replay: what the command line says, else what the records and the cloud say."""
    from scaler.autoscale.simulate import Setting

    return Setting(
        cloud=spec.cloud,
        boots=given.boots or _recorded_boots(context, project, spec, group) or (_DEFAULT_BOOT,),
        throughput=given.throughput,
        start=given.start,
        slo=given.slo,
        price=_price(context, project, spec, group, given.price),
        limit=spec.limit,
        budget=spec.budget,
    )


def _recorded_boots(context: Context, project: Project, spec: Spec, group: Group) -> tuple[timedelta, ...]:
    """How long the stack's own servers took to boot, as far as the records show."""
    from scaler.commands.recorded import recorded
    from scaler.records.boots import boot_times

    return tuple(boot_times(recorded(context, project, spec.stack).events()).get(group.name, ()))


def _price(context: Context, project: Project, spec: Spec, group: Group, given: Decimal | None) -> Price | None:
    """The price of the command line, else the cloud's; None, after a warning, if the cloud reports none."""
    currency = {"hetzner": "EUR", "digitalocean": "USD"}.get(spec.cloud, "")
    if given is not None:
        return Price(currency, given)
    from scaler.planning.prices import Priced, price_of
    from scaler.wiring import opened_cloud

    try:
        with opened_cloud(project, spec, os.environ, context.clock) as cloud:
            catalogue = cloud.catalogue()
    except ScalerError as error:
        print_note(f"warning: without prices: {one_line(str(error))}; give --price")
        return None
    price = price_of(catalogue, Priced(group.types[0], group.locations[0], group.public_ipv4))
    if price is None:
        print_note(f"warning: {group.types[0]} has no price in {group.locations[0]}; give --price")
    return price
