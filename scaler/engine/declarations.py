"""What the Pulumi program declares by hand: the recorded servers, by the official typed classes.

A scaler run declares the same without these classes (`scaler.engine.host`), and a test compares the
two checkpoints. The caller decides which servers to declare and which outputs to export.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pulumi

from scaler.engine.checkpoint import SERVER_GROUP, UNKNOWN_GROUP
from scaler.engine.inputs import server_inputs
from scaler.engine.plugin.resource import Properties
from scaler.model import Declared


class ServerGroup(pulumi.ComponentResource):
    """The servers of one group, so that `pulumi stack` shows them together."""

    def __init__(self, name: str) -> None:
        super().__init__(SERVER_GROUP, name)


def declare(cloud: str, servers: Iterable[Declared], outputs: Mapping[str, Any], *, keep_labels: bool = False) -> None:
    """Register the servers under their groups, and export the outputs as plain values.

    `keep_labels`: existing servers keep their labels too, whatever is declared.
    """
    kind = server_inputs(cloud)
    fixed = [*kind.fixed, *([kind.labels] if keep_labels else ())]
    make = _CLASSES.get(cloud, _generic(kind.type))
    groups: dict[str, ServerGroup] = {}
    for server in servers:
        group = server.group or UNKNOWN_GROUP
        if group not in groups:
            groups[group] = ServerGroup(group)
        options = pulumi.ResourceOptions(
            parent=groups[group], ignore_changes=fixed if server.exists else None, protect=server.protected or None
        )
        inputs = {key: value for key, value in kind.of(server.request).items() if value is not None}
        if "userData" in inputs:
            # The engine encrypts it wherever it saves it, and never shows it.
            inputs["userData"] = pulumi.Output.secret(inputs["userData"])
        make(server.name, inputs, options)
    for name, value in outputs.items():
        pulumi.export(name, value)


Make = Callable[[str, Properties, pulumi.ResourceOptions], object]


def _generic(type_: str) -> Make:
    return lambda name, inputs, options: pulumi.CustomResource(type_, name, inputs, options)


def _hetzner(name: str, inputs: Properties, options: pulumi.ResourceOptions) -> object:
    import pulumi_hcloud as hcloud

    return hcloud.Server(name, **_arguments(inputs), opts=options)


def _digitalocean(name: str, inputs: Properties, options: pulumi.ResourceOptions) -> object:
    import pulumi_digitalocean as digitalocean

    return digitalocean.Droplet(name, **_arguments(inputs), opts=options)


def _arguments(inputs: Properties) -> dict[str, Any]:
    """Return inputs as the arguments of a typed class: its names, and those of the objects in its lists."""
    return {_snake(key): _argument(value) for key, value in inputs.items()}


def _argument(value: object) -> object:
    if isinstance(value, list):
        return [_arguments(item) if isinstance(item, dict) else item for item in value]
    return value


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_CLASSES: dict[str, Make] = {"hetzner": _hetzner, "digitalocean": _digitalocean}
