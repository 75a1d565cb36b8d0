"""Where numbers come from: one module per kind of source, all read at the same time, each in its time.

A source never stops a decision: whatever goes wrong becomes a `Sample` without a value, with the
other side's own words.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from scaler.autoscale.decision import Sample
from scaler.clouds import Cloud
from scaler.model import Requests
from scaler.model.autoscaling import (
    CloudSource,
    CommandSource,
    FixedSource,
    HorizonSource,
    HttpSource,
    Metric,
    PrometheusSource,
    RedisSource,
    Source,
)
from scaler.model.ownership import Owner
from scaler.support.clock import Clock


class MetricError(Exception):
    """A source gave no number; the text says why, in its own words and without secrets."""


@dataclass(frozen=True, slots=True)
class Value:
    """A number, and the moment that it is of; None: now."""

    number: float
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """The servers whose number is in question, for sources that ask their cloud about them."""

    owner: Owner
    open: Callable[[], AbstractContextManager[Cloud]]
    """A connection of the reader's own: one that is late must not use a run's after its end."""
    coming: Collection[str] = ()
    """Ids of servers that run and are not ready yet: what they do is no work, and they do not count as ready."""
    sent: list[Requests] = field(default_factory=list)
    """What each reader has sent to the cloud, noted at its end."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a reader may need besides its source."""

    seconds: float
    """How long it may take."""
    now: datetime
    environ: Mapping[str, str]
    directory: Path
    """Where commands run: the project's folder."""
    clock: Clock
    group: str = ""
    fleet: Fleet | None = None


class Reader(Protocol):
    """Reads one kind of source."""

    def __call__(self, source: Source, request: Request, /) -> Value:
        """The number now; MetricError, or any other exception, if there is none."""


_MODULES: Mapping[type[Source], str] = {
    PrometheusSource: "prometheus",
    RedisSource: "redis",
    HorizonSource: "horizon",
    HttpSource: "http",
    CommandSource: "command",
    CloudSource: "cloud",
    FixedSource: "fixed",
}
"""The module of each kind, imported when a spec has one: it brings its library."""


Key = tuple[str, str]
"""A group's name, and a metric's."""


@dataclass
class Sources:
    """Reads metrics; one for each process, since it remembers what still runs."""

    environ: Mapping[str, str]
    directory: Path
    clock: Clock
    _reading: dict[tuple[Key, Source], threading.Thread] = field(default_factory=dict)

    def read(self, metrics: Mapping[Key, Metric], fleet: Fleet | None = None) -> dict[Key, Sample]:
        """A sample of each metric, by the same keys. Takes no longer than the longest time-out."""
        now, start = self.clock.now(), self.clock.monotonic()
        answers: dict[Key, Sample] = {}
        threads = {
            key: self._start(key, metric, self._request(key, metric, now, fleet), answers)
            for key, metric in metrics.items()
        }
        for key, thread in threads.items():
            left = metrics[key].timeout.total_seconds() - (self.clock.monotonic() - start)
            if thread:
                thread.join(max(0.0, left))
        # What answers after this is too late: the copy is what is decided on.
        in_time = dict(answers)
        late = {key: Sample(None, now, self._lateness(metrics[key])) for key in metrics.keys() - in_time.keys()}
        return {key: (in_time | late)[key] for key in metrics}

    def _request(self, key: Key, metric: Metric, now: datetime, fleet: Fleet | None) -> Request:
        seconds = metric.timeout.total_seconds()
        return Request(seconds, now, self.environ, self.directory, self.clock, group=key[0], fleet=fleet)

    def _start(self, key: Key, metric: Metric, request: Request, answers: dict[Key, Sample]) -> threading.Thread | None:
        """Read in a thread of its own, unless the last one for this source is still at it."""
        known = self._reading.get((key, metric.source))
        if known and known.is_alive():
            answers[key] = Sample(None, request.now, "the last request is still not answered")
            return None

        def work() -> None:
            answers[key] = _sample(metric.source, request)

        # A daemon: a source that never answers must not keep the process from ending.
        thread = threading.Thread(target=work, name=f"metric-{metric.name}", daemon=True)
        self._reading[key, metric.source] = thread
        thread.start()
        return thread

    @staticmethod
    def _lateness(metric: Metric) -> str:
        return f"no answer within {metric.timeout.total_seconds():g}s"


def _sample(source: Source, request: Request) -> Sample:
    try:
        value = read(source, request)
    except MetricError as error:
        return Sample(None, request.now, str(error))
    except Exception as error:
        # Other exceptions' texts may quote a whole request: only the kind is told.
        return Sample(None, request.now, type(error).__name__)
    return Sample(value.number, value.at or request.now)


def read(source: Source, request: Request) -> Value:
    """The number that a source gives now; MetricError says why there is none."""
    try:
        module = importlib.import_module(f"{__name__}.{_MODULES[type(source)]}")
    except ModuleNotFoundError as error:
        raise MetricError(f"{error.name} is not installed: pip install 'scaler[autoscale]'") from None
    reader: Reader = module.read
    return reader(source, request)
