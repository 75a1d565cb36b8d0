"""Keep web pages away: a browser on this machine must not be able to change a world that it did not ask for.

A page can send requests to loopback, by its address or by a name of its own that resolves to it. Both show:
in `Origin`, which browsers add to requests that change something, or in `Host`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class LoopbackOnly:
    """ASGI middleware that answers 403 to a foreign `Host` or `Origin`, and 415 to a control request without JSON."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or refuse it."""
        if scope["type"] == "http" and (refusal := _refusal(Request(scope))) is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _refusal(request: Request) -> JSONResponse | None:
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if host and not _is_loopback(f"//{host}"):
        return _refused(403, "the Host is not this machine: use 127.0.0.1 or localhost")
    if origin is not None and not _is_loopback(origin):
        return _refused(403, "requests of web pages are refused")
    is_control = request.url.path.startswith("/_sim/") and request.method not in ("GET", "HEAD", "DELETE")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if is_control and content_type != "application/json":
        return _refused(415, "send a JSON object, with Content-Type: application/json")
    return None


def _is_loopback(address: str) -> bool:
    try:
        return urlsplit(address).hostname in LOOPBACK
    except ValueError:
        return False


def _refused(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)
