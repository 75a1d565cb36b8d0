"""Read documents that anybody may have written, with bounded time and memory.

Whatever is wrong with a document's content is a ValueError, so that a reader needs to know no more than
that: too large, nested too deep, no JSON, not UTF-8. A file that cannot be read is an OSError.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from pathlib import Path
from typing import Any

LARGEST_FILE = 64 << 20
"""Bytes of a document, after it is unzipped. A stack of 10,000 servers has less than half of that."""

MOST_VALUES = 4_000_000
"""The most values of a document: a short file of empty lists would take a hundred times its size in memory."""


def read_file(path: Path, largest: int = LARGEST_FILE, *, wait: bool = False) -> bytes:
    """Return a file's content; ValueError if it has more than `largest` bytes.

    Unless `wait`, a pipe in its place gives what is in it, and does not hold the run up.
    """
    content = read_beginning(path, largest + 1, wait=wait)
    if len(content) > largest:
        raise ValueError(f"it has more than {size_text(largest)}")
    return content


def read_beginning(path: Path, most: int, *, wait: bool = False) -> bytes:
    """Return the first `most` bytes of a file, or all if it has fewer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if wait else os.O_NONBLOCK))
    with open(descriptor, "rb") as file:  # noqa: PTH123 - it is open already
        return file.read(most) or b""


def unzip(content: bytes, largest: int = LARGEST_FILE) -> bytes:
    """Return what a gzip file holds; ValueError if it is none, is cut off, or holds more than `largest` bytes."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            whole = file.read(largest + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"it cannot be unzipped: {error}") from error
    if len(whole) > largest:
        raise ValueError(f"it has more than {size_text(largest)} when it is unzipped")
    return whole


def parse_json(content: bytes | str) -> Any:
    """Return a JSON document; ValueError if it is none, is nested too deep, or has too many values."""
    if len(content) > MOST_VALUES and _most_values(content) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES:,} values")
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _most_values(content: bytes | str) -> int:
    if isinstance(content, bytes):
        return content.count(b",") + content.count(b"[") + content.count(b"{")
    return content.count(",") + content.count("[") + content.count("{")


def read_json(path: Path, largest: int = LARGEST_FILE) -> Any:
    """Return the JSON document in a file, which is zipped if its name ends with `.gz`; OSError or ValueError if not."""
    content = read_file(path, largest)
    return parse_json(unzip(content, largest) if ".gz" in path.suffixes else content)


def size_text(size: int) -> str:
    """Write a number of bytes for people."""
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
