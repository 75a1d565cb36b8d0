"""`stacks/<stack>.yaml` → `Spec`: every problem at once, each with its line and its cure.

The file is read (`scaler.config.strict_yaml`), validated (`scaler.config.schema`) and turned into the value that
the rest works with. Nothing is asked of the cloud here: whether a type, location or image exists
is known only once it has been seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scaler.config.schema import (
    GroupSchema,
    PolicyPackSchema,
    ReadySchema,
    SpecSchema,
    Surroundings,
    host_label_problem,
    shown,
)
from scaler.config.strict_yaml import Document, Location, Value, read
from scaler.errors import InvalidSpecError
from scaler.model import Group, NotifyTarget, PolicyPack, Readiness, Spec, StopPolicy
from scaler.support.suggestions import nearest

Schema = TypeVar("Schema", bound=BaseModel)

_OTHER_WORDS = {"region": "location", "size": "type", "server_type": "type", "keys": "ssh_keys", "tags": "labels"}
"""The clouds' own words for what a spec calls otherwise."""

_BOOLEANS = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}

_PREDICATES = {
    "int_type": "must be a whole number, not {value}",
    "bool_type": "must be true or false, not {value}",
    "dict_type": "must be a mapping, not {value}",
    "model_type": "must be a mapping, not {value}",
    "tuple_type": "must be a list, not {value}",
    "literal_error": "must be {words}, not {value}",
    "greater_than_equal": "must be {ge} or more, not {value}",
    "less_than_equal": "must be {le} or less, not {value}",
    "too_short": "must not be empty",
}
"""Pydantic's kinds of errors, in plain words."""


def load(path: Path, project: str) -> Spec:
    """The spec in a file, validated; the file's name gives the stack's.

    Raises `InvalidSpecError` with every problem of the file, in the order of its lines.
    """
    document = read(path)
    stack = path.stem
    if problem := host_label_problem(stack):
        document.report(1, f"the file's name gives the stack its name, and that {problem}", "rename the file")
    if document.value is None and not document.problems:
        document.report(1, "the file is empty", "scaler init writes one to start from")
    spec = None if document.value is None else _validate(document, path, project)
    if spec is None or document.problems:
        raise InvalidSpecError(sorted(document.problems, key=lambda problem: problem.line))
    return spec


def _validate(document: Document, path: Path, project: str) -> Spec | None:
    """The spec of a document, or None; what is wrong with it is noted in the document."""
    if not isinstance(document.value, dict):
        document.report(document.line(()), f"a spec is a mapping of keys to values, not {shown(document.value)}")
        return None
    here = _surroundings(document.value, path)
    fields = _check(document, SpecSchema, document.value, (), here)
    raw = document.value.get("groups")
    groups = {
        name: _check(document, GroupSchema, value, ("groups", name), replace(here, group=name))
        for name, value in (raw.items() if isinstance(raw, dict) else ())
    }
    if fields is None or document.problems:
        return None
    return Spec(
        project=project,
        stack=here.stack,
        path=path,
        groups={name: _group(name, group) for name, group in groups.items() if group is not None},
        notify=tuple(NotifyTarget(**target.model_dump()) for target in fields.notify),
        policies=tuple(_pack(pack, here.project_folder) for pack in fields.policies),
        budget=fields.budget.per_month if fields.budget else None,
        **fields.model_dump(exclude={"budget", "groups", "notify", "policies"}),
    )


def _surroundings(value: dict[str, Value], path: Path) -> Surroundings:
    cloud, groups = value.get("cloud"), value.get("groups")
    counts = (
        [group.get("count") for group in groups.values() if isinstance(group, dict)] if isinstance(groups, dict) else []
    )
    return Surroundings(
        stack=path.stem,
        folder=path.parent,
        project_folder=path.parent.parent,
        cloud=cloud if cloud in ("hetzner", "digitalocean") else None,
        wanted=sum(count for count in counts if isinstance(count, int)),
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
        start_within=fields.start_within,
        stop=StopPolicy(**fields.stop.model_dump()),
        protect=frozenset(fields.protect),
        spread=fields.spread,
        scale_down=fields.scale_down,
        keep_paid=fields.keep_paid,
        naming=fields.naming,
        autoscale=fields.autoscale.policy() if fields.autoscale else None,
    )


def _readiness(fields: ReadySchema | None) -> Readiness:
    if fields is None:
        return Readiness()
    kinds: tuple[Literal["tcp", "http", "command", "function"], ...] = ("tcp", "http", "command", "function")
    return Readiness(
        kind=next(kind for kind in kinds if getattr(fields, kind)),
        port=fields.tcp,
        url=fields.http,
        command=fields.command,
        function=fields.function,
        successes=fields.successes,
    )


# ---------------------------------------------------------------------------------------------
# Problems in plain words


def _check(document: Document, schema: type[Schema], value: Value, at: Location, here: Surroundings) -> Schema | None:
    """The value as its schema has it, or None once its problems are noted in the document."""
    try:
        return schema.model_validate(value, context=here)
    except ValidationError as failure:
        for error in failure.errors(include_url=False):
            _report(document, schema, at, error)
        return None


def _report(document: Document, schema: type[BaseModel], at: Location, error: ErrorDetails) -> None:
    """Note one of pydantic's errors, at its line and in our words."""
    location: Location = (*at, *error["loc"])
    if error["type"] == "missing":
        document.report(document.key_line(location), f"{_dotted(location)} is missing", "add it")
    elif error["type"] == "extra_forbidden":
        message, fix = _unknown_key(str(location[-1]), _schema_at(schema, error["loc"][:-1]))
        document.report(document.key_line(location), f"{_dotted(location)} {message}", fix)
    elif location[-1:] == ("[key]",):
        message, fix, _ = _wrong_value(error)
        document.report(document.key_line(location[:-1]), f"{_dotted(location[:-1])} {message}", fix)
    else:
        message, fix, inner = _wrong_value(error)
        location = document.known((*location, *inner))
        document.report(document.line(location), f"{_dotted(location)} {message}", fix)


def _dotted(location: Location) -> str:
    """`groups.worker.type[1]`, as messages name a place in the file."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".") or "the spec"


def _schema_at(schema: type[BaseModel], location: Location) -> type[BaseModel]:
    """The schema of a place inside a value that has this one."""
    for key in location:
        field = schema.model_fields.get(str(key))
        schema = next(_schemas_in(field.annotation), schema) if field else schema
    return schema


def _schemas_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The schemas that an annotation such as `tuple[NotifySchema, ...]` names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _schemas_in(part)


def _unknown_key(key: str, schema: type[BaseModel]) -> tuple[str, str]:
    """The predicate and the cure for a key that the schema does not have."""
    other = GroupSchema if schema is SpecSchema else SpecSchema
    if schema in (SpecSchema, GroupSchema) and key in other.model_fields:
        return "is not a key here", "it belongs in a group" if other is GroupSchema else "it belongs at the top level"
    if "token" in key.lower():
        return "is not a key: credentials are never in the spec", "set HCLOUD_TOKEN or DIGITALOCEAN_TOKEN"
    known = list(schema.model_fields)
    other_word = _OTHER_WORDS.get(key)
    return "is not a known key", f"did you mean {other_word}?" if other_word in known else nearest(key, known)


def _wrong_value(error: ErrorDetails) -> tuple[str, str, Location]:
    """The predicate, the cure and the place inside the value, for a value that is not as it should be."""
    kind, value, facts = error["type"], error["input"], error.get("ctx", {})
    if kind == "refused":
        return facts["message"], facts["fix"], facts["at"]
    if value is None:
        return "has no value", "give one, or remove the line", ()
    words = re.findall(r"'([^']*)'", facts.get("expected", ""))
    predicate = _PREDICATES.get(kind, error["msg"])
    return predicate.format(value=shown(value), words=" or ".join(words), **facts), _cure(kind, value, words), ()


def _cure(kind: str, value: object, words: list[str]) -> str:
    """How to write what was probably meant."""
    if kind == "too_short":
        return "name at least one"
    if kind == "tuple_type" and isinstance(value, str | int):
        return f"write [{value}]"
    if not isinstance(value, str):
        return ""
    if kind == "literal_error" and len(words) > 1:
        return nearest(value, words)
    if kind == "int_type" and re.fullmatch(r"0|[1-9][0-9]{0,8}", value):
        return "remove the quotes"
    meant = _BOOLEANS.get(value.lower())
    return f"write {meant}" if kind == "bool_type" and meant else ""
