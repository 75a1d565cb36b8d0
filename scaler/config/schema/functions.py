"""References to the user's functions, `module:function`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from scaler.config.schema.context import Info
from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.values import typed_text
from scaler.hooks.functions import CannotLoadError, load_function
from scaler.model import Extension

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def _function(value: object, info: Info) -> Extension:
    reference = typed_text(value)
    if not _REFERENCE.fullmatch(reference):
        raise refusal(f"must be module:function, not {shown(reference)}")
    try:
        return Extension(reference, load_function(reference, info.context.project_folder))
    except CannotLoadError as error:
        raise refusal(str(error), error.fix) from None


_FUNCTION_SCHEMA: dict[str, Any] = {"type": "string", "pattern": rf"^{_REFERENCE.pattern}$"}
Function = Annotated[Extension, BeforeValidator(_function), WithJsonSchema(_FUNCTION_SCHEMA)]


def _word_or_function(value: object, check: ValidatorFunctionWrapHandler, info: Info) -> object:
    return _function(value, info) if isinstance(value, str) and ":" in value else check(value)


# Not a union: pydantic would describe a wrong word in its own terms.
ScaleDown = Annotated[
    Literal["newest", "oldest", "billing"],
    WrapValidator(_word_or_function),
    WithJsonSchema({"anyOf": [{"enum": ["newest", "oldest", "billing"], "type": "string"}, _FUNCTION_SCHEMA]}),
]
