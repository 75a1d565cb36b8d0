"""A PromQL query: now, or over a window."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, TypeVar

from scaler.autoscale.matrix import series_in
from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.autoscale.metrics.http import get
from scaler.model.autoscaling import PrometheusSource
from scaler.support.clock import time_at

T = TypeVar("T")

_AGGREGATES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "last": lambda values: values[-1],
    "mean": fmean,
    "max": max,
    "min": min,
}


def read(source: PrometheusSource, request: MetricRead) -> Value:
    """Return the number of the query. Raise MetricError if it returns none, or several series."""
    try:
        return _read(source, request)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise MetricError("the answer is not one of Prometheus, or not a series of numbers") from None


def _read(source: PrometheusSource, request: MetricRead) -> Value:
    if source.window is None:
        return _instant(source, request)
    start = request.now.timestamp() - source.window.total_seconds()
    points = query_range(source, start, request.now.timestamp(), source.step.total_seconds(), request)
    points = [(moment, number) for moment, number in points if not math.isnan(number)]
    if not points:
        raise MetricError("the query gives no point in its window")
    numbers = [number for _, number in points]
    return Value(_AGGREGATES[source.aggregate](numbers), time_at(points[-1][0]))


def _instant(source: PrometheusSource, request: MetricRead) -> Value:
    data = _ask(source, "query", {"query": source.query}, request)
    try:
        pair = data["result"] if data["resultType"] == "scalar" else _only(data["result"])["value"]
        moment, number = map(float, pair)
        return Value(number, time_at(moment))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise MetricError("the query gives no number, but a text or a native histogram, perhaps") from None


def query_range(
    source: PrometheusSource, start: float, end: float, step: float, request: MetricRead
) -> list[tuple[float, float]]:
    """Return the times (seconds since 1970) and numbers of a query between two times."""
    parameters = {"query": source.query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
    try:
        found = series_in(_ask(source, "query_range", parameters, request))
    except ValueError as error:
        raise MetricError(f"the answer cannot be used: {error}") from None
    return list(_only(found).points)


def _ask(source: PrometheusSource, path: str, parameters: Mapping[str, str], request: MetricRead) -> dict[str, Any]:
    timeout = {"timeout": f"{request.seconds:g}s"}
    url = f"{source.url.rstrip('/')}/api/v1/{path}"
    answer = get(url, {**parameters, **timeout}, source.token_env, request)
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and document.get("status") == "success" and isinstance(document.get("data"), dict):
        data: dict[str, Any] = document["data"]
        return data
    if isinstance(document, dict) and "error" in document:
        raise MetricError(f"{document.get('errorType')}: {document['error']}")
    raise MetricError(f"HTTP {answer.status}, and no answer of Prometheus")


def _only(result: Sequence[T]) -> T:
    if not result:
        raise MetricError("the query gives no series")
    if len(result) > 1:
        raise MetricError(f"the query gives {len(result)} series: aggregate them with sum() or max()")
    return result[0]
