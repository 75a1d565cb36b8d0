"""How a check refuses a value: with a predicate (`must be …`), to which `scaler.config.problems` adds key and line."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

from scaler.support.text import quoted


def refusal(message: str, fix: str = "", at: tuple[int | str, ...] = ()) -> PydanticCustomError:
    """Return the error that a check raises: a predicate, how to correct the value, and the place inside the value."""
    return PydanticCustomError("refused", "{message}", {"message": message, "fix": fix, "at": at})


def shown(value: object) -> str:
    """Return a value in the form in which messages quote it; a long or multi-line text is not quoted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    text = quoted(str(value))
    return text.strip("'") if isinstance(value, int) else text
