"""The policy pack: registers the rules with CrossGuard. What they say is in `rules.py`.

`pulumi preview --policy-pack policies` runs it where Pulumi's language host for Python is
installed, and `--policy-pack "$PWD/policies/analyzer"` without one; scaler runs it without one,
for `policies: [policies/]` in a spec.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import rules
from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

TEXTS = {"type": "array", "items": {"type": "string"}}
IMAGES = {"type": "array", "items": {"type": ["string", "number"]}}
NUMBER = {"type": ["number", "string"], "pattern": r"^[0-9]+(\.[0-9]+)?$"}

Rule = Callable[..., Iterator[str]]

PER_SERVER: dict[Rule, dict[str, Any]] = {
    rules.allowed_types: {"types": TEXTS},
    rules.allowed_locations: {"locations": TEXTS},
    rules.allowed_images: {"images": IMAGES},
    rules.required_labels: {"labels": TEXTS},
    rules.public_ipv4: {"allowed": {"type": "boolean"}},
}
PER_STACK: dict[Rule, dict[str, Any]] = {
    rules.largest_stack: {"most": NUMBER},
    rules.monthly_cost: {"most": NUMBER, "prices": {"type": "object", "additionalProperties": NUMBER}},
}
"""The rules, and the JSON Schema of each one's settings."""


def on_servers(rule: Rule, settings: dict[str, Any]) -> ResourceValidationPolicy:
    """A rule that is asked about each server by itself."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if args.get_config() and args.resource_type in rules.SERVERS:
            for complaint in rule(rules.read_server(args.name, args.props), **args.get_config()):
                report(complaint)

    return ResourceValidationPolicy(*described(rule), validate, config_schema=PolicyConfigSchema(settings))


def on_stacks(rule: Rule, settings: dict[str, Any]) -> StackValidationPolicy:
    """A rule that is asked about all servers together."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        found = [resource for resource in args.resources if resource.resource_type in rules.SERVERS]
        if args.get_config():
            for complaint in rule([rules.read_server(each.name, each.props) for each in found], **args.get_config()):
                report(complaint)

    return StackValidationPolicy(*described(rule), validate, config_schema=PolicyConfigSchema(settings))


def described(rule: Rule) -> tuple[str, str]:
    """A policy's name and description."""
    return rule.__name__.replace("_", "-"), str(rule.__doc__).partition("\n")[0]


PolicyPack(
    "scaler-policies",
    [on_servers(*rule) for rule in PER_SERVER.items()] + [on_stacks(*rule) for rule in PER_STACK.items()],
    enforcement_level=EnforcementLevel.MANDATORY,
)
