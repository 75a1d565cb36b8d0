"""The messages of RabbitMQ's queues, by its management API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote

from requests.auth import HTTPBasicAuth

from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.autoscale.metrics.http import get, secret
from scaler.model.autoscaling import RabbitmqSource

_FIELDS = {"all": "messages", "ready": "messages_ready", "unacknowledged": "messages_unacknowledged"}


def read(source: RabbitmqSource, request: MetricRead) -> Value:
    """Return the sum of the queues' messages.

    RabbitMQ updates these numbers every five seconds (`collect_statistics_interval`).
    """
    password = secret(source.password_env, request) if source.password_env else "guest"
    auth = HTTPBasicAuth(source.username.encode(), password.encode())
    counts = {queue: _count(source, queue, auth, request) for queue in source.queues}
    return Value(sum(counts.values()), parts=counts)


def _count(source: RabbitmqSource, queue: str, auth: HTTPBasicAuth, request: MetricRead) -> float:
    place = f"{quote(source.vhost, safe='')}/{quote(queue, safe='')}"
    field = _FIELDS[source.messages]
    url = f"{source.url.rstrip('/')}/api/queues/{place}"
    answer = get(url, {"columns": f"name,{field}"}, None, request, auth=auth)
    if answer.status == 404:
        raise MetricError(f"the virtual host {source.vhost} has no queue {queue}")
    if answer.status == 401:
        raise MetricError(f"the management API refuses the user {source.username}: look at the password and the tags")
    document = _document(answer.body) if answer.status == 200 else {}
    if not document:
        raise MetricError(f"HTTP {answer.status}, and no answer of RabbitMQ's management API")
    count = document.get(field)
    if not isinstance(count, int | float):
        raise MetricError(f"RabbitMQ has not counted the messages of {queue} yet")
    return float(count)


def _document(body: str) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
