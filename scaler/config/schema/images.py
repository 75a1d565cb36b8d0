"""Images: a snapshot by selector or name, an id, or a vendor's image."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.values import TEXT_SCHEMA, not_blank, one_line, typed_text
from scaler.model import ImageRef
from scaler.support.suggestions import nearest_clause

_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _image(value: object) -> ImageRef:
    if isinstance(value, dict):
        return _image_by_key(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise refusal(
            "has no value" if value is None else f"must be an image, not {shown(value)}",
            'write {selector: "role=worker"}, {name: …}, an id, or a name of the vendor\'s such as ubuntu-24.04',
        )
    text = not_blank(str(value))
    if re.fullmatch(r"[1-9][0-9]*", text):
        return ImageRef("id", text)
    if isinstance(value, int):
        raise refusal(f"must be an image's id, not {value}")
    if not _SLUG.fullmatch(text):
        raise refusal(
            f"must be a vendor's image such as ubuntu-24.04, or an id, not {shown(text)}",
            "name a snapshot of your own as {name: …} or {selector: …}",
        )
    return ImageRef("slug", text)


def _image_by_key(value: dict[str, object]) -> ImageRef:
    for key in value:
        if key not in ("selector", "name"):
            raise refusal("is not a known key", nearest_clause(key, ["selector", "name"]), at=(key,))
    if len(value) != 1:
        raise refusal("must have exactly one of the keys selector and name")
    [(key, text)] = value.items()
    try:
        return ImageRef("selector" if key == "selector" else "name", one_line(not_blank(typed_text(text))))
    except PydanticCustomError as error:
        raise refusal(**{**(error.context or {}), "at": (key,)}) from None


Image = Annotated[
    ImageRef,
    BeforeValidator(_image),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": f"^{_SLUG.pattern}$"},
                {
                    "type": "object",
                    "properties": {"selector": TEXT_SCHEMA, "name": TEXT_SCHEMA},
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ]
        }
    ),
]
