"""Names of servers: those of new ones, and the order in which people read them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from scaler.model import Group, Server
from scaler.model.ownership import free_names, is_host_name
from scaler.support.text import answered


def new_names(stack: str, group: Group, taken: Collection[str], count: int) -> list[str]:
    """Return names for `count` new servers; ExtensionError if the group's function answers an impossible one."""
    if group.naming is None:
        return free_names(stack, group.name, taken, count)
    names: list[str] = []
    for _ in range(count):
        name = group.naming(stack, group.name, frozenset({*taken, *names}))
        if not isinstance(name, str) or not is_host_name(name):
            raise group.naming.failed(
                f"it answered {answered(name)}; a server's name is 1 to 63 lower-case letters, digits and inner hyphens"
            )
        if name in taken or name in names:
            raise group.naming.failed(f"it answered {name}, which is taken")
        names.append(name)
    return names


def natural(name: str) -> tuple[str, int, str]:
    """Return the key that sorts `prod-worker-2` before `prod-worker-10`."""
    return name.rpartition("-")[0], number_of(name), name


def as_words(names: Iterable[str]) -> str:
    """Return names as a command line has them, each once, in natural order: `prod-worker-2 prod-worker-10`."""
    return " ".join(sorted(set(names), key=natural))


def in_order(servers: Iterable[Server]) -> list[Server]:
    """Return servers in the natural order of their names."""
    return sorted(servers, key=lambda server: natural(server.name))


def number_of(name: str) -> int:
    """Return the number at the end of a server's name; 0 if there is none."""
    # An orphan whose name another machine has is listed as `<name>.<id>`.
    digits = name.rpartition("-")[2].partition(".")[0]
    return int(digits) if digits.isdigit() else 0
