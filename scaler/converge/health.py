"""Check the health of servers in service, and remember whose replacement was decided."""

from __future__ import annotations

from dataclasses import replace

from scaler.converge.knowledge import Knowledge
from scaler.converge.ports import Ports
from scaler.model import Plan, Replacement
from scaler.model.lifecycle import Status
from scaler.planning.assess import is_recorded
from scaler.planning.health import counting, due, judge


def check_health(knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Check the servers in service that are due, all side by side; know what that tells of them.

    It takes no longer than one check, and no time where nothing is due. Nothing is saved yet.
    """
    world = knowledge.world
    if not (asked := due(knowledge.spec, world)):
        return knowledge
    judged, unchecked = judge(knowledge.spec, world, ports.health.check(asked))
    fallen = [
        server
        for name, server in judged.items()
        if server.status is Status.UNHEALTHY and world.servers[name].status is not Status.UNHEALTHY
    ]
    for server in fallen:
        ports.progress.server(server.name, server.status, server.error or "")
    drift = tuple(f"{server.name} ({server.id}) is unhealthy: {server.error}" for server in fallen)
    servers = {**world.servers, **judged}
    seen = replace(world, servers=servers, drift=world.drift + drift, recorded=is_recorded(servers, knowledge.stack))
    return replace(
        knowledge,
        world=seen,
        first=seen if knowledge.first is world else knowledge.first,
        records={**knowledge.records, **judged},
        advice=replace(knowledge.advice, unchecked=unchecked),
    )


def note_replacements(knowledge: Knowledge, plan: Plan) -> Knowledge:
    """Remember whose replacement the plan decides; forget those that no longer count."""
    known = knowledge.orders.replacements
    begun = {replacement.id for replacement in known}
    servers, now = knowledge.world.servers, knowledge.world.at
    new = tuple(
        Replacement(server=name, id=servers[name].id or "", group=servers[name].group, since=now)
        for name in plan.replaced
        if servers[name].id not in begun
    )
    if not new:
        return knowledge
    there = {server.id or "" for server in servers.values() if server.unhealthy or server.drain}
    return knowledge.order(replacements=(*counting(known, now, there), *new))
