"""Sources that are in Redis: keys of any kind, and Laravel Horizon."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, Field, field_validator
from pydantic import ValidationInfo as Info

from scaler.config.schema.autoscale.quantities import RedisUrl, Variable
from scaler.config.schema.fields import duration_key, spec_key, strict_config
from scaler.config.schema.refusals import refusal
from scaler.config.schema.values import Choices, Duration, Text


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


class RedisSchema(_RedisAccess):
    """A list or a stream in Redis."""

    model_config = strict_config("Redis")

    key: Text = spec_key("The list's or stream's key, with all prefixes.")
    measure: Literal["length", "age"] = spec_key(
        "The number of entries, or the age of the oldest in seconds.", default="length"
    )
    age_field: Text = spec_key("Where a list's entries say when they were pushed.", default="pushedAt")
    oldest: Literal["first", "last"] = spec_key("Which end of the list is the oldest entry.", default="first")


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
