"""What the tests of the number have in common: a group with a policy, and a fleet whose time is moved."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scaler.autoscale.decide import decide
from scaler.autoscale.decision import Ceiling, Decision, History, Sample, Supply
from scaler.model import Group, ImageRef, Spec
from scaler.model.autoscaling import Direction, FixedSource, Metric, Policy, Rule

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
EAGER = Direction()


def metric(name: str, **rest: Any) -> Metric:
    return Metric(name=name, source=FixedSource(value=0), **rest)


def policy(*rules: Rule, up: Direction = EAGER, down: Direction = EAGER, **rest: Any) -> Policy:
    names = {rule.metric for rule in rules if hasattr(rule, "metric")}
    metrics = {name: metric(name) for name in sorted(names)}
    known: dict[str, Any] = {"metrics": metrics, "rules": rules, "up": up, "down": down}
    return Policy(**(known | rest))


def group(policy: Policy | None, *, min: int = 0, max: int = 20, count: int = 2, name: str = "worker") -> Group:
    return Group(
        name=name,
        count=count,
        min=min,
        max=max,
        image=ImageRef("slug", "ubuntu-24.04"),
        types=("cx23",),
        locations=("fsn1",),
        autoscale=policy,
    )


def spec(*groups: Group, limit: int | None = None) -> Spec:
    return Spec(
        project="shop",
        stack="prod",
        cloud="hetzner",
        endpoint="embedded",
        backend=None,
        limit=limit,
        groups={group.name: group for group in groups},
        path=Path("stacks/prod.yaml"),
    )


@dataclass
class Fleet:
    """A group's servers, which take their time to boot; its decisions are carried out."""

    group: Group
    current: int
    boot: timedelta = timedelta(0)
    now: datetime = START
    history: History = field(default_factory=History)
    booting: list[datetime] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    @property
    def supply(self) -> Supply:
        waiting = sum(1 for moment in self.booting if moment > self.now)
        return Supply(self.current, self.current, self.current - waiting)

    def decide(self, **values: float | Sample | None) -> Decision:
        samples = {
            name: value if isinstance(value, Sample) else Sample(value, self.now) for name, value in values.items()
        }
        return decide(self.group, samples, self.supply, self.history, self.now)

    def step(self, seconds: float = 60, **values: float | Sample | None) -> Decision:
        """Decide, carry it out, and let time pass."""
        decision = self.decide(**values)
        self.booting += [self.now + self.boot] * max(0, decision.change)
        self.booting = sorted(self.booting)[: decision.count]
        self.current, self.history = decision.count, decision.carried_out
        self.decisions.append(decision)
        self.now += timedelta(seconds=seconds)
        return decision

    def by_hand(self, count: int) -> None:
        self.current = count

    @property
    def counts(self) -> list[int]:
        return [decision.count for decision in self.decisions]

    @property
    def notices(self) -> list[str]:
        return [notice for decision in self.decisions for notice in decision.notices]


__all__ = ["EAGER", "START", "Ceiling", "Fleet", "group", "metric", "policy", "replace", "spec"]
