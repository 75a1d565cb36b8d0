"""The JSON Schema of a spec, generated from the models."""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from scaler.config.schema.stack import SpecSchema


class _Generator(GenerateJsonSchema):
    """Leave out the titles that pydantic makes from the keys' names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a spec."""
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **SpecSchema.model_json_schema(schema_generator=_Generator, mode="validation"),
    }


def schema_file() -> str:
    """Return the content of `spec.schema.json`."""
    return f"{json.dumps(json_schema(), indent=2, ensure_ascii=False)}\n"
