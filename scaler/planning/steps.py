"""Single steps, each with its reason in words for people. Pure."""

from __future__ import annotations

from datetime import datetime

from scaler.model import Action, Group, Placement, Server, StackEntry, Step
from scaler.model.lifecycle import Status


def create(
    group: Group,
    name: str,
    place: Placement,
    *,
    wanted: int,
    have: int,
    image: str | None = None,
    instead_of: Server | None = None,
) -> Step:
    """Create a server at a placement, because one is missing or `instead_of` an unhealthy one.

    `image`: from this one, while a roll has not succeeded.
    """
    kind, location = place
    why = f"instead of {instead_of.name}, {unhealthy_words(instead_of)}" if instead_of else ""
    return Step(
        action=Action.CREATE,
        server=name,
        group=group.name,
        reason=why or f"{group.name} wants {wanted}, has {have}",
        type=kind,
        location=location,
        image=image,
    )


def create_rolled(group: Group, name: str, place: Placement, *, image: str | None, is_back: bool) -> Step:
    """Create a server for a wave of a roll; `is_back`: of one that takes another one back."""
    kind, location = place
    return Step(
        action=Action.CREATE,
        server=name,
        group=group.name,
        reason=f"it takes the place of {'a server that is rolled back' if is_back else 'an outdated server'}",
        type=kind,
        location=location,
        image=image,
    )


def adopt(server: Server) -> Step:
    """Take an orphan into the stack."""
    return _step(Action.ADOPT, server, "it carries this stack's labels and is in no state")


def forget(entry: StackEntry, *, relabelled: bool) -> Step:
    """Remove from the stack what has no machine of this owner any more."""
    reason = "it carries another owner's labels" if relabelled else "it is gone from the cloud"
    return Step(action=Action.FORGET, server=entry.name, group=entry.group, reason=reason, id=entry.id)


def update(server: Server) -> Step:
    """Give a server the labels that the spec says."""
    return _step(Action.UPDATE, server, "its labels are not those of the spec")


def power_on(server: Server, *, paid: bool) -> Step:
    """Power on a server that is off; `paid`: it was kept for its paid hour."""
    return _step(Action.POWER_ON, server, "it is off, and still paid for" if paid else "it is off")


def delete(server: Server, reason: str) -> Step:
    """Delete a server."""
    return _step(Action.DELETE, server, reason)


def delete_dead(server: Server) -> Step:
    """Delete a server that cannot serve any more."""
    if server.status is Status.STOPPED:
        return delete(server, "it is off and could not be powered on")
    return delete(server, f"it is {server.status}: {server.error}" if server.error else f"it is {server.status}")


def delete_unhealthy(server: Server) -> Step:
    """Delete an unhealthy server, whose successor is ready."""
    return delete(server, unhealthy_words(server))


def unhealthy_words(server: Server) -> str:
    """Return why a server is unhealthy, such as `unhealthy: port 80: Connection refused`."""
    return f"unhealthy: {server.error}" if server.error else "unhealthy"


def delete_drained(server: Server) -> Step:
    """Delete a server that has stopped as its drain says."""
    notes = (server.drain.reason, *server.drain.notes) if server.drain else ()
    return delete(server, "; ".join(filter(None, notes)))


def resume(server: Server, reason: str) -> Step:
    """Take a draining server back."""
    return _step(Action.RESUME, server, reason)


def power_off(server: Server, reason: str, until: datetime) -> Step:
    """Power off a server that stays until its paid hour is over."""
    return _step(Action.POWER_OFF, server, f"{reason}; it is paid for, and can be taken back until {until:%H:%M} UTC")


def _step(action: Action, server: Server, reason: str) -> Step:
    return Step(
        action=action,
        server=server.name,
        group=server.group,
        reason=reason,
        id=server.id,
        type=server.type,
        location=server.location,
    )
