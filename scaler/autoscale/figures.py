"""The figures of one stack's watch: what Prometheus gets of it, and whether its ticks end in time."""

from __future__ import annotations

from collections import Counter as Tally
from collections import deque
from collections.abc import Iterable
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric

from scaler.autoscale.decision import SampleState
from scaler.autoscale.seen import Seen, seen_in
from scaler.autoscale.tick import Tick
from scaler.autoscale.watch import Turn
from scaler.errors import ScalerError
from scaler.model import Spec
from scaler.model.lifecycle import Status
from scaler.support.clock import Clock

_LATE_AFTER = 3
"""After this many intervals without a finished tick, a watch is not healthy."""

_SEEN_KEPT = 3000
"""What is kept of ticks: two days of them, with one group and a tick a minute."""

_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)


class Figures:
    """Listens to a watch, and keeps its numbers."""

    def __init__(self, stack: str, interval: timedelta, clock: Clock) -> None:
        self._stack = stack
        self._clock = clock
        self._late_after_s = _LATE_AFTER * interval.total_seconds() + 60
        self._last_end = clock.monotonic()
        self._last_error: str | None = None
        self._turn: Turn | None = None
        self._seen: deque[Seen] = deque(maxlen=_SEEN_KEPT)
        self._is_settled = False
        # One registry for each stack, so that nothing of a stack stays when it goes.
        registry = self._registry = CollectorRegistry()
        self._wanted = Gauge("scaler_wanted", "Servers wanted.", ["stack", "group"], registry=registry)
        self._ready = Gauge("scaler_ready", "Servers ready.", ["stack", "group"], registry=registry)
        self._servers = Gauge("scaler_servers", "Servers by status.", ["stack", "group", "status"], registry=registry)
        self._value = Gauge(
            "scaler_metric_value", "A metric's last value.", ["stack", "group", "metric"], registry=registry
        )
        self._usable = Gauge(
            "scaler_metric_ok", "Whether a metric has a usable value.", ["stack", "group", "metric"], registry=registry
        )
        self._decisions = Counter(
            "scaler_decisions", "Decisions by direction.", ["stack", "group", "direction"], registry=registry
        )
        self._requests = Counter("scaler_requests", "Requests to the cloud.", ["stack", "kind"], registry=registry)
        self._runs = Counter("scaler_runs", "Ticks by their outcome.", ["stack", "outcome"], registry=registry)
        self._seconds = Histogram(
            "scaler_run_duration_seconds", "How long ticks took.", ["stack"], buckets=_BUCKETS, registry=registry
        )
        self._success = Gauge(
            "scaler_last_success_timestamp_seconds", "When a tick last ended well.", ["stack"], registry=registry
        )
        self._budget = Gauge(
            "scaler_budget_left", "What the budget leaves this month.", ["stack", "currency"], registry=registry
        )
        self._waited = Gauge(
            "scaler_run_wait_seconds",
            "How long the last tick waited for its place among those of other stacks.",
            ["stack"],
            registry=registry,
        )
        self._skipped = Counter("scaler_skipped_ticks", "Intervals without a tick.", ["stack"], registry=registry)
        self._skipped.labels(stack)
        acts = Gauge(
            "scaler_active", "1: this watch acts; 0: it stands by for another one.", ["stack"], registry=registry
        )
        # Asked for and not told: a tick may hang while another watch takes over.
        acts.labels(stack).set_function(lambda: float(self.is_active))

    def collect(self) -> Iterable[Metric]:
        """Return the numbers as families of Prometheus."""
        return self._registry.collect()

    @property
    def seen(self) -> list[Seen]:
        """What the last ticks saw, oldest first."""
        return list(self._seen)

    def settle(self, turn: Turn | None) -> None:
        """From now on `turn` says whether the watch acts; None: it always does. Until then it does not."""
        self._turn, self._is_settled = turn, True

    @property
    def is_active(self) -> bool:
        """Whether the watch acts."""
        return self._is_settled and (self._turn is None or self._turn.is_held)

    @property
    def age_s(self) -> float:
        """The seconds since a tick ended, or since the watch began."""
        return self._clock.monotonic() - self._last_end

    @property
    def is_late(self) -> bool:
        """Whether no tick has ended for too long. An error alone does not make a watch unhealthy."""
        return self.age_s > self._late_after_s

    def health(self) -> dict[str, object]:
        """Return whether ticks end in time, the last error, and whether this watch acts."""
        facts = {"healthy": not self.is_late, "last_tick_s_ago": round(self.age_s, 1), "error": self._last_error}
        if not self._is_settled:
            return {**facts, "role": "starting"}
        if self._turn is None or self._turn.is_held:
            return {**facts, "role": "active"}
        return {**facts, "role": "standby", "active": self._turn.holder}

    # -- events of the watch -------------------------------------------------------------------

    def began(self, waited_s: float, skipped: int) -> None:
        """Note how late a tick begins."""
        self._waited.labels(self._stack).set(waited_s)
        self._skipped.labels(self._stack).inc(skipped)

    def ticked(self, done: Tick, took_s: float) -> None:
        """Count a finished tick."""
        self._end(str(done.outcome), took_s, None)
        self._success.labels(self._stack).set(done.at.timestamp())
        for kind in ("total", "create", "list", "retried"):
            self._requests.labels(self._stack, kind).inc(getattr(done.requests, kind))
        self._count_servers(done)
        self._seen.extend(seen_in(done.decisions.values()))
        self._budget.clear()
        if done.budget_left is not None:
            amount, currency = done.budget_left
            self._budget.labels(self._stack, currency).set(amount)
        for name, decision in done.decisions.items():
            direction = "up" if decision.change > 0 else "down" if decision.change < 0 else "none"
            self._decisions.labels(self._stack, name, direction).inc()
            self._wanted.labels(self._stack, name).set(decision.count)
            for reading in decision.readings:
                labels = (self._stack, name, reading.metric)
                self._usable.labels(*labels).set(reading.state is SampleState.OK)
                self._value.labels(*labels).set(float("nan") if reading.value is None else reading.value)

    def _count_servers(self, done: Tick) -> None:
        servers = done.result.servers if done.result else done.servers
        counted = Tally((server.group, server.status) for server in servers)
        for group in {*done.decisions, *(server.group for server in servers)}:
            self._ready.labels(self._stack, group).set(counted[group, Status.RUNNING])
            for status in Status:
                self._servers.labels(self._stack, group, str(status)).set(counted[group, status])

    def failed(self, error: Exception, took_s: float) -> None:
        """Count a tick that raised an error."""
        self._end("error", took_s, _words(error))

    def stands_by(self, active: str) -> None:
        """Standing by is as good as a finished tick."""
        self._note(None)

    def rests(self, spec: Spec) -> None:
        """So is having nothing to scale."""
        self._note(None)

    def reloaded(self, spec: Spec) -> None:
        """Do nothing: the spec is not shown."""

    def reload_failed(self, error: Exception, spec: Spec | None) -> None:
        """Do nothing while the watch goes on with the spec that it has; without one, that is an error as any other."""
        if spec is None:
            self._note(_words(error))

    def _end(self, outcome: str, took_s: float, error: str | None) -> None:
        self._runs.labels(self._stack, outcome).inc()
        self._seconds.labels(self._stack).observe(took_s)
        self._note(error)

    def _note(self, error: str | None) -> None:
        self._last_end, self._last_error = self._clock.monotonic(), error


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, ScalerError) else type(error).__name__
