"""Every answer of the embedded cloud, held against the vendors' own machine-readable documents.

`Record` is put around each embedded cloud of the test process and remembers what was asked and answered.
`Schemas` says how an exchange deviates from the documents: its status, its body's types, required fields,
enumerations and formats, fields that no document knows, and the body of a request that was accepted.
What is known to deviate, and why, is in `deviations`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import jsonschema
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scaler.simulator.faults import AFTER, BEFORE

VARIABLE = "SCALER_VENDOR_SCHEMAS"
_ROOT = Path(__file__).parents[2]
_PAUSES = frozenset({"hang", "hang_forever"})
_SPOILED = (BEFORE | AFTER) - _PAUSES
"""Faults whose answers are meant to be wrong."""

Json = dict[str, Any]


def folder() -> Path | None:
    """Where the documents are: in the folder that the variable names, or beside the checkout in `shared`."""
    named = os.environ.get(VARIABLE)
    candidates = [Path(named)] if named else [above / "shared/reference/schemas" for above in _ROOT.parents]
    return next((path for path in candidates if (path / "hetzner.json").is_file()), None)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A request and its answer."""

    method: str
    path: str
    request: bytes
    status: int
    body: bytes


@dataclass(slots=True)
class Record:
    """What the embedded clouds of this process were asked and answered since the last `take`.

    `around` is the ASGI middleware; it looks at each exchange and changes none.
    """

    exchanges: dict[bytes, Exchanged] = field(default_factory=dict)
    count: int = 0

    def around(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application."""

        async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
            asked: list[bytes] = []
            answered: list[Message] = []

            async def hear() -> Message:
                message = await receive()
                asked.append(message.get("body", b""))
                return message

            async def answer(message: Message) -> None:
                answered.append(message)
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    self._add_if_meant(scope, b"".join(asked), answered)
                await send(message)

            await app(scope, hear, answer)

        return recorded

    def _add_if_meant(self, scope: Scope, asked: bytes, answered: list[Message]) -> None:
        """Remember an exchange of a cloud's API that no fault spoiled, before the client has the answer."""
        effects = scope.get("state", {}).get("effects")
        if effects is not None and not _SPOILED & set(effects):
            body = b"".join(message.get("body", b"") for message in answered)
            self._add(Exchanged(scope["method"], scope["path"], asked, answered[0]["status"], body))

    def _add(self, exchanged: Exchanged) -> None:
        self.count += 1
        if exchanged.method != "HEAD":
            parts = (exchanged.method, exchanged.path, exchanged.status, exchanged.request, exchanged.body)
            self.exchanges[hashlib.sha256(repr(parts).encode()).digest()] = exchanged

    def take(self) -> list[Exchanged]:
        """Hand over what there is; the same exchange counts once."""
        taken, self.exchanges = list(self.exchanges.values()), {}
        return taken


@dataclass(frozen=True, slots=True, order=True)
class Deviation:
    """What is not as the vendor's document says: at which operation, where in the body, and what."""

    operation: str
    """`GET /v1/servers/{id} 200`, or `POST /v1/servers request`."""
    where: str
    """The path in the body, with `*` for every index: `server/public_net/ipv4`."""
    what: str

    def __str__(self) -> str:
        return f"{self.operation}: {self.where or 'the body'}: {self.what}"


class Schemas:
    """The documents of both vendors."""

    def __init__(self, where: Path) -> None:
        self._documents = [json.loads((where / f"{name}.json").read_text()) for name in ("hetzner", "digitalocean")]
        self._operations: list[tuple[str, str, re.Pattern[str], Json, Json]] = []
        for document in self._documents:
            for name, operation in document["operations"].items():
                method, path = name.split()
                pattern = re.compile(
                    "".join("[^/]+" if part[:1] == "{" else part for part in re.split(r"({\w+})", path))
                )
                self._operations.append((name, method, pattern, operation, document["$defs"]))
        # A path without parameters is meant before one with.
        self._operations.sort(key=lambda row: row[0].count("{"))
        self._validators: dict[str, jsonschema.Draft202012Validator] = {}
        self.checked: Counter[str] = Counter()
        """Answers by operation."""
        self.unknown: Counter[str] = Counter()
        """Answers of what the documents at hand do not have, by method and first parts of the path."""

    def deviations(self, exchanged: Exchanged) -> Iterator[Deviation]:
        """How an exchange deviates."""
        row = self._find(exchanged.method, urlsplit(exchanged.path).path)
        if row is None:
            self.unknown[f"{exchanged.method} {re.sub(r'[0-9a-f-]{6,}|[0-9.]{7,}', '*', exchanged.path)}"] += 1
            return
        name, _, _, operation, definitions = row
        self.checked[name] += 1
        status = _documented(operation["responses"], exchanged.status)
        where = f"{name} {exchanged.status}"
        if status is None:
            yield Deviation(where, "", "the document has no such status")
        elif exchanged.status == 204 or operation["responses"][status] is None:
            if exchanged.body:
                yield Deviation(where, "", "a body where there is none")
        else:
            yield from self._check(where, operation["responses"][status], definitions, exchanged.body)
        if exchanged.request and exchanged.status < 300 and "request" in operation:
            yield from self._check(f"{name} request", operation["request"], definitions, exchanged.request)

    def _find(self, method: str, path: str) -> tuple[str, str, re.Pattern[str], Json, Json] | None:
        return next((row for row in self._operations if row[1] == method and row[2].fullmatch(path)), None)

    def _check(self, where: str, schema: Json, definitions: Json, body: bytes) -> set[Deviation]:
        try:
            value = json.loads(body)
        except ValueError:
            return {Deviation(where, "", "the body is no JSON")}
        validator = self._validators.get(where)
        if validator is None:
            checker = _formats()
            whole = {**schema, "$defs": definitions}
            validator = jsonschema.Draft202012Validator(whole, format_checker=checker)
            self._validators[where] = validator
        errors = (leaf for error in validator.iter_errors(value) for leaf in _leaves(error))
        found = {Deviation(where, _place(error.absolute_path), _words(error)) for error in errors}
        unknown = _unknown([schema], value, definitions)
        return found | {Deviation(where, _place(place), "a field that the document does not have") for place in unknown}


def _documented(responses: Json, status: int) -> str | None:
    names = (str(status), f"{status // 100}xx", "default" if status >= 400 else "")
    return next((name for name in names if name in responses), None)


def _leaves(error: jsonschema.ValidationError) -> Iterator[jsonschema.ValidationError]:
    """The errors that say something: of alternatives, those of the one that fits best."""
    if error.validator not in ("oneOf", "anyOf") or not error.context:
        yield error
        return
    branches: dict[Any, list[jsonschema.ValidationError]] = {}
    for inner in error.context:
        branches.setdefault(inner.schema_path[0], []).append(inner)
    best = min(branches.values(), key=lambda errors: (len(errors), -max(len(each.absolute_path) for each in errors)))
    for inner in best:
        yield from _leaves(inner)


def _words(error: jsonschema.ValidationError) -> str:
    match error.validator:
        case "required":
            return str(error.message)
        case "type":
            return f"{_kind(error.instance)} is not of type {error.validator_value}"
        case "enum" | "const" | "format" | "pattern":
            return f"{error.instance!r} does not fit {error.validator} {error.validator_value!r}"[:200]
    return f"{error.validator}: {error.message}"[:200]


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _place(path: Iterable[object]) -> str:
    return "/".join("*" if isinstance(part, int) else str(part) for part in path)


def _unknown(
    schemas: list[Json], value: Any, definitions: Json, path: tuple[object, ...] = ()
) -> Iterator[tuple[object, ...]]:
    """The fields of a value that none of the schemas for it has."""
    flat = [each for schema in schemas for each in _flat(schema, definitions)]
    if isinstance(value, list):
        items = [schema["items"] for schema in flat if isinstance(schema.get("items"), dict)]
        for index, item in enumerate(value):
            yield from _unknown(items, item, definitions, (*path, index))
    if not isinstance(value, dict) or any(schema.get("additionalProperties") for schema in flat):
        return
    described = [schema["properties"] for schema in flat if "properties" in schema]
    for name, item in value.items():
        known = [properties[name] for properties in described if name in properties]
        if described and not known:
            yield (*path, name)
        yield from _unknown(known, item, definitions, (*path, name))


def _flat(schema: Json, definitions: Json) -> Iterator[Json]:
    """A schema and all that it refers to or is combined of."""
    yield schema
    if "$ref" in schema:
        yield from _flat(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    for word in ("allOf", "oneOf", "anyOf"):
        for each in schema.get(word, ()):
            yield from _flat(each, definitions)


def _formats() -> jsonschema.FormatChecker:
    checker = jsonschema.FormatChecker(formats=())
    for name, read in (
        ("date-time", datetime.fromisoformat),
        ("ipv4", ipaddress.IPv4Address),
        ("ipv6", ipaddress.IPv6Address),
        ("uuid", UUID),
    ):
        checker.checks(name, raises=ValueError)(
            lambda value, read=read: not isinstance(value, str) or bool(read(value))
        )
    return checker
