"""One request, from its arrival to its answer: faults, rate limit, token, handler, log, latency."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from starlette.requests import Request
from starlette.routing import Match, Route
from starlette.types import Message, Receive, Scope, Send

from scaler.errors import StateError
from scaler.simulator.bodies import wrong_field
from scaler.simulator.call import Api, ApiError, Call, Handler
from scaler.simulator.faults import AFTER, BEFORE, BEHAVIOUR, WORLD_CHANGES, Effect
from scaler.simulator.world import SimulatedWorld
from scaler.support.values import dataclass

HTML_502 = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass
class _Answer:
    """What goes over the wire: None instead of a status closes the connection without a word."""

    status: int | None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    silence: float | None = 0.0
    """Seconds without a sign of life before that; None: for ever."""


@dataclass(frozen=True)
class _Hang:
    """No answer for a while, or (None) for ever."""

    seconds: float | None
    effects: Sequence[Effect]


@dataclass(frozen=True)
class _Arrival:
    """What a request carries, read once."""

    token: str
    body: Any
    """The JSON value; None without a body."""
    malformed: bool
    """There is a body, and it is no JSON object."""
    logged_query: str
    logged_body: str | None
    """Without the token, wherever the client put it."""

    @classmethod
    def of(cls, request: Request, body: bytes) -> _Arrival:
        """Read a request."""
        token = _bearer(request)
        parsed, malformed = _parse(body)
        query = _without(token, request.url.query) or ""
        return cls(token, parsed, malformed, query, _without(token, body.decode(errors="replace")))


def route(api: Api, method: str, path: str, handler: Handler) -> Route:
    """A route of a cloud's API; `method` may be `*`."""
    return _Route(path, Exchange(api, handler), methods=None if method == "*" else [method])


class _Route(Route):
    """A route that an id of more digits than Python reads does not match: there is no such thing."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the route takes a request, and with which parameters."""
        try:
            return super().matches(scope)
        except ValueError:
            return Match.NONE, {}


class Exchange:
    """The ASGI application behind one route."""

    def __init__(self, api: Api, handler: Handler) -> None:
        self._api = api
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        arrival = _Arrival.of(request, await request.body())
        try:
            answer = self._receive(request, arrival)
            if isinstance(answer, _Hang):
                if not await _silence(request, answer.seconds) or answer.seconds is None:
                    return
                answer = self._carry_out(request, arrival, answer.effects)
        except StateError as error:  # of the machine: a client must get to know which disk it is
            answer = self._error(ApiError(500, self._api.codes[500], str(error)), {})
        if answer.silence != 0.0 and not await _silence(request, answer.silence):
            return
        if answer.delay:
            await asyncio.sleep(answer.delay)
        if answer.status is None:
            await _drop(request)
            return
        await send(_start(answer))
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else answer.body})

    def _receive(self, request: Request, arrival: _Arrival) -> _Answer | _Hang:
        """Decide which faults hit the request, answer it unless it hangs, and log it: one transaction."""
        cloud, world = self._api.cloud, _world(request)
        with world.transaction():
            effects = world.hit(request.method, request.url.path, arrival.body)
            if trouble := self._trouble(world):
                effects = [*effects, trouble]
            request.state.effects = [effect.kind for effect in effects]  # for whoever watches the exchange
            for effect in effects:
                if effect.kind in WORLD_CHANGES:
                    world.apply(cloud, effect)
            before = next((effect for effect in effects if effect.kind in BEFORE), None)
            answer = self._before(before, effects) or self._carry_out(request, arrival, effects, instead=before)
            world.record(
                cloud,
                request.method,
                request.url.path,
                query=arrival.logged_query,
                body=arrival.logged_body,
                status=answer.status if isinstance(answer, _Answer) else None,
                effects=request.state.effects,
                agent=request.headers.get("user-agent", ""),
            )
            return answer

    def _trouble(self, world: SimulatedWorld) -> Effect | None:
        """What hits the share `failing_requests` of all requests: each of the kinds as often as the others."""
        if not world.chance(world.knobs(self._api.cloud).failing_requests):
            return None
        kinds = (
            Effect("rate_limit"),
            Effect("respond", {"status": 503}),
            Effect("drop_before"),
            Effect("accept_then_drop"),
            Effect("accept_then_status", {"status": 503}),
        )
        return next((kind for index, kind in enumerate(kinds, 1) if world.chance(1 / (len(kinds) + 1 - index))), None)

    @staticmethod
    def _before(fault: Effect | None, effects: Sequence[Effect]) -> _Answer | _Hang | None:
        """Return what a fault does to a request before it is read; None if no fault does."""
        match fault:
            case Effect("hang_forever"):
                return _Hang(None, effects)
            case Effect("hang"):
                return _Hang(float(fault.get("seconds", 5.0)), effects)
            case Effect("drop_before"):
                return _Answer(None)
        return None

    def _carry_out(
        self, request: Request, arrival: _Arrival, effects: Sequence[Effect], *, instead: Effect | None = None
    ) -> _Answer:
        """Answer the request, or refuse it with the fault `instead`: one transaction."""
        world = _world(request)
        with world.transaction() as now:
            knobs = world.knobs(self._api.cloud)
            call = Call(
                world=world,
                api=self._api,
                now=now,
                knobs=knobs,
                method=request.method,
                base_url=str(request.base_url).rstrip("/"),
                path=request.url.path,
                params=request.path_params,
                query=request.query_params,
                body=arrival.body,
                effects=[effect for effect in effects if effect.kind in BEHAVIOUR],
            )
            answer = self._answer(call, arrival, instead)
            for effect in effects:
                if effect.kind in AFTER:
                    answer = self._spoil(answer, effect)
            answer.delay = knobs.http_latency_s + random.random() * knobs.http_jitter_s  # noqa: S311 - no secret
            return answer

    def _answer(self, call: Call, arrival: _Arrival, instead: Effect | None) -> _Answer:
        verdict = call.world.take_request(call.api.cloud)
        try:
            if instead:
                return self._refuse(instead, verdict.headers)
            if not verdict.allowed:
                raise self._api.rate_limited
            self._authorize(call, arrival.token)
            if arrival.malformed:
                raise ApiError(400, self._api.codes[400], "the request's body is no JSON object")
            if wrong := wrong_field(call.fields, self._api.fields):
                raise self._api.wrong_type(wrong)
            with call.world.savepoint():
                reply = self._handler(call)
        except ApiError as error:
            return self._error(error, verdict.headers)
        except sqlite3.OperationalError:
            raise
        except Exception as error:  # a mistake of ours is answered like one of the vendor's
            return self._error(ApiError(500, self._api.codes[500], f"simulator: {error!r}"), verdict.headers)
        headers = {**verdict.headers, self._api.request_id_header: self._api.request_id(), **reply.headers}
        return _json_answer(reply.status, reply.body, headers)

    def _authorize(self, call: Call, token: str) -> None:
        cloud = self._api.cloud
        if not token or not self._api.well_formed(token) or not call.world.token_accepted(cloud, token):
            raise self._api.unauthorized
        if call.method not in READING and call.world.token_readonly(cloud):
            raise self._api.readonly

    def _error(self, error: ApiError, headers: Mapping[str, str]) -> _Answer:
        request_id = self._api.request_id()
        body = self._api.error_body(error, request_id)
        return _json_answer(error.status, body, {**headers, self._api.request_id_header: request_id, **error.headers})

    def _refuse(self, effect: Effect, headers: Mapping[str, str]) -> _Answer:
        """The answer of a fault that keeps the request from being carried out."""
        if effect.kind == "html_502":
            return _Answer(502, HTML_502, {"content-type": "text/html"})
        extra = {**headers, **effect.get("headers", {})}
        if effect.kind == "rate_limit":
            if not effect.get("json", True):
                return _Answer(429, b"Too Many Requests", {**extra, "content-type": "text/plain"})
            return self._error(self._api.rate_limited, extra)
        return self._stated(effect, extra)

    def _stated(self, effect: Effect, headers: Mapping[str, str]) -> _Answer:
        """The status, code and body that a rule states."""
        status = int(effect.get("status", 503))
        if effect.get("html"):
            return _Answer(status, HTML_502, {**headers, "content-type": "text/html"})
        if effect.get("body") is not None:
            return _json_answer(status, effect.get("body"), headers)
        code = effect.get("code") or self._api.codes.get(status, "error")
        return self._error(ApiError(status, code, effect.get("message", code), effect.get("details")), headers)

    def _spoil(self, answer: _Answer, effect: Effect) -> _Answer:
        """The answer after a fault that hits what was carried out."""
        match effect.kind:
            case "accept_then_drop":
                return _Answer(None)
            case "accept_then_hang":
                answer.silence = effect.get("seconds")
            case "accept_then_status":
                return self._stated(effect, answer.headers)
            case "truncated_json":
                answer.body = answer.body[: len(answer.body) // 2]
            case "null_fields" if answer.body:
                answer.body = json.dumps(_nulled(json.loads(answer.body), set(effect.get("fields", ())))).encode()
        return answer


def _world(request: Request) -> SimulatedWorld:
    world = request.app.state.world
    assert isinstance(world, SimulatedWorld)  # noqa: S101
    return world


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _parse(body: bytes) -> tuple[Any, bool]:
    """The JSON object, and whether there is a body that is none."""
    if not body:
        return None, False
    try:
        parsed = json.loads(body, parse_constant=_no_number)
        # An escape can state half a character, which nothing can store: its error is a ValueError too.
        json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None, True
    return (parsed, False) if isinstance(parsed, dict) else (None, True)


def _no_number(text: str) -> float:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(f"{text} is no JSON")


def _without(token: str, text: str) -> str | None:
    return (text.replace(token, "[token]") if token else text) or None


def _json_answer(status: int, body: Any, headers: Mapping[str, str]) -> _Answer:
    if status == 204:
        return _Answer(status, b"", dict(headers))
    encoded = json.dumps(body, separators=(",", ":")).encode()
    return _Answer(status, encoded, {**headers, "content-type": "application/json"})


def _nulled(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: None if key in names else _nulled(item, names) for key, item in value.items()}
    return [_nulled(item, names) for item in value] if isinstance(value, list) else value


def _start(answer: _Answer) -> Message:
    headers = [(key.lower().encode(), value.encode()) for key, value in answer.headers.items()]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    return {"type": "http.response.start", "status": answer.status, "headers": headers}


async def _silence(request: Request, seconds: float | None) -> bool:
    """Say nothing for a while; False if the client or the server went away meanwhile."""
    stopping: asyncio.Event = request.app.state.stopping
    left = [asyncio.ensure_future(_disconnected(request)), asyncio.ensure_future(stopping.wait())]
    done, pending = await asyncio.wait(left, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if done:
        await _drop(request)
    return not done


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _drop(request: Request) -> None:
    """Close the connection without an answer."""
    transport = request.scope["state"].get("transport")
    if transport is not None:
        transport.abort()
    await _disconnected(request)
