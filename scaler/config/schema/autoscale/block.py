"""A group's `autoscale` block as a whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, field_validator

from scaler.config.schema.autoscale.metrics import MetricSchema, one_source
from scaler.config.schema.autoscale.quantities import MetricName, Pause, Some
from scaler.config.schema.autoscale.rules import RuleSchema, named_metrics, one_rule
from scaler.config.schema.context import Info
from scaler.config.schema.fields import NOT_EMPTY, duration_key, spec_key, strict_config
from scaler.config.schema.functions import Function
from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.values import MOST_SERVERS
from scaler.model.autoscaling import Direction, Policy
from scaler.support.suggestions import nearest_clause


class DirectionSchema(BaseModel):
    """How eagerly the count goes one way."""

    model_config = strict_config("Direction")

    stabilise: Pause = duration_key("All decisions of this long must ask for it; the mildest is taken.", "0s")
    cooldown: Pause = duration_key("The least time after a change.", "0s")
    step: Annotated[int, Field(strict=True, ge=1, le=MOST_SERVERS)] | None = spec_key(
        "Most servers at once.", default=None
    )

    def direction(self) -> Direction:
        return Direction(stabilise=self.stabilise, cooldown=self.cooldown, step=self.step)


class DownSchema(DirectionSchema):
    """How eagerly the count goes down."""

    stabilise: Pause = duration_key("All decisions of this long must ask for it; the mildest is taken.", "5m")
    cooldown: Pause = duration_key("The least time after a change.", "5m")


def _require_known(rules: Sequence[RuleSchema], metrics: Collection[str]) -> None:
    """Refuse a rule that names a metric that the block does not have."""
    for index, schema in enumerate(rules):
        for name, place in named_metrics(schema):
            if name not in metrics:
                raise refusal(
                    f"names no metric: {shown(name)}", nearest_clause(name, list(metrics)), at=(index, *place)
                )


class AutoscaleSchema(BaseModel):
    """How the group's count follows its load."""

    model_config = strict_config("Autoscale", {"anyOf": [{"required": ["rules"]}, {"required": ["function"]}]})

    metrics: dict[MetricName, Annotated[MetricSchema, AfterValidator(one_source)]] = spec_key(
        "The numbers, by name.", default={}
    )
    function: Function | None = spec_key(
        "A function, module:function, that gets the load and returns the count; it counts as one more rule.",
        default=None,
    )
    rules: Annotated[tuple[Annotated[RuleSchema, AfterValidator(one_rule)], ...], Some] | None = spec_key(
        "What the numbers mean: the largest proposal counts, and all must agree going down.",
        default=None,
        validate_default=True,
        json_schema_extra=NOT_EMPTY,
    )
    up: DirectionSchema = spec_key("Going up.", default=DirectionSchema(), json_schema_extra={"default": {}})
    down: DownSchema = spec_key("Going down.", default=DownSchema(), json_schema_extra={"default": {}})
    on_error: Literal["hold", "max"] = spec_key(
        "What a rule proposes whose metric is not to be believed.", default="hold"
    )

    @field_validator("metrics")
    @classmethod
    def _monitored(cls, metrics: dict[str, MetricSchema], info: Info) -> dict[str, MetricSchema]:
        for name, metric in metrics.items():
            if metric.cloud and info.context.cloud == "digitalocean" and not info.context.monitoring:
                raise refusal(
                    "is measured of monitored droplets only", "add monitoring: true to the group", at=(name, "cloud")
                )
        return metrics

    @field_validator("rules")
    @classmethod
    def _known_metrics(cls, given: tuple[RuleSchema, ...] | None, info: Info) -> tuple[RuleSchema, ...]:
        known, rules = info.data.get("metrics"), given or ()
        if given is None and info.data.get("function", ...) is None:
            raise refusal("must have rules or a function", "add rules")
        if known is None:
            return rules
        _require_known(rules, known)
        used = {name for schema in rules for name, _ in named_metrics(schema)}
        if info.data.get("function", ...) is not None:
            return rules
        if unused := [name for name in known if name not in used]:
            raise refusal(f"use not every metric: {', '.join(unused)}", "remove it, or name it in a rule")
        return rules

    def policy(self) -> Policy:
        """Convert it to the model."""
        return Policy(
            metrics={name: metric.metric(name) for name, metric in self.metrics.items()},
            rules=tuple(rule.rule() for rule in self.rules or ()),
            function=self.function,
            up=self.up.direction(),
            down=self.down.direction(),
            on_error=self.on_error,
        )
