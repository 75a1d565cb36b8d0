"""Dataclasses that are made when they are first needed.

The standard library's decorator writes and compiles seven methods for a class: half a millisecond (CPython 3.11). Our
modules have some three hundred such classes, and a command makes instances of a few dozen of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - type checkers know it by this name
else:

    def dataclass(cls: type | None = None, /, **options: Any) -> type | Callable[[type], type]:
        """Make the class a dataclass as `dataclasses.dataclass` does, at its first instance, or when it is looked into.

        `options`: those of `dataclasses.dataclass`, without `slots`.
        """
        if cls is None:
            return partial(dataclass, **options)
        written = {name: value for name, value in vars(cls).items() if name not in {"__dict__", "__weakref__"}}
        for name in _Later.NAMES:
            setattr(cls, name, _Later(name, cls, written, options))
        return cls


class _Later:
    """Stands for an attribute of a class that is not yet a dataclass. Who looks at it makes the class one."""

    NAMES = ("__dataclass_fields__", "__init__")
    """What the first instance, `dataclasses.fields` and a class derived from this one look at."""

    def __init__(self, name: str, cls: type, written: dict[str, Any], options: dict[str, Any]) -> None:
        self._name = name
        self._cls = cls
        self._written = written
        self._options = options

    def __get__(self, instance: object, owner: type) -> Any:
        self._make()
        return getattr(owner if instance is None else instance, self._name)

    def _make(self) -> None:
        """Have a twin made a dataclass, and take over what it got.

        Done twice it does the same: a signal may end it half-way, and two threads may begin it. The twin's own checks
        that nothing is assigned are for its own instances.
        """
        try:
            twin = type(self._cls)(self._cls.__name__, self._cls.__bases__, dict(self._written))
        except RuntimeError as error:
            # Until Python 3.12, what a signal raises in the `__set_name__` of a field becomes the cause of this one.
            raise error.__cause__ or error from None
        made = dict(vars(dataclasses.dataclass(**self._options)(twin)))
        if self._options.get("frozen"):
            made |= {"__setattr__": _refuse, "__delattr__": _refuse}
        for name in [name for name in self._written if name not in made and name in vars(self._cls)]:
            delattr(self._cls, name)
        added = {name for name, value in made.items() if self._written.get(name, ...) is not value}
        for name in (*(added - {"__dict__", "__weakref__", *_Later.NAMES}), *_Later.NAMES):
            setattr(self._cls, name, made[name])


def _refuse(self: object, name: str, *value: object) -> NoReturn:
    verb = "assign to" if value else "delete"
    raise dataclasses.FrozenInstanceError(f"cannot {verb} field {name!r}")
