"""The JSON Schema of specs, and the documentation of their keys."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from scaler.config.schema import GroupSchema, SpecSchema
from scaler.config.schema.autoscale import block, ci_sources, metrics, rules
from scaler.config.schema.generate import json_schema, schema_file
from scaler.config.strict_yaml import read
from tests.config.spec_files import EVERYTHING_AT_DIGITALOCEAN, EVERYTHING_AT_HETZNER, SCHEMA, write

ROOT = Path(__file__).parents[2]
ON_ANOTHER_PAGE = {*vars(block), *vars(ci_sources), *vars(metrics), *vars(rules)}


@pytest.mark.parametrize("text", [EVERYTHING_AT_HETZNER, EVERYTHING_AT_DIGITALOCEAN])
def test_the_json_schema_accepts_what_load_accepts(tmp_path: Path, text: str) -> None:
    assert list(SCHEMA.iter_errors(read(write(tmp_path, text)).value)) == []


def test_the_json_schema_is_valid_and_checked_in_as_it_is_now() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    text = (ROOT / "scaler/config/schema/spec.schema.json").read_text(encoding="utf-8")
    checked_in = json.loads(text)
    assert checked_in == json_schema(), "run: python -m scaler.config.schema"
    assert text == schema_file(), "run: python -m scaler.config.schema"
    assert checked_in["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_key_is_described_in_the_schema_and_in_the_documentation() -> None:
    schema: dict[str, Any] = json_schema()
    group = schema["$defs"]["GroupSchema"]
    assert set(schema["properties"]) == set(SpecSchema.model_fields)
    assert set(group["properties"]) == set(GroupSchema.model_fields)
    page = (ROOT / "docs/reference/spec.md").read_text(encoding="utf-8")
    for key, fields in {**schema["properties"], **group["properties"]}.items():
        assert fields["description"]
        assert f"| `{key}` |" in page, f"docs/reference/spec.md has no row for {key}"
    for name, inner in schema["$defs"].items():
        if name in ON_ANOTHER_PAGE:
            continue
        for key, fields in inner["properties"].items():
            assert fields["description"]
            assert f"`{key}`" in page or f"{{{key}: " in page, f"docs/reference/spec.md does not tell of {key}"
