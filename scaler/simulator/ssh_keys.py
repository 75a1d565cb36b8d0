"""Public SSH keys: whether one is well-formed, and its fingerprint."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

_ED25519_BYTES = 32
_HARDWARE = "@openssh.com"
"""Ends the type of a key that is on a hardware token."""

_FIELDS: Mapping[str, int] = {
    "ssh-ed25519": 1,
    "ssh-rsa": 2,
    "ssh-dss": 4,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "sk-ssh-ed25519": 2,
    "sk-ecdsa-sha2-nistp256": 3,
}
"""By type: how many fields follow it in the key (RFC 4253 6.6, RFC 5656 3.1, RFC 8709 4, OpenSSH's PROTOCOL.u2f)."""


def type_of(public_key: str) -> str:
    """The first word of a key: its type, of one on a hardware token without the domain."""
    return (public_key.split() or [""])[0].removesuffix(_HARDWARE)


def is_well_formed(public_key: str) -> bool:
    """Whether a key is one line of a type and a base64 text, which holds that type and all its fields, and no more."""
    words = public_key.split()
    if len(words) < 2 or "\n" in public_key.strip():
        return False
    try:
        named, *fields = _strings(base64.b64decode(words[1], validate=True))
    except ValueError:
        return False
    kind = type_of(public_key)
    if named != words[0].encode() or len(fields) != _FIELDS.get(kind) or not all(fields):
        return False
    if kind.endswith("ed25519"):
        return len(fields[0]) == _ED25519_BYTES
    return "ecdsa" not in kind or kind.endswith(fields[0].decode(errors="replace"))


def fingerprint_of(public_key: str) -> str:
    """The MD5 of a key as `ssh-keygen` prints it: of its second word, so that a comment makes no other key."""
    words = public_key.split()
    blob = words[1] if len(words) > 1 else public_key
    try:
        content = base64.b64decode(blob, validate=True)
    except ValueError:
        content = blob.encode()
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, 32, 2))


def _strings(blob: bytes) -> list[bytes]:
    """The strings that SSH's wire format has one after the other, each behind its length; ValueError at a torn one."""
    strings = []
    while blob:
        length = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + length:
            raise ValueError("the key is torn")
        strings.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    if not strings:
        raise ValueError("the key is empty")
    return strings
