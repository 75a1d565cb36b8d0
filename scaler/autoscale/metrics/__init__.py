"""The sources of metrics: one module for each kind. All are read at the same time, each within its time limit.

A source never stops a decision. Whatever goes wrong becomes a `Sample` without a value, with the
source's own words, cleaned.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Collection, Mapping, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import field
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
from scaler.model.lifecycle import Status
from scaler.model.ownership import Owner
from scaler.records.state import State
from scaler.support.clock import Clock
from scaler.support.installation import install_command
from scaler.support.text import one_line
from scaler.support.values import dataclass


class MetricError(Exception):
    """A source gave no number. The text says why, in the source's own words, without secrets, and cleaned."""

    def __init__(self, text: str) -> None:
        super().__init__(clean(text))


_LONGEST = 300
"""Characters of a source's words that are shown."""


def clean(text: str) -> str:
    """Return a source's words on one line of bounded length, without what a terminal or a CI system would obey."""
    return one_line(text, _LONGEST)


@dataclass(frozen=True)
class Value:
    """A number with its time; None means now."""

    number: float
    at: datetime | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    """What the number was made of, such as the jobs of each queue."""


@dataclass(frozen=True)
class Measurement:
    """A sample, and how it was made."""

    sample: Sample
    seconds: float
    """How long the source took."""
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fleet:
    """The servers of the stack, for sources that ask the cloud about them."""

    owner: Owner
    open: Callable[[], AbstractContextManager[Cloud]]
    """Open a connection for one reader. A late reader must not use a run's connection after its end."""
    coming: Collection[str] = ()
    """Ids of servers that run but are not ready. Their CPU use is that of the boot, so it does not count."""
    sent: list[Requests] = field(default_factory=list)
    """The requests to the cloud of each reader, added when it ends."""

    @classmethod
    def of(cls, owner: Owner, state: State | None, opener: Callable[[], AbstractContextManager[Cloud]]) -> Fleet:
        """Return the servers by the stack's id, where that is recorded."""
        waiting = (Status.STARTING, Status.REBOOTING)
        coming = frozenset(one.id for one in (state.servers if state else ()) if one.id and one.status in waiting)
        identity = state.identity if state else None
        return cls(owner.with_id(identity.id) if identity else owner, opener, coming=coming)


@dataclass(frozen=True)
class MetricRead:
    """What a reader gets besides its source."""

    seconds: float
    """The time limit."""
    now: datetime
    environ: Mapping[str, str]
    directory: Path
    """Where commands run: the project's folder."""
    clock: Clock
    group: str = ""
    fleet: Fleet | None = None
    named: Collection[str] = ()
    """The variables that commands and sources get besides: `env` of the spec."""
    cache: MutableMapping[object, object] = field(default_factory=dict)
    """What a reader keeps from one tick to the next, by keys that begin with its source."""


class Reader(Protocol):
    """Reads one kind of source."""

    def __call__(self, source: Source, request: MetricRead, /) -> Value:
        """Return the number now. Raise MetricError, or any other exception, if there is none."""


_MODULES: Mapping[type[Source], str] = {
    PrometheusSource: "prometheus",
    RedisSource: "redis",
    HorizonSource: "horizon",
    SqlSource: "sql",
    RabbitmqSource: "rabbitmq",
    SqsSource: "sqs",
    GithubSource: "github",
    GitlabSource: "gitlab",
    ForgejoSource: "forgejo",
    GiteaSource: "gitea",
    WoodpeckerSource: "woodpecker",
    HttpSource: "http",
    CommandSource: "command",
    CloudSource: "cloud",
    FixedSource: "fixed",
}
"""The module of each kind. It is imported when a spec has such a source, because it imports a library."""


def kind_of(source: Source) -> str:
    """Return the key of the spec that a source is written under."""
    return _MODULES[type(source)]


_EXTRAS: Mapping[type[Source], str] = {SqlSource: "sql", SqsSource: "sqs", GithubSource: "github"}
"""The package's extra that has the library of a kind, where it is not `autoscale`."""

Key = tuple[str, str]
"""A group's name, and a metric's."""


@dataclass
class Sources:
    """Reads metrics. Keep one for each process: it remembers which readers still run."""

    environ: Mapping[str, str]
    directory: Path
    clock: Clock
    _reading: dict[tuple[Key, Source], threading.Thread] = field(default_factory=dict)
    _cache: dict[object, object] = field(default_factory=dict)

    def read(
        self, metrics: Mapping[Key, Metric], fleet: Fleet | None = None, named: Collection[str] = ()
    ) -> dict[Key, Sample]:
        """Return a sample of each metric, by the same keys; see `measure`."""
        return {key: measurement.sample for key, measurement in self.measure(metrics, fleet, named).items()}

    def measure(
        self, metrics: Mapping[Key, Metric], fleet: Fleet | None = None, named: Collection[str] = ()
    ) -> dict[Key, Measurement]:
        """Read each metric once, by the same keys, within the longest time limit.

        Each metric has a thread, so the slowest one decides how long it takes, and one that hangs
        takes the value of its own metric only. `named`: `env` of the spec.
        """
        now, start = self.clock.now(), self.clock.monotonic()
        answers: dict[Key, Measurement] = {}
        threads = {
            key: self._start(key, metric, self._request(key, metric, now, fleet, named), answers)
            for key, metric in metrics.items()
        }
        for key, thread in threads.items():
            left = metrics[key].timeout.total_seconds() - (self.clock.monotonic() - start)
            if thread:
                thread.join(max(0.0, left))
        # A later answer is too late: decisions are made on this copy.
        in_time = dict(answers)
        return {key: in_time.get(key) or _late(metric, now) for key, metric in metrics.items()}

    def _request(
        self, key: Key, metric: Metric, now: datetime, fleet: Fleet | None, named: Collection[str]
    ) -> MetricRead:
        seconds = metric.timeout.total_seconds()
        return MetricRead(
            seconds,
            now,
            self.environ,
            self.directory,
            self.clock,
            group=key[0],
            fleet=fleet,
            named=named,
            cache=self._cache,
        )

    def _start(
        self, key: Key, metric: Metric, request: MetricRead, answers: dict[Key, Measurement]
    ) -> threading.Thread | None:
        """Start a thread for this metric, unless its last one still runs."""
        known = self._reading.get((key, metric.source))
        if known and known.is_alive():
            answers[key] = Measurement(Sample(None, request.now, "the last request is still not answered"), 0.0)
            return None

        def work() -> None:
            answers[key] = _measure(metric.source, request)

        # A daemon thread, so that a source that never answers does not keep the process alive.
        thread = threading.Thread(target=work, name=f"metric-{metric.name}", daemon=True)
        self._reading[key, metric.source] = thread
        thread.start()
        return thread


def _late(metric: Metric, now: datetime) -> Measurement:
    seconds = metric.timeout.total_seconds()
    return Measurement(Sample(None, now, f"no answer within {seconds:g}s"), seconds)


def _measure(source: Source, request: MetricRead) -> Measurement:
    start = request.clock.monotonic()
    parts: Mapping[str, float] = {}
    try:
        value = read(source, request)
        sample, parts = Sample(value.number, value.at or request.now), value.parts
    except MetricError as error:
        sample = Sample(None, request.now, str(error))
    except Exception as error:
        # The text of other exceptions may quote a whole request, so only their type is shown.
        sample = Sample(None, request.now, f"the answer cannot be read ({type(error).__name__})")
    return Measurement(sample, request.clock.monotonic() - start, _cleaned(parts))


def _cleaned(parts: Mapping[str, float]) -> Mapping[str, float]:
    """Return the parts with names that can be shown: a key in Redis may be named anything."""
    shown: dict[str, float] = {}
    for name, value in parts.items():
        plain = clean(name)
        while plain in shown:
            plain += "'"
        shown[plain] = value
    return shown


def read(source: Source, request: MetricRead) -> Value:
    """Read a source now. Raise MetricError if it gives no number."""
    try:
        module = importlib.import_module(f"{__name__}.{_MODULES[type(source)]}")
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(type(source), "autoscale")
        raise MetricError(f"{error.name} is not installed: {install_command(extra)}") from None
    reader: Reader = module.read
    return reader(source, request)
