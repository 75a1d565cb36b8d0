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
    return json.dumps(document, ensure_ascii=False, indent=2)
