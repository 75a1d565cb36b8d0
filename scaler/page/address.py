"""The address that a page is served at."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from scaler.errors import UsageError
from scaler.support.text import quoted

MOST_CONNECTIONS = 32
"""Each connection takes a descriptor, which the watch itself needs."""


def listen(address: str, *, has_token: bool) -> socket.socket:
    """Bind `HOST:PORT`, such as `[::1]:9410`; port 0 is any free one.

    Raise UsageError if that is no address or is not available, and without a token if other machines reach it.
    """
    host, port = _parsed(address)
    with _as_usage_error(address):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name may have addresses of both kinds, and most programs try IPv4 when the other one does not answer.
    family, kind, _, _, at = min(found, key=lambda each: each[0] != socket.AF_INET)
    if not has_token and not is_loopback(str(at[0])):
        raise UsageError(
            f"Other machines reach {host}, and everybody there could read the page.",
            fix="Add --token-file with a file that holds a secret, or listen on 127.0.0.1.",
            code="page_unprotected",
        )
    # asyncio turns Nagle off only where the protocol is stated.
    with _as_usage_error(address):
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(at)
            # From here on connections wait, so nobody has to wait for the thread that answers them.
            listener.listen(MOST_CONNECTIONS)
        except OSError:
            listener.close()
            raise
    return listener


def url_of(listener: socket.socket) -> str:
    """Return `http://HOST:PORT`."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether a host, as an IP address, is this machine for itself alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_loopback(host: str | None) -> bool:
    """Return whether a `Host` header names this machine, as a page of another site that a browser shows cannot.

    Such a page reaches loopback under a name of its own (DNS rebinding). Programs without a header are no browsers.
    """
    if host is None:
        return True
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or is_loopback(name)


@contextmanager
def _as_usage_error(address: str) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"Cannot listen on {address}.",
            why=getattr(error, "strerror", None) or str(error),
            fix="Choose another address with --metrics-listen.",
        ) from None


def _parsed(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    is_host = re.fullmatch(r"\[[^][]+\]|[^][:]+", host)
    if not colon or not is_host or not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise UsageError(
            f"{quoted(text)} is not an address to listen on.", fix="Write HOST:PORT, such as 127.0.0.1:9410."
        )
    return host.strip("[]"), int(port)
