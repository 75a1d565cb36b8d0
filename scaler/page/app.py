"""The application behind `--metrics-listen`: what it serves, and to whom. It only reads."""

from __future__ import annotations

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from scaler.autoscale.exposition import Exposition
from scaler.errors import ScalerError
from scaler.page.access import Access
from scaler.page.discovery import DEFAULT_PORT, targets
from scaler.page.records import PageRecords
from scaler.records.codec import SCHEMA


def make_app(exposition: Exposition, records: PageRecords, *, token: str | None, only_loopback: bool) -> Starlette:
    """Return the application. Requests must have the token, if any, and with `only_loopback` name this machine."""
    answers = _Answers(exposition, records)
    return Starlette(
        routes=[
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

    def __init__(self, exposition: Exposition, records: PageRecords) -> None:
        self._exposition = exposition
        self._records = records

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


def _not_found(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("/metrics, /healthz, /targets, /api/status or /api/status/STACK\n", 404)


def _unreadable(_request: Request, error: Exception) -> Response:
    """Prometheus keeps the targets that it has on an error."""
    facts = error.facts if isinstance(error, ScalerError) else {}
    return JSONResponse({"schema": SCHEMA, "error": facts}, 503)
