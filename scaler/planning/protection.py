"""What keeps a server from being removed: a mark of scaler's, the spec, the cloud, or the engine. Pure."""

from __future__ import annotations

from scaler.model import Server, Spec, World
from scaler.support.values import dataclass


@dataclass(frozen=True)
class Protection:
    """Why a server may not be removed, and how to allow it."""

    why: str
    fix: str


def protection_of(spec: Spec, world: World, server: Server) -> Protection | None:
    """Return what protects a server; None if nothing does. The cloud's and the engine's own come first: they refuse."""
    group = spec.groups.get(server.group)
    if is_protected_at_cloud(world, server.name):
        return Protection(
            "its delete protection is on at the cloud", "Turn its delete protection off in the cloud's console."
        )
    if is_protected_in_stack(world, server.name):
        return Protection(
            "it is protected in the stack, by `pulumi state protect`", "Take that off with `pulumi state unprotect`."
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


def is_protected_in_stack(world: World, name: str) -> bool:
    """Return whether the engine refuses to delete a server."""
    return name in world.entries and world.entries[name].protected
