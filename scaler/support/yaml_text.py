"""Read YAML that anybody may have written, with bounded time and memory. All YAML is read here.

Whatever is wrong with a text is a `YamlError` with its line. PyYAML raises more than its own errors: what Python's
functions raise for a number of 5,000 digits, a character beyond Unicode, or a date that is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import yaml

from scaler.support.text import named

T = TypeVar("T")

MOST_VALUES = 10_000
"""The most values of a document. Aliases of aliases can make a short file endless; no real one has so many."""

_DEEPEST = 100
"""The deepest value of a document, in lists and mappings around it."""

_FROM_TEXT = re.compile(r"""(?P<mark>['"])(?P<words>.*)(?P=mark)""", re.DOTALL)
"""What PyYAML's messages quote of the text: the name of an alias or a tag."""

_OUR_WORDS = (
    (r"'\t'", "a tab", "indent with spaces"),
    (
        "mapping values are not allowed here",
        "a second `: ` in one line, or a wrong indentation",
        "quote a text with `: ` in it",
    ),
    ("could not determine a constructor for the tag", "a tag that only some programs know", "remove the tag"),
    ("found unhashable key", "a list or mapping as a key", "quote it"),
)
"""What PyYAML's words have in them, and what to say in their place: the problem, and how to correct it."""


class YamlError(ValueError):
    """What is wrong with a YAML text, the line, and how to correct it (may be empty)."""

    def __init__(self, line: int, words: str, fix: str = "") -> None:
        super().__init__(f"line {line}: {words}")
        self.line = line
        self.words = words
        self.fix = fix


class EndlessYamlError(YamlError):
    """It has more than MOST_VALUES values, or they are nested too deep."""

    def __init__(self) -> None:
        super().__init__(1, "nested too deep or too large", "look for an alias inside its own anchor")


class _Bounded(yaml.SafeLoader):
    """A loader that stops at too many values, or too deep ones, before it spends time on them."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._nodes = 0
        self._depth = 0
        self._built: yaml.Node | None = None

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        self._count(1)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        # Merges of merges double what is there, in each line of a short text.
        self._count(len(node.value))

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        self._built = node
        return super().construct_object(node, deep)

    @property
    def at(self) -> int:
        """The line that is being read, or whose value is being built; the first is 1."""
        line: int = self._built.start_mark.line if self._built else self.line
        return line + 1

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > 2 * MOST_VALUES or self._depth > _DEEPEST:
            raise EndlessYamlError


class _Plain(_Bounded):
    """A loader for which a plain scalar is the text that was typed."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as PyYAML has it


def compose(text: str) -> list[yaml.Node]:
    """Return the documents of a text as nodes, whose plain scalars have no type; YamlError if it is no YAML."""

    def documents(loader: _Bounded) -> list[yaml.Node]:
        found = []
        while loader.check_node():
            if (node := loader.get_node()) is not None:
                found.append(node)
        return found

    return _read(text, _Plain, documents)


def checked_node(text: str) -> yaml.Node | None:
    """Return the one document of a text as a node, None if it is empty; YamlError unless its values can be read too."""

    def document(loader: _Bounded) -> yaml.Node | None:
        node: yaml.Node | None = loader.get_single_node()
        if node is not None:
            written = list(node.value)
            loader.construct_document(node)
            # To build a mapping with a merge changes its node.
            node.value = written if isinstance(node, yaml.MappingNode) else node.value
        return node

    return _read(text, _Bounded, document)


def load(text: str) -> Any:
    """Return the one document of a text with YAML's safe types; YamlError if there is none that can be read."""
    return _read(text, _Bounded, lambda loader: loader.get_single_data())


def _read(text: str, kind: type[_Bounded], read: Callable[[_Bounded], T]) -> T:
    loader = None
    try:
        loader = kind(text)
        return read(loader)
    except YamlError:
        raise
    except yaml.reader.ReaderError as error:
        line = 1 + text.count("\n", 0, error.position)
        raise YamlError(line, f"invalid YAML: a character that may not be in it (#x{error.character:04x})") from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error) from None
    except RecursionError:
        raise EndlessYamlError from None
    except Exception as error:
        line = loader.at if loader else 1
        raise YamlError(line, f"invalid YAML: a value that cannot be read ({type(error).__name__})") from error
    finally:
        if loader:
            loader.dispose()


def _syntax_error(error: yaml.MarkedYAMLError) -> YamlError:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    for said, problem, fix in _OUR_WORDS:
        if said in (error.problem or ""):
            return YamlError(line, f"invalid YAML: {problem}", fix)
    words = [_without_values(said) for said in (error.context, error.problem) if said]
    return YamlError(line, f"invalid YAML: {', '.join(words) or 'not understood'}")


def _without_values(words: str) -> str:
    """Return PyYAML's words; what they quote of the text may be a document or a secret."""
    found = _FROM_TEXT.search(words)
    if found is None or named(found["words"]) == found["words"]:
        return words
    return words.replace(found[0], named(found["words"]))


def text_of(content: bytes) -> str:
    """Return the text of a file; YamlError if it is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise YamlError(line, "not UTF-8 text", "save the file as UTF-8") from None
