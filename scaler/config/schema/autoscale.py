"""A group's `autoscale` block: where its numbers come from, and what count they mean.

`scaler.config.schema` imports this module after its own values, which are used here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator
from pydantic import ValidationInfo as Info

from scaler.config.schema import MOST_SERVERS, Choices, Command, Duration, Function, Number, Text, Url, refusal, shown
from scaler.model.autoscaling import (
    Backlog,
    CloudSource,
    CommandSource,
    Direction,
    FixedSource,
    HorizonSource,
    HttpSource,
    Learned,
    Metric,
    Policy,
    PrometheusSource,
    RedisSource,
    Rule,
    Schedule,
    Source,
    Step,
    Steps,
    Target,
    Wait,
    Window,
)
from scaler.support.durations import parse_duration
from scaler.support.suggestions import nearest

_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_METRIC_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_POINTER = re.compile(r"(/([^~/]|~[01])*)*")

# ---------------------------------------------------------------------------------------------
# Values


def _quantity(value: object) -> float:
    """A number with a point is a text in our YAML, so that nothing changes silently."""
    if isinstance(value, bool) or not isinstance(value, int | str) or not _DECIMAL.fullmatch(str(value)):
        raise refusal(f"must be a number such as 60 or 0.75, not {shown(value)}")
    return float(value)


def _positive(value: float) -> float:
    if value == 0:
        raise refusal("must be more than 0")
    return value


def _share(value: object) -> float:
    text = str(value)
    number = text.removesuffix("%")
    if not text.endswith("%") or not _DECIMAL.fullmatch(number) or float(number) >= 100:
        raise refusal(f"must be a percentage below 100%, such as 10%, not {shown(value)}")
    return float(number) / 100


def _pause(value: object) -> object:
    """A duration that may be nothing."""
    return timedelta(0) if value == "0s" else value


def _pause_up_to_a_day(value: object) -> timedelta:
    if value == timedelta(0):
        return timedelta(0)
    try:
        length = parse_duration(str(value))
    except ValueError:
        raise refusal(f"must be a duration such as 0s, 90s or 10m, not {shown(value)}") from None
    if length > timedelta(hours=24):
        raise refusal(f"must be at most 24h, not {shown(value)}")
    return length


def _matching(form: re.Pattern[str], what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not form.fullmatch(value):
            raise refusal(f"must be {what}, not {shown(value)}")
        return value

    return AfterValidator(check)


def _redis_url(value: str) -> str:
    """Not repeated in the message: it may hold a password in any place."""
    try:
        url = urlsplit(value)
        credentials, _ = url.password is not None or url.username is not None, url.port
    except ValueError:
        raise refusal("must be a Redis URL", "write it as redis://host:6379/0") from None
    if credentials:
        raise refusal("must not hold credentials", "name the environment variable that does in password_env")
    if url.scheme not in ("redis", "rediss", "unix") or not (url.hostname or url.scheme == "unix"):
        raise refusal("must be a Redis URL", "write it as redis://host:6379/0")
    return value


def _timezone(value: str) -> str:
    if value not in available_timezones():
        raise refusal(f"must be a time zone such as Europe/Berlin, not {shown(value)}", _nearest_zone(value))
    return value


def _nearest_zone(value: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(value, sorted(available_timezones()), n=1)
    return f"did you mean {close[0]}?" if close else ""


def _cron(value: str) -> str:
    try:
        from scaler.support.cron import cron_problem
    except ModuleNotFoundError as error:
        raise refusal(f"needs {error.name}, which is not installed", "pip install 'scaler[autoscale]'") from None
    if problem := cron_problem(value):
        raise refusal(f"{problem}, not {shown(value)}")
    return value


_NUMBER_SCHEMA = {"type": ["number", "string"], "pattern": f"^{_DECIMAL.pattern}$"}
_DURATION_SCHEMA = {"type": "string", "pattern": "^(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"}
Quantity = Annotated[float, BeforeValidator(_quantity), WithJsonSchema(_NUMBER_SCHEMA)]
Positive = Annotated[Quantity, AfterValidator(_positive)]
Share = Annotated[
    float, BeforeValidator(_share), WithJsonSchema({"type": "string", "pattern": f"^{_DECIMAL.pattern}%$"})
]
Pause = Annotated[
    timedelta, BeforeValidator(_pause_up_to_a_day), BeforeValidator(_pause), WithJsonSchema(_DURATION_SCHEMA)
]
Variable = Annotated[Text, _matching(_VARIABLE, "the name of an environment variable")]
Pointer = Annotated[Text, _matching(_POINTER, "a JSON pointer such as /queue/waiting")]
MetricName = Annotated[str, _matching(_METRIC_NAME, "lower-case letters, digits and _, the first a letter")]
RedisUrl = Annotated[
    Text,
    AfterValidator(_redis_url),
    WithJsonSchema({"type": "string", "pattern": "^(rediss?://[^/]|unix:///)"}),
]
TimeZone = Annotated[Text, AfterValidator(_timezone)]
Cron = Annotated[Text, AfterValidator(_cron)]


def _key(description: str, **rest: Any) -> Any:
    return Field(description=description, **rest)


def _lasting(description: str, default: str) -> Any:
    """A key whose value is a duration."""
    return _key(description, default=parse_duration(default), json_schema_extra={"default": default})


def _config(title: str, extra: dict[str, Any] | None = None) -> ConfigDict:
    return ConfigDict(extra="forbid", title=title, json_schema_extra=extra)


def _some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise refusal("must not be empty", "name at least one")
    return values


Some = AfterValidator(_some)
"""At least one; checked last, since pydantic counts only the valid ones."""

_NOT_EMPTY = {"minItems": 1}


def _one_of(*keys: str) -> dict[str, Any]:
    """JSON Schema: one of these keys, and no other of them."""
    return {"oneOf": [{"required": [key]} for key in keys]}


def _the_one(value: BaseModel, keys: tuple[str, ...]) -> str:
    """The one key of several that was given."""
    given = [key for key in keys if key in value.model_fields_set]
    if len(given) != 1:
        raise refusal(f"must have exactly one of the keys {', '.join(keys[:-1])} and {keys[-1]}")
    return given[0]


# ---------------------------------------------------------------------------------------------
# Metrics


class PrometheusSchema(BaseModel):
    """A PromQL query that gives one number."""

    model_config = _config("Prometheus")

    url: Url = _key("Where Prometheus is, such as http://127.0.0.1:9090.")
    query: Text = _key("The query; it must give one series or a scalar.")
    window: Duration | None = _key("Look at this long instead of at now.", default=None)
    step: Duration = _lasting("The distance of the window's points.", "15s")
    aggregate: Literal["last", "mean", "max", "min"] = _key("What of the window's points counts.", default="mean")
    token_env: Variable | None = _key("The environment variable that holds a bearer token.", default=None)


class _RedisAccess(BaseModel):
    url: RedisUrl = _key("The server and its database, such as redis://127.0.0.1:6379/0.")
    username: Text | None = _key("The user, where Redis has several.", default=None)
    password_env: Variable | None = _key("The environment variable that holds the password.", default=None)


class RedisSchema(_RedisAccess):
    """A list or a stream in Redis."""

    model_config = _config("Redis")

    key: Text = _key("The list's or stream's key, with all prefixes.")
    measure: Literal["length", "age"] = _key(
        "The number of entries, or the age of the oldest in seconds.", default="length"
    )
    age_field: Text = _key("Where a list's entries say when they were pushed.", default="pushedAt")
    oldest: Literal["first", "last"] = _key("Which end of the list is the oldest entry.", default="first")


class HorizonSchema(_RedisAccess):
    """Laravel Horizon's queues."""

    model_config = _config("Horizon")

    queues: Choices = _key("The queues; of several, the sum of the jobs or the longest wait.", default=("default",))
    measure: Literal["wait", "pending"] = _key("The wait in seconds, or the number of jobs.", default="wait")
    prefix: Text = _key("horizon.prefix of the application.", default="laravel_horizon:")
    queue_prefix: Annotated[str, BeforeValidator(str)] = _key(
        "database.redis.options.prefix of the application.", default="laravel_database_"
    )
    connection: Text = _key("The queue connection's name.", default="redis")
    runtime: Duration = _lasting("How long a job takes, while Horizon has measured none.", "1s")


class HttpSchema(BaseModel):
    """A JSON document at a URL."""

    model_config = _config("Http")

    url: Url = _key("Where the document is.")
    pointer: Pointer = _key("Where in it the number is; without it, the document is the number.", default="")
    time_pointer: Pointer | None = _key("Where in it the number's moment is.", default=None)
    token_env: Variable | None = _key("The environment variable that holds a bearer token.", default=None)


class CommandSchema(BaseModel):
    """A program that prints a number or a JSON document."""

    model_config = _config("Command")

    run: Command = _key("The program and its arguments, in the project folder.")
    pointer: Pointer = _key("Where in the document the number is.", default="")
    time_pointer: Pointer | None = _key("Where in the document the number's moment is.", default=None)


_SOURCES: Mapping[str, type[Source]] = {
    "prometheus": PrometheusSource,
    "redis": RedisSource,
    "horizon": HorizonSource,
    "http": HttpSource,
    "command": CommandSource,
    "cloud": CloudSource,
    "fixed": FixedSource,
}


class MetricSchema(BaseModel):
    """A number that rules name, from one source."""

    model_config = _config("Metric", extra=_one_of(*_SOURCES))

    prometheus: PrometheusSchema | None = _key("From Prometheus.", default=None)
    redis: RedisSchema | None = _key("From a list or stream in Redis.", default=None)
    horizon: HorizonSchema | None = _key("From Laravel Horizon.", default=None)
    http: HttpSchema | None = _key("From a JSON document at a URL.", default=None)
    command: CommandSchema | None = _key("From a program's output.", default=None)
    cloud: Literal["cpu"] | None = _key(
        "What the cloud measures: the mean CPU use of the group's running servers, in percent.", default=None
    )
    fixed: Quantity | None = _key("Always this number.", default=None)
    timeout: Duration = _lasting("How long the source may take.", "5s")
    max_age: Duration = _lasting("An older number is stale.", "5m")
    highest: Quantity = _key("A larger number is absurd.", default=1e9, json_schema_extra={"default": 1_000_000_000})
    distrust_zero: Pause = _lasting("How long zeros are not believed right after a failure.", "1h")

    def metric(self, name: str) -> Metric:
        """The metric as a value."""
        [kind] = [kind for kind in _SOURCES if kind in self.model_fields_set]
        return Metric(
            name=name,
            source=self._source(kind),
            timeout=self.timeout,
            max_age=self.max_age,
            highest=self.highest,
            distrust_zero=self.distrust_zero,
        )

    def _source(self, kind: str) -> Source:
        fields = getattr(self, kind)
        if kind == "fixed":
            return FixedSource(value=fields)
        if kind == "cloud":
            return CloudSource(measure=fields)
        values = fields.model_dump()
        if kind == "command":
            values["command"] = values.pop("run")
        return _SOURCES[kind](**values)


def _one_source(value: MetricSchema) -> MetricSchema:
    _the_one(value, tuple(_SOURCES))
    return value


# ---------------------------------------------------------------------------------------------
# Rules


class TargetSchema(BaseModel):
    """Keep a metric, an average over the servers, at a value."""

    model_config = _config("Target")

    metric: Text = _key("The metric.")
    value: Positive = _key("Where to keep it.")
    tolerance: Share = _key(
        "How far from the value nothing changes.", default=0.1, json_schema_extra={"default": "10%"}
    )

    def rule(self) -> Target:
        return Target(metric=self.metric, value=self.value, tolerance=self.tolerance)


class LearnSchema(BaseModel):
    """A throughput learned from a counter of finished jobs."""

    model_config = _config("Learn")

    metric: Text = _key("The metric that counts finished jobs.")
    initial: Positive | None = _key("Jobs per second and server until something is learned.", default=None)


class BacklogSchema(BaseModel):
    """So many servers that the waiting jobs are few for each, or soon done."""

    model_config = _config("Backlog", extra=_one_of("per_server", "within"))

    metric: Text = _key("The metric that counts the waiting jobs.")
    per_server: Positive | None = _key("The most waiting jobs per server.", default=None)
    within: Duration | None = _key("How soon all jobs shall be done, at a throughput known or learned.", default=None)
    throughput: Positive | None = _key("Jobs per second and server.", default=None)
    learn: LearnSchema | None = _key("Learn the throughput.", default=None)
    tolerance: Share = _key("How far from it nothing changes.", default=0.0, json_schema_extra={"default": "0%"})

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
    _the_one(value, ("per_server", "within"))
    if value.within is not None:
        _the_one(value, ("throughput", "learn"))
    elif value.throughput is not None or value.learn is not None:
        raise refusal("has a throughput, which per_server has no use for", "remove it, or write within")
    return value


class WaitSchema(BaseModel):
    """Keep a waiting time below a duration."""

    model_config = _config("Wait")

    metric: Text = _key("The metric: seconds.")
    within: Duration = _key("Where to keep it.")
    tolerance: Share = _key("How far from it nothing changes.", default=0.1, json_schema_extra={"default": "10%"})

    def rule(self) -> Wait:
        return Wait(metric=self.metric, within=self.within, tolerance=self.tolerance)


class StepSchema(BaseModel):
    """From this value on: a count, or a change."""

    model_config = _config("Step", extra=_one_of("count", "change"))

    start: Quantity = _key("The value.", alias="from")
    count: Number | None = _key("The count.", default=None)
    change: Annotated[int, Field(strict=True, ge=-MOST_SERVERS, le=MOST_SERVERS)] | None = _key(
        "Servers more, or fewer if negative.", default=None
    )


class StepsSchema(BaseModel):
    """Which count, or change, belongs to which value."""

    model_config = _config("Steps")

    metric: Text = _key("The metric.")
    table: Annotated[tuple[StepSchema, ...], Some] = _key(
        "The steps, by rising value, from 0 on.", json_schema_extra=_NOT_EMPTY
    )

    @field_validator("table")
    @classmethod
    def _rising(cls, table: tuple[StepSchema, ...]) -> tuple[StepSchema, ...]:
        kinds = {_the_one(step, ("count", "change")) for step in table}
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
            steps=tuple(Step(step.start, _number(step)) for step in self.table),
            relative=self.table[0].change is not None,
        )


def _number(step: StepSchema) -> int:
    return step.count if step.count is not None else step.change or 0


class WindowSchema(BaseModel):
    """From each moment of a cron expression on, for a while: other bounds."""

    model_config = _config("Window")

    cron: Cron = _key("When it opens, such as 0 8 * * mon-fri.")
    length: Duration = _key("How long it is open.", alias="for")
    min: Number | None = _key("The fewest servers meanwhile.", default=None)
    max: Number | None = _key("The most servers meanwhile.", default=None)

    @field_validator("max")
    @classmethod
    def _at_least_min(cls, value: int | None, info: Info) -> int | None:
        least = info.data.get("min")
        if value is not None and least is not None and value < least:
            raise refusal(f"must be at least min ({least}), not {value}")
        return value


class ScheduleSchema(BaseModel):
    """Bounds by the clock."""

    model_config = _config("Schedule")

    timezone: TimeZone = _key("The time zone of the cron expressions.")
    windows: Annotated[tuple[WindowSchema, ...], Some] = _key("The windows.", json_schema_extra=_NOT_EMPTY)

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

    model_config = _config("Rule", extra=_one_of(*_RULES))

    target: TargetSchema | None = _key("Keep a metric at a value.", default=None)
    backlog: Annotated[BacklogSchema, AfterValidator(_one_way)] | None = _key(
        "So many servers for the jobs that wait.", default=None
    )
    wait: WaitSchema | None = _key("Keep a waiting time below a duration.", default=None)
    steps: StepsSchema | None = _key("A table of counts or changes.", default=None)
    schedule: ScheduleSchema | None = _key("Bounds by the clock.", default=None)

    def rule(self) -> Rule:
        """The rule as a value."""
        schema: TargetSchema | BacklogSchema | WaitSchema | StepsSchema | ScheduleSchema
        schema = getattr(self, next(kind for kind in _RULES if getattr(self, kind) is not None))
        return schema.rule()


def _one_rule(value: RuleSchema) -> RuleSchema:
    _the_one(value, _RULES)
    return value


class DirectionSchema(BaseModel):
    """How eagerly the count goes one way."""

    model_config = _config("Direction")

    stabilise: Pause = _lasting("All decisions of this long must ask for it; the mildest is taken.", "0s")
    cooldown: Pause = _lasting("The least time after a change.", "0s")
    step: Annotated[int, Field(strict=True, ge=1, le=MOST_SERVERS)] | None = _key("Most servers at once.", default=None)

    def direction(self) -> Direction:
        return Direction(stabilise=self.stabilise, cooldown=self.cooldown, step=self.step)


class DownSchema(DirectionSchema):
    """How eagerly the count goes down."""

    stabilise: Pause = _lasting("All decisions of this long must ask for it; the mildest is taken.", "5m")
    cooldown: Pause = _lasting("The least time after a change.", "5m")


class AutoscaleSchema(BaseModel):
    """How the group's count follows its load."""

    model_config = _config("Autoscale", extra={"anyOf": [{"required": ["rules"]}, {"required": ["function"]}]})

    metrics: dict[MetricName, Annotated[MetricSchema, AfterValidator(_one_source)]] = _key(
        "The numbers, by name.", default={}
    )
    function: Function | None = _key(
        "A function, module:function, that is told the load and answers the count; it counts as one more rule.",
        default=None,
    )
    rules: Annotated[tuple[Annotated[RuleSchema, AfterValidator(_one_rule)], ...], Some] | None = _key(
        "What the numbers mean: the largest proposal counts, and all must agree going down.",
        default=None,
        validate_default=True,
        json_schema_extra=_NOT_EMPTY,
    )
    up: DirectionSchema = _key("Going up.", default=DirectionSchema(), json_schema_extra={"default": {}})
    down: DownSchema = _key("Going down.", default=DownSchema(), json_schema_extra={"default": {}})
    on_error: Literal["hold", "max"] = _key("What a rule proposes whose metric is not to be believed.", default="hold")

    @field_validator("rules")
    @classmethod
    def _known_metrics(cls, given: tuple[RuleSchema, ...] | None, info: Info) -> tuple[RuleSchema, ...]:
        known, rules = info.data.get("metrics"), given or ()
        if given is None and info.data.get("function", ...) is None:
            raise refusal("must have rules or a function", "add rules")
        if known is None:
            return rules
        for index, schema in enumerate(rules):
            for name, place in _named(schema):
                if name not in known:
                    raise refusal(f"names no metric: {shown(name)}", nearest(name, list(known)), at=(index, *place))
        used = {name for schema in rules for name, _ in _named(schema)}
        if info.data.get("function", ...) is not None:
            return rules
        if unused := [name for name in known if name not in used]:
            raise refusal(f"use not every metric: {', '.join(unused)}", "remove it, or name it in a rule")
        return rules

    def policy(self) -> Policy:
        """The block as a value."""
        return Policy(
            metrics={name: metric.metric(name) for name, metric in self.metrics.items()},
            rules=tuple(rule.rule() for rule in self.rules or ()),
            function=self.function,
            up=self.up.direction(),
            down=self.down.direction(),
            on_error=self.on_error,
        )


def _named(schema: RuleSchema) -> Sequence[tuple[str, tuple[str, ...]]]:
    """The metrics that a rule names, each with its place."""
    for kind in ("target", "wait", "steps"):
        if (rule := getattr(schema, kind)) is not None:
            return [(rule.metric, (kind, "metric"))]
    if schema.backlog is None:
        return []
    learn = schema.backlog.learn
    learned = [(learn.metric, ("backlog", "learn", "metric"))] if learn else []
    return [(schema.backlog.metric, ("backlog", "metric")), *learned]
