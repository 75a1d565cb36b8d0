"""A result as one document, JSON or YAML, for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping

from scaler.commands.context import Output

SCHEMA = 1


def dump(facts: Mapping[str, object], output: Output) -> str:
    """The facts as one JSON document, or as YAML, with the schema's number first."""
    document = {"schema": SCHEMA, **facts}
    if output is Output.YAML:
        import yaml

        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip()
    return as_json(document, indent=2)


def as_json(document: object, indent: int | None = None) -> str:
    """Return JSON in which every control character is escaped, also those that JSON allows but a terminal obeys."""
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    return "".join(letter if letter.isprintable() or letter == "\n" else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return json.dumps(letter)[1:-1] if ord(letter) != 0x7F else "\\u007f"
