"""Names and labels, and which servers belong to a stack (`contract.md` §6).

The stack's id on a server decides, by exact match, and never a name. The list is asked for by the
labels that name the project and the stack, so that it shows servers with another id or none too.
Clouds that have tags instead of labels encode them (`scaler.clouds.digitalocean`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from scaler.support.values import dataclass

MANAGED_BY = "managed-by"
PROJECT = "scaler-project"
STACK = "scaler-stack"
GROUP = "scaler-group"
TEMPLATE = "scaler-template"
ID = "scaler-id"

RESERVED = frozenset({MANAGED_BY, PROJECT, STACK, GROUP, TEMPLATE, ID})
"""Labels that a spec may not set."""

_HOST_NAME = re.compile(r"(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True)
class Owner:
    """The owner of servers: one stack of one project."""

    project: str
    stack: str
    id: str = ""
    """The stack's id. Empty: whoever has the names of the project and the stack, as a list is asked for."""

    @property
    def labels(self) -> dict[str, str]:
        """The labels that every server of this owner carries."""
        names = {MANAGED_BY: "scaler", PROJECT: self.project, STACK: self.stack}
        return {**names, ID: self.id} if self.id else names

    @property
    def by_name(self) -> Owner:
        """The same owner without its id: all servers that carry its names."""
        return replace(self, id="")

    def with_id(self, stack_id: str) -> Owner:
        """Return the owner with the stack's id."""
        return replace(self, id=stack_id)

    def group_labels(self, group: str, template: str) -> dict[str, str]:
        """Return the labels of a server of this group, made from this template."""
        return {**self.labels, GROUP: group, TEMPLATE: template}

    def owns(self, labels: Mapping[str, str]) -> bool:
        """Return whether a server with these labels is this owner's."""
        return GROUP in labels and all(labels.get(key) == value for key, value in self.labels.items())

    def excludes(self, labels: Mapping[str, str]) -> bool:
        """Return whether these labels name another owner; labels that are merely absent name none."""
        return any(labels.get(key, value) != value for key, value in self.labels.items())

    def is_anothers(self, labels: Mapping[str, str]) -> bool:
        """Return whether these labels have the id of another stack."""
        return bool(labels.get(ID)) and labels[ID] != self.id

    def claim(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Return these labels as those of a server of this owner; everything else stays."""
        # A claim of tags that was cut off leaves two ids; see `decode_tags`.
        return {key: value for key, value in labels.items() if not key.startswith(f"{ID}:")} | self.labels


def server_name(stack: str, group: str, number: int) -> str:
    """Return `<stack>-<group>-<n>`, which is valid as a host name."""
    return f"{stack}-{group}-{number}"


def is_host_name(name: str) -> bool:
    """Return whether a server can have the name: 1 to 63 lower-case letters, digits and inner hyphens."""
    return bool(_HOST_NAME.fullmatch(name))


def free_names(stack: str, group: str, taken: Collection[str], count: int) -> list[str]:
    """Return the `count` names of a group with the lowest numbers that are not taken."""
    names: list[str] = []
    number = 1
    while len(names) < count:
        name = server_name(stack, group, number)
        if name not in taken:
            names.append(name)
        number += 1
    return names


# ---------------------------------------------------------------------------------------------
# Labels as tags, for clouds that have no labels


Label = tuple[str, str]
"""A label's key and value; a tag is one too, see `encode_tags`."""


def carries(labels: Mapping[str, str], label: Label) -> bool:
    """Return whether a machine with these labels has this one; of tags, several may have one key."""
    return _encode_tag(*label) in encode_tags(labels)


def with_label(labels: Mapping[str, str], label: Label) -> dict[str, str]:
    """Return the labels with this one."""
    key, value = label
    return {**without_label(labels, label), key: value}


def without_label(labels: Mapping[str, str], label: Label) -> dict[str, str]:
    """Return the labels without this one; one of the same key and another value stays."""
    tag = _encode_tag(*label)
    return {key: value for key, value in labels.items() if _encode_tag(key, value) != tag}


def encode_tags(labels: Mapping[str, str]) -> list[str]:
    """Encode labels as tags: `managed-by=scaler` as `scaler`, `key=value` as `key:value`, `key=` as `key`."""
    return list(dict.fromkeys(_encode_tag(key, value) for key, value in labels.items()))


def _encode_tag(key: str, value: str) -> str:
    if (key, value) == (MANAGED_BY, "scaler"):
        return "scaler"
    # A label `scaler` without a value must not become the tag `scaler`, which stands for `managed-by`.
    return f"{key}:{value}" if value or key == "scaler" else key


def decode_tags(tags: Collection[str]) -> dict[str, str]:
    """Decode tags to labels; the inverse of `encode_tags`.

    A further tag of the same key, as people may set them, is a label of its own without a value.
    """
    labels: dict[str, str] = {}
    for tag in sorted(tags):
        key, _, value = tag.partition(":")
        if tag == "scaler":
            key, value = MANAGED_BY, "scaler"
        if key in labels:
            key, value = tag, ""
        labels[key] = value
    return labels
