"""The application behind `--metrics-listen`: what it serves, and to whom. It only reads."""

from __future__ import annotations

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from scaler.autoscale.exposition import Exposition
from scaler.errors import ScalerError
from scaler.page.access import Access
from scaler.page.discovery import DEFAULT_PORT, targets
from scaler.page.live import DEFAULT_SPAN, SPANS, Live
from scaler.page.records import PageRecords
from scaler.page.render import SERVED_POLICY, served, static_files
from scaler.page.view import WebPage
from scaler.records.codec import SCHEMA
from scaler.support.clock import Clock

_REFRESH_S = 5

_TYPES = {"css": "text/css", "js": "text/javascript"}


def make_app(
    exposition: Exposition, records: PageRecords, clock: Clock, *, token: str | None, only_loopback: bool
) -> Starlette:
    """Return the application. Requests must have the token, if any, and with `only_loopback` name this machine."""
    answers = _Answers(exposition, records, Live(exposition, records, clock))
    return Starlette(
        routes=[
            Route("/", answers.front),
            Route("/stacks/{stack}", answers.stack),
            Route("/static/{name}", answers.static),
            Route("/metrics", answers.metrics),
            Route("/healthz", answers.health),
            Route("/targets", answers.targets),
            Route("/api/status", answers.status),
            Route("/api/status/{stack}", answers.status_of_one),
        ],
        middleware=[Middleware(Access, token=token, only_loopback=only_loopback)],
        exception_handlers={404: _not_found, ScalerError: _unreadable},
    )


class _Answers:
    """The answers to requests. They run in threads, since they read files and other machines' records."""

    def __init__(self, exposition: Exposition, records: PageRecords, live: Live) -> None:
        self._exposition = exposition
        self._records = records
        self._live = live

    def front(self, request: Request) -> Response:
        return _shown(self._live.front(_span(request)))

    def stack(self, request: Request) -> Response:
        return _shown(self._live.stack(self._known(request.path_params["stack"]), _span(request)))

    def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in static_files():
            raise HTTPException(404)
        return Response(static_files()[name], media_type=_TYPES[name.rpartition(".")[2]])

    def metrics(self, _request: Request) -> Response:
        return Response(self._exposition.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def health(self, _request: Request) -> Response:
        healthy, facts = self._exposition.health()
        return JSONResponse(facts, 200 if healthy else 503)

    def targets(self, request: Request) -> Response:
        asked = request.query_params
        port, address = asked.get("port", str(DEFAULT_PORT)), asked.get("address", "public")
        if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
            raise HTTPException(400, "port is a number from 1 to 65535\n")
        if address not in ("public", "private"):
            raise HTTPException(400, "address is public or private\n")
        found: list[dict[str, object]] = []
        for stack in [self._known(asked["stack"])] if "stack" in asked else self._exposition.stacks:
            state = self._records.state(stack)
            servers = state.servers if state else ()
            found += targets(stack, servers, port=int(port), private=address == "private")
        return JSONResponse(found)

    def status(self, _request: Request) -> Response:
        stacks = {stack: self._records.status(stack) for stack in self._exposition.stacks}
        return JSONResponse({"schema": SCHEMA, "stacks": stacks})

    def status_of_one(self, request: Request) -> Response:
        return JSONResponse(self._records.status(self._known(request.path_params["stack"])))

    def _known(self, stack: str) -> str:
        if stack not in self._exposition.stacks:
            raise HTTPException(404)
        return stack


def _span(request: Request) -> str:
    """Return the time that a request asks to be shown."""
    span = request.query_params.get("since", DEFAULT_SPAN)
    if span not in SPANS:
        raise HTTPException(400, f"since is one of {', '.join(SPANS)}\n")
    return span


def _shown(page: WebPage) -> Response:
    return HTMLResponse(served(page, _REFRESH_S), headers={"Content-Security-Policy": SERVED_POLICY})


def _not_found(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("/, /metrics, /healthz, /targets or /api/status\n", 404)


def _unreadable(_request: Request, error: Exception) -> Response:
    """Prometheus keeps the targets that it has on an error."""
    facts = error.facts if isinstance(error, ScalerError) else {}
    return JSONResponse({"schema": SCHEMA, "error": facts}, 503)
