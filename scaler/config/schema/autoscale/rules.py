"""`rules`: what count the metrics mean."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, field_validator

from scaler.config.schema.autoscale.quantities import Cron, Positive, Quantity, Share, Some, TimeZone
from scaler.config.schema.context import Info
from scaler.config.schema.fields import NOT_EMPTY, given_key, one_of_required, spec_key, strict_config
from scaler.config.schema.refusals import refusal
from scaler.config.schema.values import MOST_SERVERS, Duration, Number, Text
from scaler.model.autoscaling import Backlog, Learned, Rule, Schedule, Steps, Target, Threshold, Wait, Window


class TargetSchema(BaseModel):
    """Keep a metric, an average over the servers, at a value."""

    model_config = strict_config("Target")

    metric: Text = spec_key("The metric.")
    value: Positive = spec_key("Where to keep it.")
    tolerance: Share = spec_key(
        "How far from the value nothing changes.", default=0.1, json_schema_extra={"default": "10%"}
    )

    def rule(self) -> Target:
        return Target(metric=self.metric, value=self.value, tolerance=self.tolerance)


class LearnSchema(BaseModel):
    """A throughput learned from a counter of finished jobs."""

    model_config = strict_config("Learn")

    metric: Text = spec_key("The metric that counts finished jobs.")
    initial: Positive | None = spec_key("Jobs per second and server until something is learned.", default=None)


class BacklogSchema(BaseModel):
    """So many servers that the waiting jobs are few for each, or soon done."""

    model_config = strict_config("Backlog", one_of_required("per_server", "within"))

    metric: Text = spec_key("The metric that counts the waiting jobs.")
    per_server: Positive | None = spec_key("The most waiting jobs per server.", default=None)
    within: Duration | None = spec_key(
        "How soon all jobs shall be done, at a throughput known or learned.", default=None
    )
    throughput: Positive | None = spec_key("Jobs per second and server.", default=None)
    learn: LearnSchema | None = spec_key("Learn the throughput.", default=None)
    tolerance: Share = spec_key("How far from it nothing changes.", default=0.0, json_schema_extra={"default": "0%"})

    def rule(self) -> Backlog:
        learned = Learned(metric=self.learn.metric, initial=self.learn.initial) if self.learn else None
        return Backlog(
            metric=self.metric,
            per_server=self.per_server,
            within=self.within,
            throughput=learned or self.throughput,
            tolerance=self.tolerance,
        )


def _one_way(value: BacklogSchema) -> BacklogSchema:
    given_key(value, ("per_server", "within"))
    if value.within is not None:
        given_key(value, ("throughput", "learn"))
    elif value.throughput is not None or value.learn is not None:
        raise refusal("has a throughput, which per_server has no use for", "remove it, or write within")
    return value


class WaitSchema(BaseModel):
    """Keep a waiting time below a duration."""

    model_config = strict_config("Wait")

    metric: Text = spec_key("The metric: seconds.")
    within: Duration = spec_key("Where to keep it.")
    tolerance: Share = spec_key("How far from it nothing changes.", default=0.1, json_schema_extra={"default": "10%"})

    def rule(self) -> Wait:
        return Wait(metric=self.metric, within=self.within, tolerance=self.tolerance)


class StepSchema(BaseModel):
    """From this value on: a count, or a change."""

    model_config = strict_config("Step", one_of_required("count", "change"))

    start: Quantity = spec_key("The value.", alias="from")
    count: Number | None = spec_key("The count.", default=None)
    change: Annotated[int, Field(strict=True, ge=-MOST_SERVERS, le=MOST_SERVERS)] | None = spec_key(
        "Servers more, or fewer if negative.", default=None
    )


class StepsSchema(BaseModel):
    """Which count, or change, belongs to which value."""

    model_config = strict_config("Steps")

    metric: Text = spec_key("The metric.")
    table: Annotated[tuple[StepSchema, ...], Some] = spec_key(
        "The steps, by rising value, from 0 on.", json_schema_extra=NOT_EMPTY
    )

    @field_validator("table")
    @classmethod
    def _rising(cls, table: tuple[StepSchema, ...]) -> tuple[StepSchema, ...]:
        kinds = {given_key(step, ("count", "change")) for step in table}
        if len(kinds) > 1:
            raise refusal("must have either counts or changes, not both")
        if table[0].start != 0:
            raise refusal("must be 0 in the first step, so that every value has one", at=(0, "from"))
        for index, (before, step) in enumerate(pairwise(table), start=1):
            if step.start <= before.start:
                raise refusal("must be more than the step before it", at=(index, "from"))
            if _number(step) < _number(before):
                raise refusal(
                    "must not be fewer than in the step before it: more load never means fewer servers", at=(index,)
                )
        return table

    def rule(self) -> Steps:
        return Steps(
            metric=self.metric,
            steps=tuple(Threshold(step.start, _number(step)) for step in self.table),
            relative=self.table[0].change is not None,
        )


def _number(step: StepSchema) -> int:
    return step.count if step.count is not None else step.change or 0


class WindowSchema(BaseModel):
    """From each moment of a cron expression on, for a while: other bounds."""

    model_config = strict_config("Window")

    cron: Cron = spec_key("When it opens, such as 0 8 * * mon-fri.")
    length: Duration = spec_key("How long it is open.", alias="for")
    min: Number | None = spec_key("The fewest servers meanwhile.", default=None)
    max: Number | None = spec_key("The most servers meanwhile.", default=None)

    @field_validator("max")
    @classmethod
    def _at_least_min(cls, value: int | None, info: Info) -> int | None:
        least = info.data.get("min")
        if value is not None and least is not None and value < least:
            raise refusal(f"must be at least min ({least}), not {value}")
        return value


class ScheduleSchema(BaseModel):
    """Bounds by the clock."""

    model_config = strict_config("Schedule")

    timezone: TimeZone = spec_key("The time zone of the cron expressions.")
    windows: Annotated[tuple[WindowSchema, ...], Some] = spec_key("The windows.", json_schema_extra=NOT_EMPTY)

    def rule(self) -> Schedule:
        return Schedule(
            timezone=self.timezone,
            windows=tuple(
                Window(cron=window.cron, length=window.length, min=window.min, max=window.max)
                for window in self.windows
            ),
        )


_RULES = ("target", "backlog", "wait", "steps", "schedule")


class RuleSchema(BaseModel):
    """One rule; the largest proposal of all rules wins."""

    model_config = strict_config("Rule", one_of_required(*_RULES))

    target: TargetSchema | None = spec_key("Keep a metric at a value.", default=None)
    backlog: Annotated[BacklogSchema, AfterValidator(_one_way)] | None = spec_key(
        "So many servers for the jobs that wait.", default=None
    )
    wait: WaitSchema | None = spec_key("Keep a waiting time below a duration.", default=None)
    steps: StepsSchema | None = spec_key("A table of counts or changes.", default=None)
    schedule: ScheduleSchema | None = spec_key("Bounds by the clock.", default=None)

    def rule(self) -> Rule:
        """Convert it to the model."""
        schema: TargetSchema | BacklogSchema | WaitSchema | StepsSchema | ScheduleSchema
        schema = getattr(self, next(kind for kind in _RULES if getattr(self, kind) is not None))
        return schema.rule()


def one_rule(value: RuleSchema) -> RuleSchema:
    given_key(value, _RULES)
    return value


def named_metrics(schema: RuleSchema) -> Sequence[tuple[str, tuple[str, ...]]]:
    """Return the metrics that a rule names, each with its place in the rule."""
    for kind in ("target", "wait", "steps"):
        if (rule := getattr(schema, kind)) is not None:
            return [(rule.metric, (kind, "metric"))]
    if schema.backlog is None:
        return []
    learn = schema.backlog.learn
    learned = [(learn.metric, ("backlog", "learn", "metric"))] if learn else []
    return [(schema.backlog.metric, ("backlog", "metric")), *learned]
