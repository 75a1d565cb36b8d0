"""Which hosts may get credentials. Pure.

A spec comes with a merge request, and the token from the machine that runs it: so the spec alone cannot
send the token to another host than the vendor's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

ALLOWED = "SCALER_ALLOW_HOSTS"
"""The variable that allows other hosts: their names, separated by commas."""


_AUTHORITY = re.compile(r"(?:[^@/?#\\\s]*@)?(?:[\w-]+(?:\.[\w-]+)*\.?|\[[\w:.%]+\])(?::[0-9]*)?")
_ENDPOINT = re.compile(r"https?://([\w-]+(\.[\w-]+)*|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?(/[^\s?#]*)?")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""What some readers of a URL leave out, and others keep."""


def host_of(url: str) -> str:
    """Return the host of a URL in lower case; empty if it has none, or none on which all readers of URLs agree."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    is_plain = _AUTHORITY.fullmatch(parts.netloc) and not _CONTROL.search(url)
    return (parts.hostname or "") if is_plain else ""


def is_endpoint(url: str) -> bool:
    """Return whether a client of a cloud can send requests there: an http(s) URL without a user, a query and a mark."""
    return _ENDPOINT.fullmatch(url) is not None


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's own."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_clear_text(url: str) -> bool:
    """Return whether what is sent to a URL can be read on the way: plain HTTP to another machine."""
    return urlsplit(url).scheme.lower() == "http" and not is_loopback(host_of(url))


def allowed_hosts(environ: Mapping[str, str], *urls: str | None) -> frozenset[str]:
    """Return the hosts that `SCALER_ALLOW_HOSTS` names, and those of these URLs."""
    named = (host.strip().lower() for host in environ.get(ALLOWED, "").split(","))
    return frozenset(filter(None, (*named, *(host_of(url) for url in urls if url))))
