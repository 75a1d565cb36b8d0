"""What the engine needs to know of a resource type, without any cloud's requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scaler.model import Machine, MachineRequest
from scaler.support.values import dataclass

Properties = dict[str, Any]
"""A resource's inputs or outputs under the official plugin's names."""


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """One official resource type: its token, its rules, and how it maps to a machine."""

    package: str
    """The name in PULUMI_DEBUG_PROVIDERS and of the default provider."""
    type: str
    labels_property: str
    """The only property that can be changed in place."""
    replace_on: frozenset[str]
    """Properties whose change makes the official plugin replace the server."""
    replace_off: frozenset[str] = frozenset()
    """Properties that replace the server when they are switched off, not on."""
    defaults: Mapping[str, object]
    """Inputs that the official plugin adds in Check, and lists in `__defaults`."""
    request: Callable[[str, Properties], MachineRequest]
    """Inputs → create request; the first argument is the name to use when the inputs have none."""
    outputs: Callable[[Properties, Machine], Properties]
    """Inputs and machine → every output of the official plugin."""
    observed: Callable[[Machine], Properties]
    """Machine → the outputs that a Read renews; the others stay as they were."""
    unique_names: bool = True
    """Whether the cloud refuses a second machine of a name."""
    labels: Callable[[Properties], dict[str, str]]
    """Inputs → labels."""

    def check(self, inputs: Properties) -> Properties:
        """Return the inputs as the official plugin's Check returns them.

        Any other default would be a difference when the official plugin takes the stack over.
        """
        missing = {key: value for key, value in self.defaults.items() if key not in inputs}
        return {**inputs, **missing, "__defaults": sorted(missing)}

    def changed(self, olds: Properties, old_inputs: Properties, news: Properties) -> list[str]:
        """Return the properties that differ between what exists and what is wanted.

        Equal inputs are no difference, whatever the outputs say: the official plugin's have user data as a hash,
        and networks with addresses. The labels are compared with the outputs, which a Read renews.
        """
        keys = (set(old_inputs) | set(news)) - {"__defaults"}
        return sorted(key for key in keys if self._differs(key, olds, old_inputs, news))

    def _differs(self, key: str, olds: Properties, old_inputs: Properties, news: Properties) -> bool:
        if key != self.labels_property and _same(old_inputs.get(key), news.get(key)):
            return False
        return not _same(olds.get(key, old_inputs.get(key)), news.get(key))

    def replaces(self, changed: list[str], news: Properties) -> list[str]:
        """Return the changed properties for which the official plugin replaces a server."""
        return [key for key in changed if key in self.replace_on or (key in self.replace_off and not news.get(key))]


def _same(old: object, new: object) -> bool:
    return _plain(old) == _plain(new)


def _plain(value: object) -> object:
    """Remove the engine's `__defaults` markers at any depth; absent, null and empty count as equal."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if key != "__defaults"} or None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value] or None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if value != "" else None
