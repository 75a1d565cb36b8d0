"""Read YAML without changing a value silently, and note the line of each value.

A plain scalar becomes a number, a boolean or null only if this loses nothing of its text: `3`, `true`,
`false`, `null`, `~` and the empty scalar. Everything else stays the text that was typed: `no`, `on`,
`12:30`, `1.10`, `0755`, `1e3`, `2026-01-02`. The schema decides which type a key needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import TypeAlias

import yaml

from scaler.errors import Problem
from scaler.support.documents import read_file
from scaler.support.text import named, one_line
from scaler.support.values import dataclass
from scaler.support.yaml_text import MOST_VALUES, EndlessYamlError, YamlError, compose, text_of

Value: TypeAlias = "bool | int | str | list[Value] | dict[str, Value] | None"
Location: TypeAlias = tuple[int | str, ...]
"""The keys and list indices that lead to a value."""

_LONGEST = 400
"""Characters of a problem's message."""

_LARGEST_FILE = 1 << 20
"""Bytes of a spec; one with user data of every group in it has less."""

_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_SURROGATE = re.compile("[\ud800-\udfff]")
"""Characters that UTF-8 cannot encode; an escape such as `"\\ud800"` produces them."""

_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}


@dataclass
class Document:
    """The YAML document of a file: its value, the line of each part, and the problems found.

    `value` is None if the file is no YAML; `problems` says why. A document with problems may still
    have a value: of duplicate keys, for example, the first counts.
    """

    file: str
    value: Value = None
    lines: dict[Location, int] = field(default_factory=dict)
    """The 1-based line of each value."""
    key_lines: dict[Location, int] = field(default_factory=dict)
    """The 1-based line of the key that leads to each value."""
    problems: list[Problem] = field(default_factory=list)
    _reported: set[Problem] = field(default_factory=set)

    def known(self, location: Location) -> Location:
        """Return the location, or that of the nearest enclosing value if the file has no value there."""
        return next((location[:n] for n in range(len(location), 0, -1) if location[:n] in self.lines), ())

    def line(self, location: Location) -> int:
        """Return the line of a value, or of the nearest enclosing one."""
        return self.lines.get(self.known(location), 1)

    def key_line(self, location: Location) -> int:
        """Return the line of a value's key, or of the nearest enclosing one."""
        return next(
            (self.key_lines[key] for n in range(len(location), 0, -1) if (key := location[:n]) in self.key_lines), 1
        )

    def report(self, line: int, message: str, fix: str = "") -> None:
        """Add a problem, unless it is there already: an anchor's content is read again at every alias."""
        # The last resort: whatever a message quotes, it is one line, and no document.
        problem = Problem(self.file, line, one_line(message, _LONGEST), one_line(fix, _LONGEST))
        if problem not in self._reported:
            self._reported.add(problem)
            self.problems.append(problem)


def read(path: Path) -> Document:
    """Read a file. Never raises for its content: what is wrong with it is in the document's `problems`."""
    document = Document(displayed(path))
    try:
        _parse(text_of(read_file(path, _LARGEST_FILE)), document)
    except FileNotFoundError:
        document.report(1, "the file does not exist")
    except OSError as error:
        document.report(1, f"the file cannot be read: {error.strerror}")
    except YamlError as error:
        document.report(error.line, error.words, error.fix)
    except ValueError as error:
        document.report(1, f"the file is too large: {error}")
    return document


def displayed(path: Path) -> str:
    """Return a path relative to the current folder, if it is in it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _parse(text: str, document: Document) -> None:
    """Fill the document in. Raises YamlError."""
    nodes = compose(text)
    if len(nodes) > 1:
        document.report(_line(nodes[1]), "a second YAML document begins here", "keep one document in a file")
    try:
        document.value = _Builder(document).build(nodes[0], ()) if nodes else None
    except RecursionError:
        raise EndlessYamlError from None


class _Builder:
    """Build the values of one document from its nodes, and note their lines."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values = 0

    def build(self, node: yaml.Node, location: Location) -> Value:
        self._count()
        self._document.lines[location] = _line(node)
        if node.tag not in _PLAIN_TAGS:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            self._document.report(_line(node), f"the YAML tag {named(tag)} is not supported", "remove it")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*location, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)  # noqa: S101 - the only kind left
        text = self._text(node)
        return text if node.style else _resolve(text)  # a style means quotes or a block

    def _count(self) -> None:
        self._values += 1
        if self._values > MOST_VALUES:
            raise EndlessYamlError

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Value]:
        result: dict[str, Value] = {}
        for key, value in self._own_pairs(node):
            result[self._enter(key, location)] = self.build(value, (*location, key.value))
        for key, value in self._merged_pairs(node):
            if key.value not in result:
                result[self._enter(key, location)] = self.build(value, (*location, key.value))
        return result

    def _enter(self, key: yaml.ScalarNode, location: Location) -> str:
        name = self._text(key)
        self._document.key_lines[(*location, name)] = _line(key)
        return name

    def _text(self, node: yaml.ScalarNode) -> str:
        text = str(node.value)
        if _SURROGATE.search(text):
            self._document.report(_line(node), "half of a surrogate pair", "write the character itself")
        return text

    def _own_pairs(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Return the mapping's own pairs; of duplicate keys the first."""
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._document.report(_line(key), "a list or mapping cannot be a key")
            elif key.value in first and not _is_merge(key):
                message = f"{named(key.value)} is given twice; the first is on line {first[key.value]}"
                self._document.report(_line(key), message, "remove one of them")
            elif not _is_merge(key):
                first[key.value] = _line(key)
                yield key, value

    def _merged_pairs(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Return the pairs that `<<: *anchor` merges in; the caller uses the first of each key."""
        for key, value in node.value:
            if not _is_merge(key):
                continue
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                self._count()
                if isinstance(source, yaml.MappingNode):
                    yield from self._own_pairs(source)
                    yield from self._merged_pairs(source)
                else:
                    self._document.report(_line(key), "<< needs a mapping, or a list of mappings")


def _is_merge(key: yaml.Node) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value == "<<" and not key.style


def _resolve(text: str) -> Value:
    """Return the value of a plain scalar."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else text


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1
