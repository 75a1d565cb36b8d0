"""Which servers carry their group's `in_service` label, and should not, or the other way round. Pure."""

from __future__ import annotations

from scaler.model import Server, Spec, World
from scaler.model.lifecycle import Status
from scaler.model.ownership import Label, carries
from scaler.planning.health import doubtful


def label_of(spec: Spec, server: Server) -> Label | None:
    """Return what a server carries while it is in service; None: its group names nothing."""
    group = spec.groups.get(server.group)
    return group.in_service if group else None


def wrongly_labelled(spec: Spec, world: World) -> dict[str, bool]:
    """Return the servers whose label is not as it should be, each with whether it should carry it.

    It should while the server is ready, healthy, and not on its way out of service. What is not seen,
    set aside, or already deleted is left alone. If too many of a group are unhealthy at once, the check may be
    wrong, and a load balancer must keep its targets: those beyond `at_most` keep what they have.
    """
    found = {}
    left_alone = doubtful(spec, world)
    for name, server in world.servers.items():
        machine, label = world.machines[name], label_of(spec, server)
        if (
            label is None
            or name in left_alone
            or not machine.seen
            or server.set_aside
            or server.status is Status.DELETING
        ):
            continue
        if carries(machine.labels, label) is not server.running:
            found[name] = server.running
    return found
