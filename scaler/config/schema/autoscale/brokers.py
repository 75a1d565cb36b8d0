"""Sources that are message brokers: RabbitMQ and Amazon SQS."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel

from scaler.config.schema.autoscale.quantities import Variable
from scaler.config.schema.fields import spec_key, strict_config
from scaler.config.schema.refusals import refusal
from scaler.config.schema.urls import Url
from scaler.config.schema.values import Choices, Text


class RabbitmqSchema(BaseModel):
    """The messages of queues in RabbitMQ."""

    model_config = strict_config("Rabbitmq")

    url: Url = spec_key("Where the management API is, such as http://127.0.0.1:15672.")
    queues: Choices = spec_key("The queues, whose messages are added.")
    vhost: Text = spec_key("The virtual host.", default="/")
    messages: Literal["all", "ready", "unacknowledged"] = spec_key(
        "Which messages count: those that are ready, those that a consumer has taken, or all.", default="all"
    )
    username: Text = spec_key("The user, with the tag monitoring or management.", default="guest")
    password_env: Variable | None = spec_key(
        "The environment variable that holds the password; without it, the password is guest.", default=None
    )


def _queue_url(value: str) -> str:
    if not value.rpartition("/")[2]:
        raise refusal("must be the URL of a queue", "write it as https://sqs.eu-central-1.amazonaws.com/1234/jobs")
    return value


class SqsSchema(BaseModel):
    """The messages of a queue in Amazon SQS. The credentials are those of the AWS libraries."""

    model_config = strict_config("Sqs")

    queue_url: Annotated[Url, AfterValidator(_queue_url)] = spec_key(
        "The queue, such as https://sqs.eu-central-1.amazonaws.com/123456789012/jobs."
    )
    measure: Literal["all", "visible", "in_flight", "age"] = spec_key(
        "The messages that wait (visible), that a consumer has taken (in_flight), or both (all); or the age of the "
        "oldest in seconds, from CloudWatch.",
        default="all",
    )
    region: Text | None = spec_key("The region. Default: the one in the queue's URL.", default=None)
    endpoint: Url | None = spec_key("Another service that speaks SQS.", default=None)
