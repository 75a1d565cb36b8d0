"""Values as phpredis stores them with its options `serializer: php`, `igbinary` and `json`. Pure.

The formats: https://www.phpinternalsbook.com/php5/classes_objects/serialization.html and igbinary's
`igbinary.h`. Only the scalars that a queue's records hold are read.
"""

from __future__ import annotations

import json
import re
import struct

_IGBINARY = b"\x00\x00\x00\x02"
_PHP_NUMBER = re.compile(rb"[id]:([-+0-9.eE]+);")
_PHP_TEXT = re.compile(rb's:([0-9]+):"(.*)";', re.DOTALL)

_TEXT_LENGTHS = {0x11: ">B", 0x12: ">H", 0x13: ">I"}
_INTEGERS = {0x06: ">B", 0x08: ">H", 0x0A: ">I", 0x20: ">Q"}
"""The code of a positive integer, and its form; the code of the negative one is one more."""


def unserialized(stored: bytes) -> bytes:
    """Return the text that was stored, or the bytes themselves if they are in none of the formats.

    A number becomes its decimal text; false and null become nothing.
    """
    if stored.startswith(_IGBINARY):
        return _igbinary(stored[len(_IGBINARY) :], stored)
    if match := _PHP_TEXT.fullmatch(stored):
        return match[2] if len(match[2]) == int(match[1]) else stored
    if match := _PHP_NUMBER.fullmatch(stored):
        return match[1]
    if stored in (b"b:0;", b"N;"):
        return b""
    if stored.startswith(b'"') and stored.endswith(b'"'):
        return _json_text(stored)
    return stored


def _json_text(stored: bytes) -> bytes:
    try:
        text = json.loads(stored)
    except ValueError:
        return stored
    return text.encode() if isinstance(text, str) else stored


def _igbinary(body: bytes, stored: bytes) -> bytes:
    try:
        code, rest = body[0], body[1:]
        if code in (0x00, 0x04, 0x0D):  # null, false, an empty text
            return b""
        if code in _TEXT_LENGTHS:
            form = _TEXT_LENGTHS[code]
            start, [length] = struct.calcsize(form), struct.unpack_from(form, rest)
            text = rest[start:]
            return text if len(text) == length else stored
        if code == 0x0C:
            return repr(struct.unpack(">d", rest)[0]).encode()
        if code in _INTEGERS:
            return str(struct.unpack(_INTEGERS[code], rest)[0]).encode()
        if code - 1 in _INTEGERS:
            return str(-struct.unpack(_INTEGERS[code - 1], rest)[0]).encode()
    except (IndexError, struct.error):
        pass
    return stored
