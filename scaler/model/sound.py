"""What a server's id, name and addresses can be, whoever says so. Pure.

They come from clouds and from files, and go to commands, URLs and `ssh`, where an address such as
`-oProxyCommand=…` would be an option. So what cannot be one is refused where it is read.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Literal

from scaler.errors import UnsoundError
from scaler.support.text import answered

_ID = re.compile(r"[^\s/-][^\s/]{0,99}")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
"""Wider than `is_host_name`: servers that scaler took over have names that others gave them."""


def is_id(value: object) -> bool:
    """Return whether a cloud's id can be this: a short text without spaces and slashes, and no option."""
    return isinstance(value, str) and value.isprintable() and _ID.fullmatch(value) is not None


def is_name(value: object) -> bool:
    """Return whether a server's name can be this: a host name, at any cloud and by anybody."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_address(value: object, version: Literal[4, 6] | None = None) -> bool:
    """Return whether this is an IP address, of this version if one is given, or None: there is no address."""
    if value is None:
        return True
    # A scope, as in `fe80::1%eth0`, may be any text; and `ip_address` takes numbers too.
    if not isinstance(value, str) or "%" in value:
        return False
    try:
        return version in (None, ipaddress.ip_address(value).version)
    except ValueError:
        return False


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_text_by_name(value: object) -> bool:
    """Return whether this maps texts to texts, as labels do."""
    return isinstance(value, Mapping) and all(map(is_text, (*value, *value.values())))


def check_sound(thing: object, **fields: bool) -> None:
    """Raise UnsoundError for the first of a thing's fields that is not sound."""
    for field, is_sound in fields.items():
        if not is_sound:
            raise UnsoundError(
                f"{type(thing).__name__.lower()}.{field} cannot be {answered(getattr(thing, field))}.",
                fix="See who answers in the cloud's place, or who changed the records. Nothing was done with it.",
            )
