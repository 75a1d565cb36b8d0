"""Names of stacks, groups and servers."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from scaler.config.schema.context import Info
from scaler.config.schema.refusals import refusal, shown

HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_HOST_LABEL_RULE = "must be lower-case letters, digits and hyphens, as in a host name"
_LONGEST_NAME = 63 - len("--") - len("10000")
"""How many characters the names of stack and group may have together, in a host name's 63."""


def host_label_problem(name: str) -> str:
    """Say what is wrong with a stack's or group's name, as a predicate; empty if nothing is."""
    return "" if HOST_LABEL.fullmatch(name) else f"{_HOST_LABEL_RULE}, not {shown(name)}"


def _group_name(name: str, info: Info) -> str:
    here = info.context
    if problem := host_label_problem(name):
        raise refusal(problem)
    if len(here.stack) + len(name) > _LONGEST_NAME:
        raise refusal(
            f"is too long: the server names {here.stack}-{name}-<n> must fit in 63 characters",
            f"use at most {_LONGEST_NAME} for the stack and the group together",
        )
    return name


GroupName = Annotated[str, AfterValidator(_group_name)]
