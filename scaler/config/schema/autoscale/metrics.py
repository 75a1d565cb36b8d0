"""`metrics`: numbers, each from one source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel

from scaler.config.schema.autoscale.brokers import RabbitmqSchema, SqsSchema
from scaler.config.schema.autoscale.ci_sources import (
    ForgejoSchema,
    GiteaSchema,
    GithubSchema,
    GitlabSchema,
    WoodpeckerSchema,
    one_scope,
    whole_github,
    whole_gitlab,
)
from scaler.config.schema.autoscale.quantities import Pause, Pointer, Quantity, Variable
from scaler.config.schema.autoscale.redis_sources import HorizonSchema, RedisSchema, one_kind_of_keys
from scaler.config.schema.autoscale.sql_source import SqlSchema, one_address
from scaler.config.schema.commands import Command
from scaler.config.schema.fields import duration_key, given_key, one_of_required, spec_key, strict_config
from scaler.config.schema.urls import Url
from scaler.config.schema.values import Duration, Lines
from scaler.model.autoscaling import (
    CloudSource,
    CommandSource,
    FixedSource,
    ForgejoSource,
    GiteaSource,
    GithubSource,
    GitlabSource,
    HorizonSource,
    HttpSource,
    Metric,
    PrometheusSource,
    RabbitmqSource,
    RedisSource,
    Source,
    SqlSource,
    SqsSource,
    WoodpeckerSource,
)


class PrometheusSchema(BaseModel):
    """A PromQL query that gives one number."""

    model_config = strict_config("Prometheus")

    url: Url = spec_key("Where Prometheus is, such as http://127.0.0.1:9090.")
    query: Lines = spec_key("The query; it must give one series or a scalar.")
    window: Duration | None = spec_key("Look at this long instead of at now.", default=None)
    step: Duration = duration_key("The distance of the window's points.", "15s")
    aggregate: Literal["last", "mean", "max", "min"] = spec_key("What of the window's points counts.", default="mean")
    token_env: Variable | None = spec_key("The environment variable that holds a bearer token.", default=None)


class HttpSchema(BaseModel):
    """A JSON document at a URL."""

    model_config = strict_config("Http")

    url: Url = spec_key("Where the document is.")
    pointer: Pointer = spec_key("Where in it the number is; without it, the document is the number.", default="")
    time_pointer: Pointer | None = spec_key("Where in it the number's moment is.", default=None)
    token_env: Variable | None = spec_key("The environment variable that holds a bearer token.", default=None)


class CommandSchema(BaseModel):
    """A program that prints a number or a JSON document."""

    model_config = strict_config("Command")

    run: Command = spec_key("The program and its arguments, in the project folder.")
    pointer: Pointer = spec_key("Where in the document the number is.", default="")
    time_pointer: Pointer | None = spec_key("Where in the document the number's moment is.", default=None)


_SOURCES: Mapping[str, type[Source]] = {
    "prometheus": PrometheusSource,
    "redis": RedisSource,
    "horizon": HorizonSource,
    "sql": SqlSource,
    "rabbitmq": RabbitmqSource,
    "sqs": SqsSource,
    "github": GithubSource,
    "gitlab": GitlabSource,
    "forgejo": ForgejoSource,
    "gitea": GiteaSource,
    "woodpecker": WoodpeckerSource,
    "http": HttpSource,
    "command": CommandSource,
    "cloud": CloudSource,
    "fixed": FixedSource,
}


class MetricSchema(BaseModel):
    """A number that rules name, from one source."""

    model_config = strict_config("Metric", one_of_required(*_SOURCES))

    prometheus: PrometheusSchema | None = spec_key("From Prometheus.", default=None)
    redis: Annotated[RedisSchema, AfterValidator(one_kind_of_keys)] | None = spec_key(
        "From keys in Redis, or from a queue system there.", default=None
    )
    horizon: HorizonSchema | None = spec_key("From Laravel Horizon.", default=None)
    sql: Annotated[SqlSchema, AfterValidator(one_address)] | None = spec_key(
        "From a query on a database.", default=None
    )
    rabbitmq: RabbitmqSchema | None = spec_key("From RabbitMQ's management API.", default=None)
    sqs: SqsSchema | None = spec_key("From Amazon SQS.", default=None)
    github: Annotated[GithubSchema, AfterValidator(whole_github)] | None = spec_key(
        "From the jobs of GitHub Actions.", default=None
    )
    gitlab: Annotated[GitlabSchema, AfterValidator(whole_gitlab)] | None = spec_key(
        "From the jobs of GitLab CI.", default=None
    )
    forgejo: Annotated[ForgejoSchema, AfterValidator(one_scope)] | None = spec_key(
        "From the jobs of Forgejo Actions.", default=None
    )
    gitea: Annotated[GiteaSchema, AfterValidator(one_scope)] | None = spec_key(
        "From the jobs of Gitea Actions.", default=None
    )
    woodpecker: WoodpeckerSchema | None = spec_key("From the queue of Woodpecker.", default=None)
    http: HttpSchema | None = spec_key("From a JSON document at a URL.", default=None)
    command: CommandSchema | None = spec_key("From a program's output.", default=None)
    cloud: Literal["cpu"] | None = spec_key(
        "What the cloud measures: the mean CPU use of the group's running servers, in percent.", default=None
    )
    fixed: Quantity | None = spec_key("Always this number.", default=None)
    timeout: Duration = duration_key("How long the source may take.", "5s")
    max_age: Duration = duration_key("An older number is stale.", "5m")
    highest: Quantity = spec_key(
        "A larger number is absurd.", default=1e9, json_schema_extra={"default": 1_000_000_000}
    )
    distrust_zero: Pause = duration_key("How long zeros are not believed right after a failure.", "1h")

    def metric(self, name: str) -> Metric:
        """Convert it to the model."""
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
        if isinstance(fields, RedisSchema | HorizonSchema | GithubSchema | GitlabSchema):
            return fields.source()
        if kind == "fixed":
            return FixedSource(value=fields)
        if kind == "cloud":
            return CloudSource(measure=fields)
        values = fields.model_dump()
        if kind == "command":
            values["command"] = values.pop("run")
        return _SOURCES[kind](**values)


def one_source(value: MetricSchema) -> MetricSchema:
    given_key(value, tuple(_SOURCES))
    return value
