"""The engine's saved state of a stack, as values.

Source of the format: pulumi (sdk/go/common/apitype).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from scaler.support.values import dataclass

SERVER_GROUP = "scaler:index:ServerGroup"
"""The type of the component that holds the servers of a group."""

_VERSIONS = (3, 4)
"""The engine writes 4 where a resource is tainted or has another feature that 3 lacks; we read the same of both."""

_PROVIDER = "pulumi:providers:"
"""How the types of providers begin; the name of their package follows."""

UNKNOWN_GROUP = "unknown"
"""The component of servers whose group nobody knows any more: it needs a name."""


@dataclass(frozen=True)
class Resource:
    """A custom resource of the checkpoint."""

    urn: str
    type: str
    id: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    protected: bool = False
    """By `pulumi state protect`: the engine refuses to delete it."""
    tainted: bool = False
    """By `pulumi state taint`: the engine replaces it in its next operation."""

    @property
    def name(self) -> str:
        return self.urn.rpartition("::")[2]


@dataclass(frozen=True)
class Checkpoint:
    """The stack as the engine last saved it."""

    resources: tuple[Resource, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    """URNs of resources whose operation was begun and not finished."""
    foreign: tuple[str, ...] = ()
    """URNs of resources that scaler did not declare: its program would delete them."""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """By URN, the plugin that the engine needs for a resource, or for a provider that it starts with each operation."""
    provider: str = ""
    """The URL of what encrypts its secrets; empty for a passphrase."""


def read_checkpoint(document: Any) -> Checkpoint:
    """Return what a file of the engine's says; ValueError, KeyError, TypeError or AttributeError if it is none."""
    if document["version"] not in _VERSIONS:
        raise ValueError(f"it has version {document['version']}, and only 3 and 4 are known")
    return read_deployment(document["checkpoint"].get("latest") or {})


def read_deployment(deployment: Mapping[str, Any]) -> Checkpoint:
    """Return what a deployment document says; KeyError or TypeError if it is none."""
    resources: Sequence[Mapping[str, Any]] = deployment.get("resources") or ()
    stack = next((item for item in resources if item.get("type") == "pulumi:pulumi:Stack"), {})
    return Checkpoint(
        resources=tuple(map(_resource, filter(_is_living, resources))),
        outputs=_object(stack.get("outputs")),
        pending=tuple(_text(item["resource"]["urn"]) for item in deployment.get("pending_operations") or ()),
        foreign=tuple(item["urn"] for item in resources if is_foreign(item["urn"])),
        plugins={_text(item["urn"]): _plugin_of(item) for item in resources if item.get("custom")},
        provider=_provider(deployment),
    )


def _plugin_of(item: Mapping[str, Any]) -> str:
    """Return the name of the plugin for a resource; one that no plugin has, if it is not the package's own."""
    kind = _text(item["type"])
    if kind.startswith(_PROVIDER):
        # The engine would download it from there, or have it become another one.
        is_elsewhere = any(mark in repr(item.get("inputs")) for mark in ("pluginDownloadURL", "parameterization"))
        return kind.removeprefix(_PROVIDER) + (" from elsewhere" if is_elsewhere else "")
    named = re.findall(rf"{_PROVIDER}([^:]*)::", _text(item.get("provider") or ""))
    return " or ".join(dict.fromkeys([kind.partition(":")[0], *named]))


def _provider(deployment: Mapping[str, Any]) -> str:
    state = _object(_object(deployment.get("secrets_providers")).get("state"))
    # Go reads names in any case, and the last one counts: two are none that anybody can know.
    urls = [_text(value or "") for name, value in state.items() if name.lower() == "url"]
    return " ".join(urls)


def is_foreign(urn: str) -> bool:
    """Return whether a resource is neither the stack, nor a provider of the engine's, nor a group of ours or in one."""
    kind = _type_of(urn)
    if kind.startswith(_PROVIDER):
        # The engine's own are `default` or `default_<version>`; one with another name was declared.
        return "::" in urn and not urn.rpartition("::")[2].startswith("default")
    return kind not in ("pulumi:pulumi:Stack", SERVER_GROUP) and f"{SERVER_GROUP}$" not in urn


def _type_of(urn: str) -> str:
    """Return the resource's own type, of `urn:pulumi:<stack>::<project>::<parent's type>$<type>::<name>`."""
    parts = urn.split("::")
    return parts[2].rpartition("$")[2] if len(parts) > 2 else ""


def _is_living(resource: Mapping[str, Any]) -> bool:
    """Return whether it is a custom resource, apart from providers, that the engine does not wait to delete."""
    is_custom = resource.get("custom") and not resource["type"].startswith(_PROVIDER)
    return bool(is_custom and not resource.get("delete"))


def _resource(item: Mapping[str, Any]) -> Resource:
    outputs = _object(item.get("outputs"))
    _object(outputs.get("labels"))
    for tag in outputs.get("tags") or ():
        _text(tag)
    return Resource(
        _text(item["urn"]),
        _text(item["type"]),
        _text(item.get("id") or ""),
        _object(item.get("inputs")),
        outputs,
        protected=bool(item.get("protect")),
        tainted=bool(item.get("taint")),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is expected, not {type(value).__name__}")
    return value


def _object(value: object) -> Mapping[str, Any]:
    """Return an object; an empty one if there is none."""
    if value and not isinstance(value, Mapping):
        raise TypeError(f"an object is expected, not {type(value).__name__}")
    return value if isinstance(value, Mapping) else {}
