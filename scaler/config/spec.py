"""Load a spec: `stacks/<stack>.yaml` → `Spec`, or every problem at once, each with its line and how to correct it.

The file is read (`scaler.config.strict_yaml`), validated (`scaler.config.schema`) and converted to the
model (`scaler.config.conversion`). The cloud is not asked: whether a type, location or image exists is
known only after an observation.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from scaler.config import problems
from scaler.config.conversion import spec_of
from scaler.config.schema import GroupSchema, SpecSchema
from scaler.config.schema.context import SpecContext
from scaler.config.schema.group import autoscale_schema
from scaler.config.schema.names import host_label_problem
from scaler.config.schema.refusals import shown
from scaler.config.strict_yaml import Document, Location, Value, read
from scaler.config.user_data_kinds import has_keys_of_user_data, misplaced_header
from scaler.errors import InvalidSpecError, Problem
from scaler.model import Spec
from scaler.support.documents import read_beginning

Schema = TypeVar("Schema", bound=BaseModel)


def load(path: Path, project: str) -> Spec:
    """Read and validate the spec of a stack, which is named after the file.

    Raises InvalidSpecError with every problem of the file, in the order of its lines.
    """
    document = read(path)
    stack = path.stem
    if problem := host_label_problem(stack):
        document.report(1, f"the file's name gives the stack its name, and that {problem}", "rename the file")
    if document.value is None and not document.problems:
        document.report(1, "the file is empty", "scaler init writes one to start from")
    spec = None if document.value is None else _validate(document, path, project)
    problems.report_missing_values(document)
    if document.problems and _looks_like_user_data(path, document.value):
        raise InvalidSpecError([Problem(document.file, 1, _USER_DATA, _USER_DATA_FIX)])
    if spec is None or document.problems:
        raise InvalidSpecError(sorted(document.problems, key=lambda problem: problem.line))
    return spec


_USER_DATA = "this looks like the user data of a spec, and not like a spec"
_USER_DATA_FIX = "give the file a second dot, such as worker.cloud-init.yaml, or write #cloud-config in its first line"


def _looks_like_user_data(path: Path, value: Value) -> bool:
    if has_keys_of_user_data(value):
        return True
    if isinstance(value, dict) and "groups" in value:
        return False
    try:
        return misplaced_header(read_beginning(path, 4 << 10).decode(errors="replace")) is not None
    except OSError:
        return False


def _validate(document: Document, path: Path, project: str) -> Spec | None:
    """Return the spec of a document; None if it is invalid, with its problems added to the document."""
    if not isinstance(document.value, dict):
        document.report(document.line(()), f"a spec is a mapping of keys to values, not {shown(document.value)}")
        return None
    context = _context(document.value, path)
    fields = _check(document, SpecSchema, document.value, (), context)
    raw = document.value.get("groups")
    groups = {
        name: _check_group(document, name, value, replace(context, group=name))
        for name, value in (raw.items() if isinstance(raw, dict) else ())
    }
    if fields is None or document.problems:
        return None
    valid = {name: group for name, group in groups.items() if group is not None}
    return spec_of(fields, valid, project=project, path=path, context=context)


def _check_group(document: Document, name: str, value: Value, context: SpecContext) -> GroupSchema | None:
    """Validate a group, and its `autoscale` by itself; return None if it is invalid."""
    at: Location = ("groups", name)
    group = _check(document, GroupSchema, value, at, context)
    if not isinstance(value, dict) or value.get("autoscale") is None:
        return group
    context = replace(context, monitoring=value.get("monitoring") is True)
    autoscale = _check(document, autoscale_schema(), value["autoscale"], (*at, "autoscale"), context)
    return group and group.model_copy(update={"autoscale": autoscale})


def _context(value: dict[str, Value], path: Path) -> SpecContext:
    """Collect what the checks need to know, from a spec that is not validated yet."""
    cloud, groups = value.get("cloud"), value.get("groups")
    counts = (
        [group.get("count") for group in groups.values() if isinstance(group, dict)] if isinstance(groups, dict) else []
    )
    return SpecContext(
        stack=path.stem,
        folder=path.parent,
        project_folder=path.parent.parent,
        cloud=cloud if cloud in ("hetzner", "digitalocean") else None,
        wanted=sum(count for count in counts if isinstance(count, int)),
    )


def _check(document: Document, schema: type[Schema], value: Value, at: Location, context: SpecContext) -> Schema | None:
    """Validate a value; return None if it is invalid, with its problems added to the document."""
    try:
        return schema.model_validate(value, context=context)
    except ValidationError as failure:
        for error in failure.errors(include_url=False):
            problems.report(document, schema, at, error)
        return None
