"""Typed access to the fields of a JSON object that any program may have written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Literal

from scaler.model.sound import is_address, is_id, is_name
from scaler.support.text import answered

_LARGEST = 2**53
"""The largest whole number that every reader of JSON keeps."""

_MOST = 10**9
"""More than any price, and than the seconds of any wait."""

MOST_SERVERS = 100_000
"""Of a group; a spec and the command line take 10,000, and servers may be added to those that are there."""


class MalformedError(ValueError):
    """A document that lacks a field, or has a value of another type in it."""


class Fields:
    """The fields of a JSON object. Every method raises MalformedError for a value of another type."""

    def __init__(self, document: object) -> None:
        if not isinstance(document, Mapping):
            raise MalformedError(f"an object is expected, not {type(document).__name__}")
        self._fields: Mapping[object, object] = document

    def text(self, name: str) -> str:
        if not isinstance(value := self._fields.get(name), str):
            raise MalformedError(f"`{name}` is not a text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._fields.get(name)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise MalformedError(f"`{name}` is not a list of texts")
        return tuple(values)

    def optional_texts(self, name: str) -> tuple[str, ...]:
        return () if self._fields.get(name) is None else self.texts(name)

    def optional_text(self, name: str) -> str | None:
        return None if self._fields.get(name) is None else self.text(name)

    def server_name(self, name: str) -> str:
        if not is_name(value := self.text(name)):
            raise MalformedError(f"`{name}` is no server's name: {answered(value)}")
        return value

    def optional_id(self, name: str) -> str | None:
        if (value := self.optional_text(name)) is not None and not is_id(value):
            raise MalformedError(f"`{name}` is no server's id: {answered(value)}")
        return value

    def optional_address(self, name: str, version: Literal[4, 6] | None = None) -> str | None:
        if not is_address(value := self.optional_text(name), version):
            raise MalformedError(f"`{name}` is no IP address: {answered(value)}")
        return value

    def optional_decimal(self, name: str) -> Decimal | None:
        if (text := self.optional_text(name)) is None:
            return None
        try:
            value = Decimal(text)
        except ArithmeticError as error:
            raise MalformedError(f"`{name}` is not a decimal number") from error
        if not value.is_finite() or not 0 <= value <= _MOST:
            raise MalformedError(f"`{name}` is not a number from 0 to {_MOST}")
        return value

    def flag(self, name: str) -> bool:
        """Return the flag; a missing one is off."""
        value = self._fields.get(name, False)
        if not isinstance(value, bool):
            raise MalformedError(f"`{name}` is not true or false")
        return value

    def optional_flag(self, name: str) -> bool | None:
        """Return a flag; None if it is missing or null."""
        return None if self._fields.get(name) is None else self.flag(name)

    def whole_number(self, name: str) -> int:
        return _whole_number(name, self._fields.get(name))

    def optional_whole_number(self, name: str) -> int | None:
        return None if self._fields.get(name) is None else self.whole_number(name)

    def seconds(self, name: str) -> timedelta:
        if (value := self.whole_number(name)) > _MOST:
            raise MalformedError(f"`{name}` is not a number from 0 to {_MOST}")
        return timedelta(seconds=value)

    def counts(self, name: str) -> dict[str, int]:
        """Return numbers of servers by group."""
        if not isinstance(values := self._fields.get(name, {}), Mapping):
            raise MalformedError(f"`{name}` is not an object")
        counts = {str(key): _whole_number(f"{name}.{key}", value) for key, value in values.items()}
        for key, count in counts.items():
            if count > MOST_SERVERS:
                raise MalformedError(f"`{name}.{key}` is not a number of servers")
        return counts

    def text_by_name(self, name: str) -> dict[str, str]:
        if not isinstance(values := self._fields.get(name, {}), Mapping):
            raise MalformedError(f"`{name}` is not an object")
        if not all(isinstance(value, str) for value in values.values()):
            raise MalformedError(f"`{name}` has a value that is not a text")
        return {str(key): str(value) for key, value in values.items()}

    def optional_object(self, name: str) -> dict[str, object] | None:
        if (value := self._fields.get(name)) is None:
            return None
        if not isinstance(value, Mapping):
            raise MalformedError(f"`{name}` is not an object")
        return {str(key): item for key, item in value.items()}

    def all(self) -> dict[str, object]:
        return {str(name): value for name, value in self._fields.items()}

    def items(self, name: str) -> list[object]:
        if not isinstance(value := self._fields.get(name), list):
            raise MalformedError(f"`{name}` is not a list")
        return value

    def optional_items(self, name: str) -> list[object]:
        return [] if self._fields.get(name) is None else self.items(name)


def _whole_number(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise MalformedError(f"`{name}` is not a whole number")
    if not 0 <= value <= _LARGEST:
        raise MalformedError(f"`{name}` is not a number of 0 or more that programs keep")
    return value
