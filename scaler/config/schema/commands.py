"""Commands: lists of words, whose program exists and can be executed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from scaler.config.schema.context import Info
from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.values import LINES_SCHEMA, typed_text
from scaler.support.text import named


def _word(value: object) -> str:
    if isinstance(value, dict):
        raise refusal("must be a text, not a mapping", 'put a placeholder in quotes: "{ip}"')
    word = typed_text(value)
    if "\0" in word:
        raise refusal("must not hold a NUL character")
    return word


def _words(value: object) -> object:
    if isinstance(value, str) and value.strip():
        words = json.dumps(value.split()) if named(value) == value else "it as [program, argument]"
        raise refusal(f"must be a list of words, not {shown(value)}", f"write {words}")
    return value


def _command(words: tuple[str, ...], info: Info) -> tuple[str, ...]:
    if not words:
        raise refusal("must not be empty", "name the program, then its arguments")
    program = words[0]
    if not program.strip():
        raise refusal("must not be empty", "name the program", at=(0,))
    if "/" in program and not Path(program).is_absolute():
        _check_script(program, info.context.project_folder)
    return words


def _check_script(program: str, folder: Path) -> None:
    """Refuse a relative path that leaves the project folder, or names no executable file in it."""
    if ".." in Path(program).parts:
        raise refusal(
            f"must not lead out of the project folder, as {shown(program)} does", "write an absolute path", at=(0,)
        )
    if not (folder / program).is_file():
        raise refusal(
            f"names a file that does not exist: {named(program)}", "the path is relative to the project folder", at=(0,)
        )
    if not os.access(folder / program, os.X_OK):
        raise refusal(
            f"names a file that may not be executed: {named(program)}", f"run chmod +x {named(program)}", at=(0,)
        )


_WORD_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean"]}
Command = Annotated[
    tuple[Annotated[str, BeforeValidator(_word)], ...],
    AfterValidator(_command),
    BeforeValidator(_words),
    WithJsonSchema({"type": "array", "prefixItems": [LINES_SCHEMA], "items": _WORD_SCHEMA, "minItems": 1}),
]
