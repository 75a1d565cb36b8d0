"""Which hosts may get credentials. Pure.

A spec comes with a merge request, and the token from the machine that runs it: so the spec alone cannot
send the token to another host than the vendor's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

ALLOWED = "SCALER_ALLOW_HOSTS"
"""The variable that allows other hosts: their names, separated by commas."""


def host_of(url: str) -> str:
    """Return the host of a URL in lower case; empty if it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


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


_TRUE = frozenset({"1", "t", "true"})
"""As Go reads a boolean."""

_HOST_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "postgres": ("host", "hostaddr"),
    "s3": ("endpoint",),
    "azblob": ("domain",),
    "gs": ("universe_domain",),
}
"""The parameters of each kind of backend that say which host it is at."""


def backend_hosts(url: str) -> frozenset[str]:
    """Return the hosts that the URL of a state backend names: its credentials go there, not to the vendor's.

    A bucket's name is no host. Each value of a parameter counts: libraries differ in which one they take.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return frozenset()
    if parts.scheme in ("http", "https"):
        return frozenset({host_of(url)} - {""})
    wanted = _HOST_PARAMETERS.get(parts.scheme, ())
    places = [value for name, value in parse_qsl(parts.query) if name in wanted]
    if parts.scheme == "postgres":
        places.append(parts.netloc.rpartition("@")[2])
    named = (place for text in places for place in text.split(",") if not place.startswith("/"))
    return frozenset(filter(None, (host_of(place if "://" in place else f"//{place}") for place in named)))


_CLEAR: Mapping[str, Mapping[str, frozenset[str]]] = {
    "s3": {"disablessl": _TRUE, "disable_https": _TRUE},
    "azblob": {"protocol": frozenset({"http"})},
}
"""The parameters of each kind of backend that leave out TLS, and their values that do."""


def is_clear_backend(url: str) -> bool:
    """Return whether the URL of a state backend asks for plain HTTP to another machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme == "http":
        return is_clear_text(url)
    given = [(name.lower(), value.lower()) for name, value in parse_qsl(parts.query)]
    asks = any(value in _CLEAR.get(parts.scheme, {}).get(name, ()) for name, value in given)
    asks = asks or any(is_clear_text(value) for _, value in given)
    hosts = backend_hosts(url)
    # Without a host of its own it is the vendor's.
    return asks and not (hosts and all(map(is_loopback, hosts)))
