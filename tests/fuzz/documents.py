"""Documents that are almost right: a good one with some of its values, names and bytes changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 2**31, 2**63, 10**30, 10**400, float("nan"), float("inf"), -float("inf"), "", " ",
    "a", "0", "-1", "1e999", "nan", "null", "no", "\x00", "\x1b]0;title\x07", "a\nb\r::error::c", "\ud800",
    "ü" * 300, "x" * 70_000,
    "2026-02-30T00:00:00Z", "2026-01-01T00:00:00+23:59", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "0s", "99999999999d", [], {}, [[]], [None], {"": None},
    {"a": {"b": []}}, [0] * 300,
)  # fmt: skip
"""What programs, people and attackers put where something else belongs."""


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value in a document."""
    yield path
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from places(value, (*path, key))


def _changed(document: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None], value: Any) -> Any:
    if not path:
        return value
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    change(holder, path[-1])
    return document


@st.composite
def almost(draw: st.DrawFn, good: Any, *, keep: tuple[str, ...] = ()) -> Any:
    """A copy of a good document with one to three values replaced, removed, renamed or repeated.

    Paths that begin with one of `keep` stay as they are.
    """
    document = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in places(document) if not path or path[0] not in keep]))
        value = draw(st.sampled_from(ODD_VALUES))

        def change(holder: Any, key: Any, value: Any = value) -> None:
            match draw(st.sampled_from(("replace", "replace", "remove", "rename", "repeat"))):
                case "replace":
                    holder[key] = copy.deepcopy(value)
                case "remove":
                    del holder[key]
                case "rename" if isinstance(holder, dict):
                    holder[str(value)[:100]] = holder.pop(key)
                case _ if isinstance(holder, list):
                    holder.append(copy.deepcopy(holder[key]))
                case _:
                    holder[f"{key}2"] = copy.deepcopy(holder[key])

        document = _changed(document, path, change, copy.deepcopy(value))
    return document


BOMBS = (b"[" * 200_000, b'{"a":' * 200_000, b"[" * 5_000 + b"]" * 5_000)
"""Documents that a recursive reader does not survive."""


def _broken(text: bytes, bombs: tuple[bytes, ...] = BOMBS) -> st.SearchStrategy[bytes]:
    """A text that was cut off, overwritten, or nested without end."""
    where = st.integers(0, len(text))
    return st.one_of(
        where.map(lambda end: text[:end]),
        st.tuples(where, st.binary(min_size=1, max_size=8)).map(lambda cut: text[: cut[0]] + cut[1] + text[cut[0] :]),
        st.sampled_from((b"", b"\0", b"\xff\xfe", *bombs)),
        st.binary(max_size=200),
    )


def almost_json(good: Any, *, keep: tuple[str, ...] = ()) -> st.SearchStrategy[bytes]:
    """The same as JSON, or its text broken."""
    whole = json.dumps(good).encode()
    return st.one_of(almost(good, keep=keep).map(as_json), _broken(whole))


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


ODD_YAML = (
    '"\\U00110000"', '"\\UFFFFFFFF"', '"\\ud800"', "*nowhere", "&a [*a]", "!!timestamp noon", '!!int ""', "!!bool x",
    "9" * 5000, "2026-02-30", "!!python/object:x {}", "!ours!x y", "!<%ff> x", "{? [a] : b}", "{<<: [1]}", "|", ">9",
    "'", "%", "@", "1\n%YAML 1." + "9" * 5000 + "\n---\na: 1",
)  # fmt: skip
"""Values that readers of YAML fail at in many ways; the last is a second document."""


def almost_text(good: str) -> st.SearchStrategy[bytes]:
    """A text with some of its lines changed, or broken."""
    lines = good.splitlines(keepends=True)
    values = [value for value in map(str, ODD_VALUES) if value.isprintable() and len(value) < 100]
    odd = st.sampled_from([*values, *ODD_YAML])
    changed = st.tuples(st.integers(0, len(lines) - 1), odd).map(
        lambda change: "".join(
            f"{line.partition(':')[0]}: {change[1]}\n" if number == change[0] else line
            for number, line in enumerate(lines)
        ).encode()
    )
    # YAML is read slowly: tests/support/test_documents.py has its bombs.
    return st.one_of(changed, _broken(good.encode(), (b"[" * 150, b"- " * 150)))
