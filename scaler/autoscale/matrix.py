"""The answer of Prometheus to a range query: series with their points. Each ValueError says where it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scaler.support.values import dataclass


@dataclass(frozen=True)
class Series:
    """One series: its labels, and its points as times (seconds since 1970) and numbers."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]
    """A number may be NaN: the query had no value then, such as 0/0."""


def series_in(data: object) -> list[Series]:
    """Return the series of `data` of an answer; ValueError if it is no matrix of numbers."""
    if not isinstance(data, Mapping) or data.get("resultType") != "matrix" or not isinstance(data.get("result"), list):
        raise ValueError("it is no answer to a range query of Prometheus")
    return [_series(item, f"series {number}") for number, item in enumerate(data["result"], 1)]


def _series(item: object, where: str) -> Series:
    if not isinstance(item, Mapping):
        raise ValueError(f"{where} is no object")  # noqa: TRY004 - what is wrong is a document
    labels, values = item.get("metric"), item.get("values")
    if not isinstance(labels, Mapping) or not all(isinstance(value, str) for value in labels.values()):
        raise ValueError(f"{where} has no `metric` with its labels")
    if "histograms" in item:
        raise ValueError(f"{where} is a native histogram: query a number of it, such as histogram_quantile(0.9, …)")
    if not isinstance(values, list):
        raise ValueError(f"{where} has no `values`")  # noqa: TRY004 - what is wrong is a document
    return Series(labels, [_point(value, f"{where}, point {number}") for number, value in enumerate(values, 1)])


def _point(value: object, where: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{where} is no pair of a time and a number")
    return _finite(value[0], f"{where}: the time"), _number(value[1], where)


def _finite(value: object, where: str) -> float:
    number = _number(value, where)
    if math.isnan(number):
        raise ValueError(f"{where} is no number")
    return number


def _number(value: object, where: str) -> float:
    try:
        if value is None or isinstance(value, bool):
            raise ValueError
        number = float(value)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{where} is no number") from None
    if math.isinf(number):
        raise ValueError(f"{where} is infinite")
    return number
