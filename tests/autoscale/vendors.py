"""What the vendors of CI systems publish about their answers, in small excerpts that name their origin."""

import json
from pathlib import Path
from typing import Any

import jsonschema

PUBLISHED: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("ci_answers.json").read_text("utf-8"))


def checked(vendor: str, document: object) -> str:
    """The document as JSON, valid by the vendor's schema."""
    jsonschema.validate(document, PUBLISHED[vendor]["schema"])
    return json.dumps(document)
