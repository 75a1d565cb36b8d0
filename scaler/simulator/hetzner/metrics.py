"""What servers were measured to do."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from scaler.simulator.call import Call, Reply
from scaler.simulator.hetzner.catalogue import SERVER_TYPES
from scaler.simulator.hetzner.replies import get, invalid
from scaler.simulator.things import Thing

_METRICS = {"cpu", "disk", "network"}


_MOST_POINTS = 500
_RIPPLE = 0.000001


def get_metrics(call: Call) -> Reply:
    """What a server was measured to do: of `cpu` the percentages, 100 for each core; of the rest nothing.

    There is a value at every `step` from `start` on at which the server ran.
    """
    server = get(call, "server")
    types = (call.query.get("type") or "").split(",")
    if not set(types) <= _METRICS:
        raise invalid("type", f"must be of {', '.join(sorted(_METRICS))}")
    start, end = _moment(call, "start"), _moment(call, "end")
    if end < start:
        raise invalid("end", "must not be before start")
    step = max(_step(call), (end - start) / _MOST_POINTS, 1.0)
    series = {"cpu": {"values": _cpu_values(call, server, start, end, step)}} if "cpu" in types else {}
    metrics = {"start": call.query["start"], "end": call.query["end"], "step": step, "time_series": series}
    return Reply({"metrics": metrics})


def _step(call: Call) -> float:
    text = call.query.get("step")
    if not text:
        return call.knobs.metrics_s
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise invalid("step", "must be a number of seconds")
    return float(text)


def _cpu_values(call: Call, server: Thing, start: float, end: float, step: float) -> list[list[Any]]:
    since, cores = server.running_since(call.now), SERVER_TYPES[server.body["type"]].cores
    moments = enumerate(start + step * index for index in range(int((end - start) / step) + 1))
    # No two measurements are equal, and the chart of Debian's `hcloud` fails on a line without any height.
    return [
        [moment, f"{100 * cores * server.cpu(moment) + _RIPPLE * (index % 2):.6f}"]
        for index, moment in moments
        if since is not None and since <= moment <= call.now
    ]


def _moment(call: Call, name: str) -> float:
    try:
        return datetime.fromisoformat(call.query[name]).timestamp()
    except (KeyError, ValueError):
        raise invalid(name, "must be a moment in ISO 8601") from None
