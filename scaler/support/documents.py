"""Read documents that anybody may have written, with bounded time and memory.

Whatever is wrong with a document's content is a ValueError, so that a reader needs to know no more than
that: too large, nested too deep, no JSON, not UTF-8. A file that cannot be read is an OSError.
"""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import re
import select
import stat
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

LARGEST_FILE = 64 << 20
"""Bytes of a document, after it is unzipped. A stack of 10,000 servers has less than half of that."""

MOST_VALUES = 4_000_000
"""The most values of a document: a short file of empty lists would take a hundred times its size in memory."""


LONGEST_SILENCE_S = 60.0
"""How long a pipe or a device that the user names may say nothing: a person may have to unlock a vault first."""

LONGEST_ALONE_S = 5.0
"""How long nobody at all may have opened a pipe to write to it: who names one has started that program."""

_CHUNK = 64 << 10

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE_IN_TEXT = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def read_file(path: Path, largest: int = LARGEST_FILE, *, wait: bool = False) -> bytes:
    """Return a file's content; ValueError if it has more than `largest` bytes. See `read_beginning`."""
    content = read_beginning(path, largest + 1, wait=wait)
    if len(content) > largest:
        raise ValueError(f"it has more than {size_text(largest)}")
    return content


def read_beginning(path: Path, most: int, *, wait: bool = False) -> bytes:
    """Return the first `most` bytes of a file, or all if it has fewer.

    What is no regular file, such as a pipe or a device, is an OSError, since a read from it may never
    end. With `wait` it is read, as a shell's `<(…)` and `/dev/stdin` need: somebody must write to it within
    `LONGEST_ALONE_S`, and something at least once in `LONGEST_SILENCE_S`.
    """
    with open(path, "rb", opener=_opened) as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file.read(most)
        if wait:
            return _waited_for(file.fileno(), most, path)
    raise OSError(errno.EINVAL, "it is a pipe, a device or a socket, and no file", str(path))


def _opened(path: str, flags: int) -> int:
    # Without blocking: to open a pipe that nobody writes to would never end.
    return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)


def _waited_for(descriptor: int, most: int, path: Path) -> bytes:
    """Read what other programs write, until they have closed it."""
    content = bytearray()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(LONGEST_ALONE_S * 1000):
        # With a writer that says nothing yet, a read would block; without one, it is at the end.
        with suppress(BlockingIOError):
            if not (content := bytearray(os.read(descriptor, min(most, _CHUNK)))):
                raise TimeoutError(errno.ETIMEDOUT, "it is a pipe that nobody writes to", str(path))
    while len(content) < most:
        if not poll.poll(LONGEST_SILENCE_S * 1000):
            raise TimeoutError(errno.ETIMEDOUT, f"nothing came out of it for {LONGEST_SILENCE_S:g} s", str(path))
        with suppress(BlockingIOError):
            chunk = os.read(descriptor, min(most - len(content), _CHUNK))
            if not chunk:
                break
            content += chunk
    return bytes(content)


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
    """Return a JSON document; ValueError if it is none, is nested too deep, or has too many values.

    Half of a surrogate pair, which is no character, becomes a question mark.
    """
    if len(content) > MOST_VALUES and _most_values(content) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES:,} values")
    try:
        document = json.loads(content)
        if _has_half_pairs(content):
            document = json.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except json.JSONDecodeError as error:
        where = f"at line {error.lineno}, column {error.colno}" if error.doc.strip() else "but empty"
        raise ValueError(f"it is no JSON, {where}") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except ValueError:
        # All that is left: Python reads no number of more than 4,300 digits.
        raise ValueError("it has a number of thousands of digits") from None
    return document


def _has_half_pairs(content: bytes | str) -> bool:
    """Return whether escapes may stand for halves of surrogate pairs, which no file or stream takes as text."""
    return bool(_SURROGATE.search(content) if isinstance(content, bytes) else _SURROGATE_IN_TEXT.search(content))


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
