"""Texts from outside, such as a cloud's words or a command's output, made fit to be shown. Pure.

A terminal obeys control characters, and a CI system obeys lines that begin with its own marks. So such a
text is cleaned where it comes in: on one line, of bounded length, and with what controls something made
visible.
"""

from __future__ import annotations

import re

LONGEST = 500
"""Characters that are shown of another side's message."""

_LONGEST_QUOTED = 40
"""Characters of a value that a message may quote. A longer value may be a document, or a secret."""

_LONGEST_NAME = 60
"""Characters of a name or path that a message may quote; tokens are longer."""

_URL = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<rest>[^\s'\"]*)", re.IGNORECASE)
_SETTING = re.compile(
    r"(pass(word|wd|phrase|)|token|secret|(api|access|private)[_-]?key|credentials?|bearer|authorization)"
    r"[\"']?\s*[=: ]\s*[^\s{]",
    re.IGNORECASE,
)
"""A password or a token that is given in the same text."""

_LEADING_MARK = re.compile(r"^(\s*):(?=:)", re.MULTILINE)
_MARK = re.compile(r"##(?=\w*\[)")
"""What CI systems obey: `::error::` at the beginning of a line; `##[error]`, `##vso[…]`, `##teamcity[…]` anywhere."""


def visible(text: str) -> str:
    """Return a text, of several lines maybe, with control characters as escapes such as `\\x1b`."""
    if text.isprintable() and ":" not in text[:1] and "##" not in text and not text[:1].isspace():
        return text  # Most are fine, and there may be many.
    shown = "".join(letter if letter == "\n" or letter.isprintable() else _escape(letter) for letter in text)
    return _MARK.sub("# #", _LEADING_MARK.sub(r"\1: ", shown))


def one_line(text: str, longest: int | None = None) -> str:
    """Return a text on one line, cleaned as `visible` does, cut after `longest` characters."""
    line = visible(" ".join(text.split()))
    return line if longest is None or len(line) <= longest else f"{line[:longest]}…"


def last_line_of(text: str, longest: int) -> str:
    """Return the end of a text on one line, cleaned as `visible` does."""
    line = " ".join(text.split())
    return visible(line if len(line) <= longest else f"…{line[-longest:]}")


def quoted(value: str, longest: int = _LONGEST_QUOTED) -> str:
    """Return a value in quotes, or what it is where it may hold a secret: see `_may_be_secret`.

    Of a URL only its scheme and host are quoted, since its path may be a secret too, as webhooks' are.
    """
    if "\n" in value.strip() or "\r" in value.strip():
        return f"a text of {len(value.splitlines())} lines"
    if len(value) > longest or _may_be_secret(value):
        return f"a text of {len(value)} characters"
    # With the mark before it, since a `::` at the beginning of a line would be taken for a CI system's.
    return visible(f"'{_URL.sub(_beginning_of_url, value)}'")


def _may_be_secret(value: str) -> bool:
    """Return whether a short value is the beginning of a document, or sets a password or a token."""
    return value.lstrip().startswith(("#cloud-config", "#!")) or _SETTING.search(value) is not None


def _beginning_of_url(url: re.Match[str]) -> str:
    scheme, rest = url["scheme"], url["rest"]
    host = re.split("[/?#]", rest)[0]
    if scheme.lower() == "file://" or rest in (host, f"{host}/"):
        return url[0] if "@" not in rest else f"{scheme}…"
    return f"{scheme}…" if "@" in rest else f"{scheme}{host}/…"


def named(value: str) -> str:
    """Return a name or path as messages have it, or how long it is."""
    text = quoted(value, _LONGEST_NAME)
    return text[1:-1] if text.startswith("'") else text


def answered(value: object) -> str:
    """Return what a function of the spec answered as messages have it: a text in quotes, or how long it is."""
    return quoted(value) if isinstance(value, str) else named(repr(value))


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii") if ord(letter) > 31 else _CONTROLS[ord(letter)]


_CONTROLS = [f"\\x{number:02x}" for number in range(32)]
