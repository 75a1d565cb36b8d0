"""How busy the group's servers are, as their cloud measures it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import fmean

from scaler.autoscale.metrics import Fleet, MetricError, MetricRead, Value
from scaler.autoscale.metrics.at_once import at_once
from scaler.clouds import Cloud, GoneError
from scaler.errors import ScalerError
from scaler.model.autoscaling import CloudSource
from scaler.model.lifecycle import Phase
from scaler.model.ownership import GROUP

_AT_ONCE = 10


def read(source: CloudSource, request: MetricRead) -> Value:
    """The mean of the running servers that were measured, in percent of a whole server."""
    del source
    if request.fleet is None:
        raise MetricError("there is no cloud to ask")
    try:
        with request.fleet.open() as cloud:
            try:
                return Value(100 * _mean(cloud, request.fleet, request.group))
            finally:
                request.fleet.sent.append(cloud.requests)
    except ScalerError as error:
        raise MetricError(str(error)) from None


def _mean(cloud: Cloud, fleet: Fleet, group: str) -> float:
    ask: Callable[[str], float | None] | None = getattr(cloud, "cpu", None)
    if ask is None:
        raise MetricError(f"the cloud {cloud.name} does not report how busy its servers are")
    running = [
        machine.id
        for machine in cloud.list_owned(fleet.owner)
        if machine.labels.get(GROUP) == group and machine.phase is Phase.RUNNING and machine.id not in fleet.coming
    ]
    shares = at_once(partial(_share, cloud.name, ask), running, _AT_ONCE, "cpu")
    measured = [share for share in shares if share is not None]
    if not measured:
        raise MetricError(f"of {len(running)} running servers of {group} none was measured yet")
    return fmean(measured)


def _share(name: str, ask: Callable[[str], float | None], id: str) -> float | None:
    try:
        return ask(id)
    except GoneError:
        return None
    except ScalerError:
        raise
    except Exception as error:
        # A cloud of somebody else's may raise anything, and its words may quote anything.
        raise MetricError(f"the cloud {name} does not report how busy server {id} is: {type(error).__name__}") from None
