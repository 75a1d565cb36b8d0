"""Requests of our own: an answer has one deadline, and nothing is read that was not asked for."""

from __future__ import annotations

import functools
import http.client
import importlib.util
import io
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.exceptions import InvalidProxyURL
from requests.utils import select_proxy
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.poolmanager import PoolManager

from scaler.support.text import quoted

_PROXY_SCHEMES = ("http", "https")


class NoAuth(AuthBase):
    """No credentials but the headers. As an `auth`, so that no entry of .netrc replaces them or adds any."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class Session(requests.Session):
    """A session whose timeouts are deadlines (`DeadlineAdapter`), and that leaves redirects and ~/.netrc alone.

    The library's own reads all that comes with a redirect, whatever its size, also if it is told to
    follow none; and it sends the password that .netrc has for a host, or for any, whoever chose the URL.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = NoAuth()
        adapter = DeadlineAdapter()
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Say that there is none."""


class DeadlineAdapter(HTTPAdapter):
    """Send requests, with the read timeout as the time for the whole answer: its headers and its body.

    The library begins a timeout anew with each byte, so that a server that sends one now and then holds
    the caller up for ever. The answer of a proxy to CONNECT has the connect timeout in the same way.
    """

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the connections to servers."""
        super().init_poolmanager(*args, **options)
        _set_deadlines(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> PoolManager:
        """Return the connections through a proxy."""
        manager: PoolManager = super().proxy_manager_for(proxy, **options)
        _set_deadlines(manager)
        return manager

    def cert_verify(self, conn: HTTPConnectionPool, url: str, verify: bool | str, cert: Any) -> None:
        """Set the certificates to trust. OSError if there is a pipe or a device: to read them would never end."""
        if isinstance(verify, str) and Path(verify).exists() and not (Path(verify).is_file() or Path(verify).is_dir()):
            raise OSError(f"the certificates to trust are in no file: {verify} is a pipe or a device")
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send one request. Raises InvalidProxyURL, which names the variable, for a proxy that is none."""
        proxy = select_proxy(request.url or "", options.get("proxies"))
        if proxy and (problem := proxy_problem(proxy)):
            raise InvalidProxyURL(f"{proxy_variable(proxy, os.environ)} {problem}")
        return super().send(request, *args, **options)


def proxy_problem(proxy: str) -> str | None:
    """Return what is wrong with a proxy's URL, without its credentials; None if it can be used."""
    scheme, mark, _ = proxy.partition("://")
    if mark and scheme.lower().startswith("socks"):
        return None if importlib.util.find_spec("socks") else "names a SOCKS proxy, which needs the package PySocks"
    if mark and scheme.lower() not in _PROXY_SCHEMES:
        return f"names a proxy of the kind {quoted(scheme)}: only http:// and https:// can be used"
    try:
        url = urlsplit(proxy if mark else f"http://{proxy}")
        host, port = url.hostname, url.port
    except ValueError:
        return "is no URL of a proxy: its host or its port cannot be read"
    if not host or any(letter.isspace() for letter in proxy):
        return "is no URL of a proxy: it has no host"
    return "is no URL of a proxy: port 0" if port == 0 else None


def proxy_variable(proxy: str, environ: Mapping[str, str]) -> str:
    """Return the name of the environment variable that names this proxy. Pure."""
    names = [name for name, value in environ.items() if name.lower().endswith("_proxy") and value == proxy]
    return names[0] if names else "the proxy of this machine's settings"


def _set_deadlines(manager: PoolManager) -> None:
    pools = manager.pool_classes_by_scheme.items()
    manager.pool_classes_by_scheme = {scheme: _with_deadline(pool) for scheme, pool in pools}


@functools.cache
def _with_deadline(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """Return this kind of connections, those through a SOCKS proxy too, with answers that have to be there in time."""
    connection = type(pool.ConnectionCls.__name__, (pool.ConnectionCls,), {"response_class": _Answer})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


class _Timed(io.RawIOBase):
    """Read from a socket until the timeout that it has now is over, however many reads that are."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket) -> None:
        self._raw = raw
        self._connection = connection
        timeout = connection.gettimeout()
        self._until = None if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._connection.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer, of a server or of a proxy to CONNECT, that has to be there in time."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Timed(self.fp.detach(), sock))
