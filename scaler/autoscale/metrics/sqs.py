"""The messages of an Amazon SQS queue, or the age of the oldest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError

from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.model.autoscaling import SqsSource
from scaler.support.hosts import ALLOWED, allowed_hosts, host_of, is_clear_text, is_loopback

_HOST = re.compile(r"https://(?:sqs\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.amazonaws\.com")

_VENDOR_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS")

_ATTRIBUTES = {
    "visible": ("ApproximateNumberOfMessages",),
    "in_flight": ("ApproximateNumberOfMessagesNotVisible",),
    "all": ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"),
}

_AGE_WINDOW = timedelta(minutes=15)
"""CloudWatch has a value each minute, up to some minutes late."""


def read(source: SqsSource, request: MetricRead) -> Value:
    """Return the number of messages, or the age of the oldest in seconds, as CloudWatch has measured it."""
    with _errors(request):
        return _age(source, request) if source.measure == "age" else _count(source, request)


def _count(source: SqsSource, request: MetricRead) -> Value:
    names = _ATTRIBUTES[source.measure]
    answer = _client("sqs", source, request).get_queue_attributes(QueueUrl=source.queue_url, AttributeNames=names)
    counts = {name: float(answer["Attributes"][name]) for name in names}
    return Value(sum(counts.values()), parts=counts)


def _age(source: SqsSource, request: MetricRead) -> Value:
    answer = _client("cloudwatch", source, request).get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": source.queue_url.rpartition("/")[2]}],
        StartTime=request.now - _AGE_WINDOW,
        EndTime=request.now,
        Period=60,
        Statistics=["Maximum"],
    )
    points = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
    if not points:
        raise MetricError("CloudWatch has no age of the last 15 minutes: a queue without traffic is not measured")
    return Value(float(points[-1]["Maximum"]), points[-1]["Timestamp"])


def _client(service: str, source: SqsSource, request: MetricRead) -> Any:
    _require_own_host(source, request)
    config = Config(connect_timeout=request.seconds, read_timeout=request.seconds, retries={"total_max_attempts": 1})
    # Credentials come as everywhere with AWS: from variables, files or the machine's role.
    return boto3.session.Session().client(
        service, region_name=source.region or _region(source.queue_url), endpoint_url=source.endpoint, config=config
    )


def _require_own_host(source: SqsSource, request: MetricRead) -> None:
    """Raise MetricError if AWS's credentials would go to another host than AWS's that only the spec names.

    Each request has the session's token besides its signature.
    """
    host = host_of(source.endpoint or "")
    if not source.endpoint or is_loopback(host):
        return
    is_vendors = host.endswith(_VENDOR_HOSTS) and not is_clear_text(source.endpoint)
    if not is_vendors and host not in allowed_hosts(request.environ, *map(request.environ.get, _ENDPOINT_VARIABLES)):
        raise MetricError(
            f"AWS's credentials would be sent to {host}, and only the spec names it: set {ALLOWED}={host}"
        )


def _region(queue_url: str) -> str | None:
    match = _HOST.match(queue_url)
    return (match[1] or match[2]) if match else None


@contextmanager
def _errors(request: MetricRead) -> Iterator[None]:
    try:
        yield
    except (ConnectTimeoutError, ReadTimeoutError):
        raise MetricError(f"no answer within {request.seconds:g}s") from None
    except ClientError as error:
        details = error.response.get("Error", {})
        raise MetricError(f"{details.get('Code')}: {details.get('Message')}") from None
    except BotoCoreError as error:
        raise MetricError(str(error)) from None
