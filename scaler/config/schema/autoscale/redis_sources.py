"""Sources that are in Redis: keys of any kind, and Laravel Horizon."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema, field_validator
from pydantic import ValidationInfo as Info
from pydantic_core import PydanticCustomError

from scaler.config.schema.autoscale.quantities import RedisUrl, Variable, quantity
from scaler.config.schema.fields import duration_key, given_key, one_of_required, spec_key, strict_config
from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.values import Choices, Duration, Text
from scaler.model.autoscaling import HorizonSource, RedisSource


class _RedisAccess(BaseModel):
    url: RedisUrl = spec_key("The server and its database, such as redis://127.0.0.1:6379/0.")
    username: Text | None = spec_key("The user, where Redis has several.", default=None)
    password_env: Variable | None = spec_key("The environment variable that holds the password.", default=None)
    cluster: Annotated[bool, Field(strict=True)] = spec_key("Whether it is a Redis Cluster.", default=False)

    @field_validator("cluster")
    @classmethod
    def _whole_cluster(cls, value: bool, info: Info) -> bool:
        url = urlsplit(info.data.get("url", ""))
        if value and (url.scheme == "unix" or url.path not in ("", "/", "/0")):
            raise refusal("needs a URL with a host and without a database", "write it as redis://host:6379")
        return value


_WHERE = ("key", "keys", "match", "system")
_OF_KEYS = ("group", "due", "field", "age_field", "unit", "entry", "oldest")
_OF_SYSTEMS = ("queues", "prefix")


def _due(value: object) -> object:
    """Accept a unit, or a number of units in a second."""
    if isinstance(value, str) and value in ("s", "ms", "us", "ns"):
        return value
    try:
        return quantity(value)
    except PydanticCustomError:
        message = f"must be s, ms, us, ns or the number of units in a second, not {shown(value)}"
        raise refusal(message) from None


Due = Annotated[
    str | float,
    BeforeValidator(_due),
    WithJsonSchema({"oneOf": [{"enum": ["s", "ms", "us", "ns"]}, {"type": "number", "exclusiveMinimum": 0}]}),
]


def _missing(value: object) -> object:
    if value != "error" and (value != 0 or isinstance(value, bool)):
        raise refusal(f"must be 0 or error, not {shown(value)}")
    return value


Missing = Annotated[int | str, BeforeValidator(_missing), WithJsonSchema({"enum": [0, "error"]})]


class RedisSchema(_RedisAccess):
    """Keys in Redis, or the queues of a system that keeps its jobs there."""

    model_config = strict_config("Redis", one_of_required(*_WHERE))

    key: Text | None = spec_key("A key, with all prefixes.", default=None)
    keys: Choices | None = spec_key("Several keys: the sum, or the oldest, counts.", default=None)
    match: Text | None = spec_key("All keys that match this pattern, such as queues:*; at most 1000.", default=None)
    system: Literal["sidekiq", "celery", "rq", "bullmq", "dramatiq", "arq", "asynq", "laravel"] | None = spec_key(
        "The queue system whose waiting jobs count, those that are due included.", default=None
    )
    queues: Choices | None = spec_key("With system: the queues. Default: the system's own.", default=None)
    prefix: Annotated[str, BeforeValidator(str)] | None = spec_key(
        "With system: what its keys begin with. Default: the system's own.", default=None
    )
    measure: Literal["length", "age"] = spec_key(
        "The number of entries, or the age of the oldest in seconds.", default="length"
    )
    group: Text | None = spec_key("The consumer group of a stream: what it has not acknowledged counts.", default=None)
    due: Due | None = spec_key(
        "Of a sorted set whose scores are times, the entries that are due count. The unit of the scores (s, ms, us or "
        "ns), or how many of their units a second has.",
        default=None,
    )
    field: Text | None = spec_key("The field of a hash that holds the number, or the time.", default=None)
    age_field: Text = spec_key(
        "Where an entry holds its time: a name in its JSON, or a JSON pointer such as /meta/at.", default="pushedAt"
    )
    unit: Literal["s", "ms", "us", "ns"] | None = spec_key(
        "The unit of times that are numbers. Default: by their size.", default=None
    )
    entry: Text | None = spec_key(
        "For lists of ids: the key of a job's record, such as rq:job:{id}, or the hash whose fields are the ids.",
        default=None,
    )
    oldest: Literal["first", "last"] = spec_key("Which end of a list is the oldest entry.", default="first")
    missing: Missing = spec_key(
        "What a key that does not exist means, or with system a Redis without a trace of it.", default=0
    )

    def source(self) -> RedisSource:
        """Convert it to the model."""
        values = self.model_dump(exclude={"missing"})
        for name in ("keys", "queues"):
            values[name] = values[name] or ()
        return RedisSource(**values, missing="error" if self.missing == "error" else "zero")


def one_kind_of_keys(value: RedisSchema) -> RedisSchema:
    where = given_key(value, _WHERE)
    others = _OF_KEYS if where == "system" else _OF_SYSTEMS
    for key in others:
        if key in value.model_fields_set:
            belongs = "belongs to key, keys and match" if where == "system" else "belongs to system"
            raise refusal(f"is not a key beside {where}: it {belongs}", "remove it", at=(key,))
    if value.system in ("arq", "laravel") and value.missing == "error":
        raise refusal(
            f"cannot be error: {value.system} leaves nothing in Redis while no job waits", "remove it", at=("missing",)
        )
    if value.system == "bullmq" and value.queues is None:
        raise refusal("must name its queues: BullMQ has no default queue", "add queues")
    if value.system == "celery" and value.measure == "age":
        raise refusal("cannot be age: the messages of Celery hold no time", "measure the length", at=("measure",))
    return value


class HorizonSchema(_RedisAccess):
    """Laravel Horizon's queues."""

    model_config = strict_config("Horizon")

    queues: Choices = spec_key("The queues; of several, the sum of the jobs or the longest wait.", default=("default",))
    measure: Literal["wait", "pending"] = spec_key("The wait in seconds, or the number of jobs.", default="wait")
    prefix: Text = spec_key("horizon.prefix of the application.", default="laravel_horizon:")
    queue_prefix: Annotated[str, BeforeValidator(str)] = spec_key(
        "database.redis.options.prefix of the application.", default="laravel_database_"
    )
    connection: Text = spec_key("The queue connection's name.", default="redis")
    runtime: Duration = duration_key("How long a job takes, while Horizon has measured none.", "1s")

    def source(self) -> HorizonSource:
        """Convert it to the model."""
        return HorizonSource(**self.model_dump())
