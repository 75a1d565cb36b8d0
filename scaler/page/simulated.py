"""Simulations side by side: what each policy costs and lets wait, and what was assumed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from datetime import timedelta

from scaler.autoscale.report import ROWS, time_span
from scaler.autoscale.simulate import Simulation
from scaler.autoscale.trace import Trace
from scaler.model.autoscaling import Direction, Rule, Threshold, Window
from scaler.output.words import format_count
from scaler.page.view import Chart, Curve, Sentence, Table, WebPage
from scaler.support.clock import format_time
from scaler.support.durations import format_duration

_MOST_DECISIONS = 200
"""Of each policy; all of them are in the JSON document."""


def simulation_page(simulations: Sequence[Simulation], trace: Trace, *, title: str) -> WebPage:
    """Return the page of simulations of the same recorded load. The first is what the others are compared with."""
    return WebPage(
        title=title,
        subtitle=f"Recorded load replayed: {time_span(simulations[0])}, {format_count(len(trace.times), 'moment')}",
        sentences=list(_sentences(simulations)),
        charts=list(_charts(simulations, trace)),
        tables=[
            Table(title="Numbers", head=_head(simulations), rows=_rows(simulations, ROWS), kind="numbers"),
            Table(title="Assumptions", head=_head(simulations), rows=_rows(simulations, _ASSUMPTIONS), kind="compared"),
            *map(_decisions, simulations),
        ],
    )


# ---------------------------------------------------------------------------------------------
# The conclusion


def _sentences(simulations: Sequence[Simulation]) -> Iterator[Sentence]:
    first, *others = simulations
    yield Sentence(f"{first.name} {_price(first)} and {_service(first)}.")
    for one in others:
        yield Sentence(f"{one.name} {_price_against(one, first)} and {_service(one)} ({first.name}: {_amount(first)}).")


def _price(one: Simulation) -> str:
    if one.cost is None:
        return f"uses {one.server_hours:.0f} server-hours"
    return f"costs {one.cost:.2f} {one.currency}"


def _price_against(one: Simulation, first: Simulation) -> str:
    """Compare costs, or without prices the server-hours."""
    if one.cost is None or first.cost is None or one.currency != first.currency:
        return f"uses {_share(one.server_hours, first.server_hours, 'as many', 'fewer', 'more')} server-hours"
    return f"costs {_share(one.cost, first.cost, 'as much', 'less', 'more')}"


def _share(number: float, base: float, same: str, less: str, more: str) -> str:
    percent = round(100 * (number - base) / base) if base else 0
    if percent == 0:
        return same
    return f"{abs(percent)} % {less if percent < 0 else more}"


def _service(one: Simulation) -> str:
    if one.late_jobs is None:
        return f"has too few servers ready for {one.overload_minutes:.0f} min"
    return f"lets {_amount(one)} wait longer than {_slo(one)}"


def _slo(one: Simulation) -> str:
    return f"{one.slo_s:g} s" if one.slo_s < 120 else format_duration(timedelta(seconds=one.slo_s))


def _amount(one: Simulation) -> str:
    """Return how much went badly, for a comparison."""
    if one.late_jobs is None:
        return f"{one.overload_minutes:.0f} min"
    return format_count(round(one.late_jobs), "job") if round(one.late_jobs) else "no job"


# ---------------------------------------------------------------------------------------------
# Charts


def _charts(simulations: Sequence[Simulation], trace: Trace) -> Iterator[Chart]:
    times = simulations[0].times
    counts = [
        Curve(label=f"{one.name} {label}", values=values, color=index)
        for index, one in enumerate(simulations)
        for label, values in (("wanted", one.wanted), ("ready", one.ready))
    ]
    yield Chart(title="Servers", times=times, lines=counts, whole=True)
    waits = [
        Curve(label=one.name, values=one.wait_by_step, color=index)
        for index, one in enumerate(simulations)
        if one.wait_by_step is not None
    ]
    if waits:
        yield Chart(title="Waiting time in seconds", times=times, lines=waits)
    for name, values in trace.columns.items():
        yield Chart(title=f"Recorded: {name}", times=trace.times, lines=[Curve(label=name, values=values, color=5)])


# ---------------------------------------------------------------------------------------------
# Tables


def _head(simulations: Sequence[Simulation]) -> list[str]:
    return ["", *(one.name for one in simulations)]


def _rows(
    simulations: Sequence[Simulation], rows: Sequence[tuple[str, Callable[[Simulation], str]]]
) -> list[list[str]]:
    return [[label, *(show(one) for one in simulations)] for label, show in rows]


def _decisions(one: Simulation) -> Table:
    changes = [decision for decision in one.decisions if decision.change]
    more = f", the first {_MOST_DECISIONS}" if len(changes) > _MOST_DECISIONS else ""
    return Table(
        title=f"{one.name}: {format_count(one.changes, 'change')}{more}",
        head=("time", "count", "why"),
        rows=[
            (format_time(decision.at), f"{decision.supply.current} → {decision.count}", decision.reason)
            for decision in changes[:_MOST_DECISIONS]
        ],
        folded=True,
    )


def _boots(one: Simulation) -> str:
    boots = sorted(one.setting.boots)
    if len(set(boots)) == 1:
        return format_duration(boots[0])
    ends = f"{format_duration(boots[0])} to {format_duration(boots[-1])}"
    return f"{ends}, {len(boots)} in turn"


def _throughput(one: Simulation) -> str:
    return "as the policy says" if one.setting.throughput is None else f"{one.setting.throughput:g} jobs a second"


def _hourly(one: Simulation) -> str:
    price = one.setting.price
    if price is None:
        return "not known"
    month = f", at most {price.per_month:f} a month" if price.per_month is not None else ""
    return f"{price.per_hour:f} {price.currency} an hour{month}"


def _bounds(one: Simulation) -> str:
    setting, group = one.setting, one.group
    parts = [f"{group.min} to {'any' if group.max is None else group.max}"]
    parts += [f"limit {setting.limit}"] if setting.limit is not None else []
    parts += [f"budget {setting.budget} a month"] if setting.budget is not None else []
    return ", ".join(parts)


def _start(one: Simulation) -> str:
    return str(one.group.count if one.setting.start is None else one.setting.start)


def _rules(one: Simulation) -> str:
    policy = one.group.autoscale
    rules = [_rule(rule) for rule in policy.rules] if policy else []
    return "; ".join([*rules, *([f"the function {policy.function}"] if policy and policy.function else [])])


def _rule(rule: Rule) -> str:
    known = [(each.name, getattr(rule, each.name)) for each in fields(rule) if each.name != "metric"]
    words = [f"{name} {_value(value)}" for name, value in known if value not in (None, 0.0, False)]
    return f"{rule.name}: {', '.join(words)}"


def _direction(direction: Direction) -> str:
    parts = [f"after {format_duration(direction.stabilise)} of asking"] if direction.stabilise else ["at once"]
    parts += [f"cooldown {format_duration(direction.cooldown)}"] if direction.cooldown else []
    parts += [f"{direction.step} at a time"] if direction.step else []
    return ", ".join(parts)


def _up(one: Simulation) -> str:
    return _direction(one.group.autoscale.up) if one.group.autoscale else ""


def _down(one: Simulation) -> str:
    return _direction(one.group.autoscale.down) if one.group.autoscale else ""


def _value(value: object) -> str:
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple):
        return ", ".join(map(_value, value))
    if isinstance(value, Threshold):
        return f"{value.count} from {value.start:g}"
    if isinstance(value, Window):
        return f"{value.cron} for {format_duration(value.length)}: {value.min} to {value.max}"
    return f"{value:g}" if isinstance(value, float) else str(value)


_ASSUMPTIONS: Sequence[tuple[str, Callable[[Simulation], str]]] = (
    ("boot", _boots),
    ("work of a server", _throughput),
    ("waits too long after", _slo),
    ("price", _hourly),
    ("servers at first", _start),
    ("bounds", _bounds),
    ("rules", _rules),
    ("up", _up),
    ("down", _down),
)
