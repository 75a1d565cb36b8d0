"""What keeps a server from being removed: a mark of scaler's, the spec, or the cloud. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.model import Server, Spec, World


@dataclass(frozen=True, slots=True)
class Protection:
    """Why a server may not be removed, and how to allow it."""

    why: str
    fix: str


def protection_of(spec: Spec, world: World, server: Server) -> Protection | None:
    """Return what protects a server; None if nothing does. Only the cloud's own refuses a request."""
    group = spec.groups.get(server.group)
    if is_protected_at_cloud(world, server.name):
        return Protection(
            "its delete protection is on at the cloud", "Turn its delete protection off in the cloud's console."
        )
    if server.protected:
        return Protection("by `scaler protect`", f"Run `scaler unprotect {server.name}` first.")
    if group and server.name in group.protect:
        return Protection(
            f"groups.{server.group}.protect names it in {spec.path}", f"Take it out of groups.{server.group}.protect."
        )
    return None


def is_protected_at_cloud(world: World, name: str) -> bool:
    """Return whether the cloud refuses to delete a server."""
    return name in world.machines and world.machines[name].protected
