"""Convert a validated spec to the model: `SpecSchema` and its `GroupSchema`s to `Spec`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from scaler.config.schema import GroupSchema, SpecSchema
from scaler.config.schema.context import SpecContext
from scaler.config.schema.policies import PolicyPackSchema
from scaler.config.schema.readiness import CheckSchema, HealthySchema, ReadySchema
from scaler.model import Group, HealthPolicy, NotifyTarget, PolicyPack, Readiness, Spec, StopPolicy


def spec_of(
    fields: SpecSchema, groups: Mapping[str, GroupSchema], *, project: str, path: Path, context: SpecContext
) -> Spec:
    """Convert a spec; `groups` are validated separately, since their checks need their names."""
    return Spec(
        project=project,
        stack=context.stack,
        path=path,
        groups={name: _group(name, group) for name, group in groups.items()},
        notify=tuple(NotifyTarget(**target.model_dump()) for target in fields.notify),
        policies=tuple(_pack(pack, context.project_folder) for pack in fields.policies),
        budget=fields.budget.per_month if fields.budget else None,
        **fields.model_dump(exclude={"budget", "groups", "notify", "policies"}),
    )


def _pack(fields: PolicyPackSchema, folder: Path) -> PolicyPack:
    return PolicyPack(path=(folder / fields.path).resolve(), level=fields.level, config=fields.config)


def _group(name: str, fields: GroupSchema) -> Group:
    return Group(
        name=name,
        count=fields.count,
        min=fields.min,
        max=fields.max,
        image=fields.image,
        types=fields.type,
        locations=fields.location,
        ssh_keys=fields.ssh_keys,
        user_data=fields.user_data_inline if fields.user_data is None else fields.user_data,
        labels=fields.labels,
        networks=fields.networks,
        firewalls=fields.firewalls,
        placement_group=fields.placement_group,
        public_ipv4=fields.public_ipv4,
        public_ipv6=fields.public_ipv6,
        vpc=fields.vpc,
        monitoring=fields.monitoring,
        ipv6=fields.ipv6,
        ready=_readiness(fields.ready),
        healthy=_health(fields.healthy),
        start_within=fields.start_within,
        in_service=fields.in_service.value if fields.in_service else None,
        stop=StopPolicy(**fields.stop.model_dump()),
        lifetime=fields.lifetime,
        image_changes=fields.image_changes,
        roll=fields.roll.pace(),
        roll_windows=fields.roll.times(),
        protect=frozenset(fields.protect),
        spread=fields.spread,
        scale_down=fields.scale_down,
        keep_paid=fields.keep_paid,
        naming=fields.naming,
        autoscale=fields.autoscale.policy() if fields.autoscale else None,
    )


def _readiness(fields: ReadySchema | None) -> Readiness:
    return replace(_check(fields), successes=fields.successes) if fields else Readiness()


def _health(fields: HealthySchema | None) -> HealthPolicy | None:
    if fields is None:
        return None
    return HealthPolicy(check=_check(fields), every=fields.every, failures=fields.failures, at_most=fields.at_most)


def _check(fields: CheckSchema) -> Readiness:
    kinds: tuple[Literal["tcp", "http", "command", "function"], ...] = ("tcp", "http", "command", "function")
    return Readiness(
        kind=next(kind for kind in kinds if getattr(fields, kind)),
        port=fields.tcp,
        url=fields.http,
        command=fields.command,
        function=fields.function,
    )
