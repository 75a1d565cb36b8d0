"""The policy pack: register the rules of `rules.py` with CrossGuard.

With Pulumi's language host for Python, `pulumi preview --policy-pack policies` runs the pack; without
one, `--policy-pack "$PWD/policies/analyzer"` does. Scaler needs no language host: name the pack in a
spec with `policies: [policies/]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
"""The rules of single servers, each with the JSON Schema of its settings."""
STACK_READS = {"size", "region", "image", "tags", "serverType", "location", "labels"}
PER_STACK: dict[Rule, dict[str, Any]] = {
    rules.largest_stack: {"most": NUMBER},
    rules.monthly_cost: {"most": NUMBER, "prices": {"type": "object", "additionalProperties": NUMBER}},
}
"""The rules of the whole stack, each with the JSON Schema of its settings."""


def server_policy(rule: Rule, settings: dict[str, Any]) -> ResourceValidationPolicy:
    """Make a policy from a rule that checks one server."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if args.get_config() and args.resource_type in rules.SERVERS:
            for complaint in rule(rules.read_server(args.name, args.props), **args.get_config()):
                report(complaint, None)

    return ResourceValidationPolicy(*title_of(rule), validate, config_schema=PolicyConfigSchema(settings))


def stack_policy(rule: Rule, settings: dict[str, Any]) -> StackValidationPolicy:
    """Make a policy from a rule that checks all servers together."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        found = [resource for resource in args.resources if resource.resource_type in rules.SERVERS]
        if args.get_config():
            servers = [rules.read_server(each.name, without_addresses(each.props)) for each in found]
            for complaint in rule(servers, **args.get_config()):
                report(complaint, None)

    return StackValidationPolicy(*title_of(rule), validate, config_schema=PolicyConfigSchema(settings))


def without_addresses(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties without those about addresses, which no rule of the stack reads.

    In a preview by DigitalOcean's official plugin they are not known yet, and a policy that reads an
    unknown value cannot be judged.
    """
    return {key: properties[key] for key in properties if key in STACK_READS}


def title_of(rule: Rule) -> tuple[str, str]:
    """Return a policy's name and description: the rule's name, and the first line of its docstring."""
    return rule.__name__.replace("_", "-"), str(rule.__doc__).partition("\n")[0]


PolicyPack(
    "scaler-policies",
    [server_policy(*rule) for rule in PER_SERVER.items()] + [stack_policy(*rule) for rule in PER_STACK.items()],
    enforcement_level=EnforcementLevel.MANDATORY,
)
