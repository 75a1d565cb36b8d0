"""Turn pydantic's errors into problems of a spec: file, line, what is wrong, and how to correct it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from scaler.config.schema import GroupSchema, SpecSchema
from scaler.config.schema.refusals import shown
from scaler.config.strict_yaml import Document, Location, Value
from scaler.support.suggestions import nearest_clause
from scaler.support.text import named

_OTHER_WORDS = {"region": "location", "size": "type", "server_type": "type", "keys": "ssh_keys", "tags": "labels"}
"""The clouds' words for keys that have another name in a spec."""

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
"""The message for each of pydantic's kinds of errors."""


def report(document: Document, schema: type[BaseModel], at: Location, error: ErrorDetails) -> None:
    """Add an error to the document's problems. `at` is the place of the value that `schema` validated."""
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


def report_missing_values(document: Document) -> None:
    """Report each key that is written without a value: it would mean the default, and nobody would be told.

    `endpoint:` whose value a template left out would be the vendor's own, and `autoscale:` no autoscaling.
    """
    reported = {problem.line for problem in document.problems}
    for location in _missing_values(document.value, ()):
        if (line := document.line(location)) not in reported:
            document.report(line, f"{_dotted(location)} has no value", "give one, or remove the line")


def _missing_values(value: Value, at: Location) -> Iterator[Location]:
    if at[:1] == ("policies",) and at[2:3] == ("config",):
        return  # What is in there is a policy's own.
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, content in entries:
        location = (*at, key)
        if content is None:
            yield location
        else:
            yield from _missing_values(content, location)


def _dotted(location: Location) -> str:
    """Return a place in the file as messages name it, such as `groups.worker.type[1]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{named(part)}" for part in location)
    return text.removeprefix(".") or "the spec"


def _schema_at(schema: type[BaseModel], location: Location) -> type[BaseModel]:
    """Return the schema of a place inside a value of this schema."""
    for key in location:
        field = schema.model_fields.get(str(key))
        schema = next(_schemas_in(field.annotation), schema) if field else schema
    return schema


def _schemas_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Find the schemas in an annotation such as `tuple[NotifySchema, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _schemas_in(part)


def _unknown_key(key: str, schema: type[BaseModel]) -> tuple[str, str]:
    """Return the predicate and the fix for a key that the schema does not have."""
    other = GroupSchema if schema is SpecSchema else SpecSchema
    if schema in (SpecSchema, GroupSchema) and key in other.model_fields:
        return "is not a key here", "it belongs in a group" if other is GroupSchema else "it belongs at the top level"
    if "token" in key.lower():
        return "is not a key: credentials are never in the spec", "set HCLOUD_TOKEN or DIGITALOCEAN_TOKEN"
    known = list(schema.model_fields)
    other_word = _OTHER_WORDS.get(key)
    return "is not a known key", f"did you mean {other_word}?" if other_word in known else nearest_clause(key, known)


def _wrong_value(error: ErrorDetails) -> tuple[str, str, Location]:
    """Return the predicate, the fix and the place inside the value, for an invalid value."""
    kind, value, facts = error["type"], error["input"], error.get("ctx", {})
    if kind == "refused":
        return facts["message"], facts["fix"], facts["at"]
    if value is None:
        return "has no value", "give one, or remove the line", ()
    words = re.findall(r"'([^']*)'", facts.get("expected", ""))
    predicate = _PREDICATES.get(kind, error["msg"])
    return predicate.format(value=shown(value), words=" or ".join(words), **facts), _fix(kind, value, words), ()


def _fix(kind: str, value: object, words: list[str]) -> str:
    """Return how to write what was probably meant; empty if that is unknown."""
    if kind == "too_short":
        return "name at least one"
    if kind == "tuple_type" and isinstance(value, str | int):
        return f"write [{value}]" if named(str(value)) == str(value) else "write it in [ ]"
    if not isinstance(value, str):
        return ""
    if kind == "literal_error" and len(words) > 1:
        return nearest_clause(value, words)
    if kind == "int_type" and re.fullmatch(r"0|[1-9][0-9]{0,8}", value):
        return "remove the quotes"
    meant = _BOOLEANS.get(value.lower())
    return f"write {meant}" if kind == "bool_type" and meant else ""
