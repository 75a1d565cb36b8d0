"""The top level of a spec."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from scaler.config.schema.budget import BudgetSchema
from scaler.config.schema.by_itself import ByItself
from scaler.config.schema.context import Info
from scaler.config.schema.env_names import EnvNames
from scaler.config.schema.fields import spec_key
from scaler.config.schema.group import DIGITALOCEAN_ONLY, HETZNER_ONLY, GroupSchema
from scaler.config.schema.names import HOST_LABEL, GroupName
from scaler.config.schema.notify import NotifySchema
from scaler.config.schema.policies import PolicyPackSchema, pack_or_path, show_path_alone
from scaler.config.schema.refusals import refusal
from scaler.config.schema.urls import Backend, Endpoint
from scaler.config.schema.values import Number, Retention, given_guard
from scaler.support.entry_points import cloud_entry_points
from scaler.support.suggestions import nearest_clause
from scaler.support.text import quoted


def _or_installed(value: object, check: ValidatorFunctionWrapHandler) -> object:
    """Accept also the clouds that installed packages offer; the JSON Schema names only ours."""
    try:
        return check(value)
    except ValidationError:
        installed = sorted(cloud_entry_points())
        if isinstance(value, str) and value in installed:
            return value
        if isinstance(value, str) and installed:
            known = ["hetzner", "digitalocean", *installed]
            raise refusal(f"must be {' or '.join(known)}, not {quoted(value)}", nearest_clause(value, known)) from None
        raise


def _without(cloud: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the JSON Schema for: on this cloud, no group has these keys."""
    return {
        "if": {"properties": {"cloud": {"const": cloud}}, "required": ["cloud"]},
        "then": {"properties": {"groups": {"additionalProperties": {"properties": dict.fromkeys(keys, False)}}}},
    }


class SpecSchema(BaseModel):
    """One stack's spec: which servers should exist, and where."""

    model_config = ConfigDict(
        extra="forbid",
        defer_build=True,
        title="scaler stack",
        json_schema_extra={
            "allOf": [_without("digitalocean", HETZNER_ONLY), _without("hetzner", DIGITALOCEAN_ONLY)],
        },
    )

    cloud: Annotated[Literal["hetzner", "digitalocean"], WrapValidator(_or_installed)] = spec_key(
        "Where the servers are."
    )
    endpoint: Endpoint | None = spec_key(
        "embedded (a cloud inside scaler, for trying and testing) or an API URL; without it, the vendor's.",
        default=None,
    )
    backend: Backend | None = spec_key(
        "The URL of the Pulumi backend that keeps the state; without it, PULUMI_BACKEND_URL, "
        "`backend` of Pulumi.yaml, or file://.scaler/pulumi.",
        default=None,
    )
    plugin: Literal["scaler", "official"] = spec_key(
        "Who makes the servers: scaler's own provider, or the official one without its guarantees.", default="scaler"
    )
    adopt: Literal["ask", "always"] = spec_key(
        "ask: a run stops when servers carry the stack's names and not its id. always: it claims them, where no "
        "identity of the stack is known anywhere.",
        default="ask",
    )
    accept_loss: Literal["ask", "always"] = spec_key(
        "ask: a run stops when more than half of the servers are missing at once. always: it replaces them.",
        default="ask",
    )
    limit: Number | None = spec_key(
        "The most servers this stack may hold, all groups together; exactly this many are allowed.", default=None
    )
    budget: BudgetSchema | None = spec_key(
        "What the stack may cost; a plan that creates servers and comes above it is refused.", default=None
    )
    notify: tuple[NotifySchema, ...] = spec_key("Where events are sent.", default=())
    env: EnvNames = spec_key(
        "Names of environment variables that commands and policy packs of this spec get besides what any program "
        "needs (PATH, HOME, the language, the proxy), such as DEPLOY_HOST or HCLOUD_TOKEN.",
        default=(),
    )
    policies: tuple[Annotated[PolicyPackSchema, BeforeValidator(pack_or_path)], ...] = spec_key(
        "Packs of CrossGuard policies that every plan must pass before anything is changed.",
        default=(),
        json_schema_extra=show_path_alone,
    )
    retention: Retention = spec_key(
        "How long the records of deleted servers are kept.",
        default=timedelta(days=7),
        json_schema_extra={"default": "7d"},
    )
    # Each group is validated by itself, since its checks need its name.
    groups: Annotated[dict[GroupName, Annotated[Any, ByItself(lambda: GroupSchema)]], Field(min_length=1)] = spec_key(
        "The sets of interchangeable servers, by name; most stacks have one.",
        json_schema_extra={"propertyNames": {"pattern": f"^{HOST_LABEL.pattern}$"}},
    )

    @field_validator("plugin")
    @classmethod
    def _is_there(cls, value: str, info: Info) -> str:
        cloud = info.data.get("cloud")
        if value == "official" and cloud not in (None, "hetzner", "digitalocean"):
            raise refusal(f"must be scaler: there is no official plugin for {cloud}")
        return value

    @field_validator("limit", "budget", mode="before")
    @classmethod
    def _has_a_value(cls, value: object) -> object:
        return given_guard(value)

    @field_validator("limit")
    @classmethod
    def _holds_all(cls, value: int | None, info: Info) -> int | None:
        here = info.context
        if value is not None and value < here.wanted:
            raise refusal(f"must be at least the groups' counts together ({here.wanted}), not {value}")
        return value
