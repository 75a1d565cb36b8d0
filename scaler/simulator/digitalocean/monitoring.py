"""What droplets were measured to do, if they were made with `monitoring`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scaler.simulator.call import Call, Reply
from scaler.simulator.digitalocean.catalogue import SIZES
from scaler.simulator.digitalocean.replies import CLOUD, refused
from scaler.simulator.digitalocean.shapes import Json, features
from scaler.simulator.things import Thing

_DIGITS = 12
_MODES = ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")


def get_cpu(call: Call) -> Reply:
    """GET /v2/monitoring/metrics/droplet/cpu: the seconds that all cores spent in each mode since they run.

    Of a droplet that is not monitored, as of one that does not exist, there is simply nothing.
    """
    host, start, end = (_number(call, name) for name in ("host_id", "start", "end"))
    droplet = call.world.get(CLOUD, "server", int(host))
    result: list[Json] = []
    if droplet and "monitoring" in features(droplet):
        result = _modes(call, droplet, _moments(call, droplet, start, end))
    return Reply({"status": "success", "data": {"resultType": "matrix", "result": result}})


def _moments(call: Call, droplet: Thing, start: float, end: float) -> Sequence[float]:
    """When it was measured: at the same moments for everyone, while it ran."""
    since, every = droplet.running_since(call.now), call.knobs.metrics_s
    if since is None:
        return []
    first, last = math.ceil(max(start, since) / every), math.floor(min(end, call.now) / every)
    return [every * index for index in range(first, last + 1)]


def _modes(call: Call, droplet: Thing, moments: Sequence[float]) -> list[Json]:
    since, vcpus = droplet.running_since(call.now), SIZES[droplet.body["type"]].vcpus
    busy = [vcpus * droplet.busy_s(since or 0.0, moment) for moment in moments]
    idle = [vcpus * (moment - (since or 0.0)) - spent for moment, spent in zip(moments, busy, strict=True)]
    spent_in = {"idle": idle, "user": busy}
    return [
        {
            "metric": {"host_id": str(droplet.id), "mode": mode},
            "values": [
                [moment, f"{seconds:.2f}"]
                for moment, seconds in zip(moments, spent_in.get(mode, [0.0] * len(moments)), strict=True)
            ],
        }
        for mode in _MODES
        if moments
    ]


def _number(call: Call, name: str) -> float:
    text = call.query.get(name) or ""
    if not text.isdecimal() or len(text) > _DIGITS:
        raise refused(f"{name} must be a number")
    return float(text)
