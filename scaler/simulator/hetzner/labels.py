"""Hetzner's labels: what a key and a value may be, and the selector grammar."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_SET = re.compile(r"(?P<key>\S+)\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUALITY = re.compile(r"(?P<key>[^\s!=]+)\s*(?P<sign>==|!=|=)\s*(?P<value>[^\s!=]*)")
_SEPARATOR = re.compile(r",(?![^(]*\))")

Selector = Callable[[Mapping[str, str]], bool]


def valid_key(key: str) -> bool:
    """`[prefix/]name`, without the vendor's own prefix."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not _PREFIX.fullmatch(prefix) or len(prefix) > 253 or prefix == "hetzner.cloud"):
        return False
    return _NAME.fullmatch(name) is not None


def valid_value(value: Any) -> bool:
    """At most 63 letters, digits and `-_.`, or nothing."""
    return isinstance(value, str) and (value == "" or _NAME.fullmatch(value) is not None)


def problem(labels: Any) -> str | None:
    """What is wrong with a request's labels, if anything."""
    if not isinstance(labels, dict):
        return "labels must be an object"
    for key, value in labels.items():
        if not valid_key(key):
            return f"invalid label key '{key}'"
        if not valid_value(value):
            return f"invalid value of label '{key}'"
    return None


def parse_selector(text: str) -> Selector:
    """What a label selector selects; ValueError if it is none. As in Kubernetes, `!=` and `notin` accept absence."""
    terms = [_term(term.strip()) for term in _SEPARATOR.split(text)] if text.strip() else []
    return lambda labels: all(term(labels) for term in terms)


def _term(text: str) -> Selector:
    if found := _SET.fullmatch(text):
        key, values = _key(found["key"]), {_value(value.strip()) for value in found["values"].split(",")}
        if found["word"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUALITY.fullmatch(text):
        key, value = _key(found["key"]), _value(found["value"])
        if found["sign"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if text.startswith("!"):
        key = _key(text[1:].strip())
        return lambda labels: key not in labels
    key = _key(text)
    return lambda labels: key in labels


def _key(text: str) -> str:
    if not valid_key(text):
        raise ValueError(f"'{text}' is no label key")
    return text


def _value(text: str) -> str:
    if not valid_value(text):
        raise ValueError(f"'{text}' is no label value")
    return text
