"""`env`: names of environment variables."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from scaler.config.schema.refusals import refusal
from scaler.config.schema.values import Texts

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _names(values: tuple[str, ...]) -> tuple[str, ...]:
    for index, value in enumerate(values):
        if not _NAME.fullmatch(value):
            # Not quoted: who writes NAME=value here has written a secret.
            raise refusal("must be the name of a variable, such as HCLOUD_TOKEN", "give no value", at=(index,))
    return values


EnvNames = Annotated[
    Texts,
    AfterValidator(_names),
    WithJsonSchema(
        {"type": "array", "items": {"type": "string", "pattern": f"^{_NAME.pattern}$"}, "uniqueItems": True}
    ),
]
