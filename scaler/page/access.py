"""Who may read a page: everybody on this machine, or who has the token. Every answer goes out with strict headers."""

from __future__ import annotations

import base64
import binascii
import hmac
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scaler.errors import UsageError
from scaler.page.address import names_loopback
from scaler.support.documents import read_file
from scaler.support.files import failure_reason

_LARGEST_TOKEN = 4096

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer, where it has no own."""


class Access:
    """Refuses requests before the application sees them."""

    def __init__(self, app: ASGIApp, *, token: str | None, only_loopback: bool) -> None:
        self._app = app
        self._token = token
        self._only_loopback = only_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (self._refusal(Headers(scope=scope)) or self._app)(scope, receive, send_strictly)

    def _refusal(self, headers: Headers) -> ASGIApp | None:
        if self._only_loopback and not names_loopback(headers.get("host")):
            return PlainTextResponse("The Host header does not name this machine.\n", 403)
        if self._token is not None and not _proves(headers.get("authorization", ""), self._token):
            # A browser cannot send a Bearer token, but asks for a password.
            asks = {"WWW-Authenticate": 'Bearer realm="scaler", Basic realm="scaler"'}
            return PlainTextResponse("Send the token: Authorization: Bearer TOKEN\n", 401, asks)
        return None


def read_token(path: Path) -> str:
    """Return the token in a file, without surrounding space. UsageError if there is none."""
    try:
        token = read_file(path, _LARGEST_TOKEN, wait=True).decode().strip()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The token file {path} cannot be read.",
            why=failure_reason(error),
            fix="Name a readable file with --token-file.",
        ) from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"The token file {path} does not hold a token.",
            why="it is empty, or has spaces, line breaks or other characters that a header cannot carry",
            fix=f"Make one: openssl rand -hex 32 > {path}",
        )
    return token


def _proves(authorization: str, token: str) -> bool:
    """Return whether the header has the token, as a Bearer token or as the password of anybody."""
    scheme, _, value = authorization.partition(" ")
    given = value.strip()
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.encode(), token.encode())
