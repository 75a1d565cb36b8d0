"""Pause and resume autoscaling: changes no server, and is shared through the stack's outputs."""

from __future__ import annotations

from datetime import timedelta

from scaler.clouds import PASSING
from scaler.converge.knowledge import Knowledge
from scaler.converge.observe import observe, read_records
from scaler.converge.ports import Ports
from scaler.converge.record import record, save
from scaler.model import Spec
from scaler.model.orders import Orders, Pause


def pause(spec: Spec, ports: Ports, *, length: timedelta | None = None, reason: str = "") -> Orders:
    """Have autoscaling leave the stack alone for this time, or until `resume`; return what is asked of the stack."""
    now = ports.clock.now().replace(microsecond=0)
    return _order(spec, ports, Pause(since=now, until=None if length is None else now + length, reason=reason))


def resume(spec: Spec, ports: Ports) -> Orders:
    """End the pause of autoscaling, whoever set it; return what is asked of the stack."""
    return _order(spec, ports, None)


def _order(spec: Spec, ports: Ports, pause: Pause | None) -> Orders:
    try:
        seen = observe(spec, ports, rebuild=True)
    except PASSING:
        # The cloud does not answer: at least this machine obeys.
        save(_paused(read_records(spec, ports, rebuild=True), pause), ports)
        ports.progress.warn("this is recorded on this machine alone, since the cloud does not answer")
        raise
    # First what others asked for: the event log of this machine then has the pause that ends here.
    save(seen, ports)
    knowledge = _paused(seen, pause)
    save(knowledge, ports)
    if not knowledge.is_shared:
        knowledge = record(knowledge, ports)
        save(knowledge, ports)
    return knowledge.orders


def _paused(knowledge: Knowledge, pause: Pause | None) -> Knowledge:
    return knowledge if knowledge.orders.pause == pause else knowledge.order(pause=pause)
