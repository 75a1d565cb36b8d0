"""One request, from its arrival to its answer: faults, rate limit, token, handler, log, latency.

An API module states its conventions in an `Api` and its routes with `route(api, method, path,
handler)`. A handler is a plain function from a `Call` to a `Reply` that raises `Refusal`. It runs
inside one transaction, and leaves nothing behind when it raises.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from scaler.simulator.faults import AFTER, BEFORE, BEHAVIOUR, WORLD_CHANGES, Effect
from scaler.simulator.profiles import CloudName, Knobs
from scaler.simulator.world import Thing, World

HTML_502 = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a JSON value, or no body with 204."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):  # noqa: N818 - an answer, not a failure of ours
    """The request is answered with an error in the API's own shape, and has changed nothing."""

    def __init__(
        self, status: int, code: str, message: str, details: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Api:
    """One cloud's conventions."""

    cloud: CloudName
    error_body: Callable[[Refusal, str], Any]
    """The JSON of an error, given the request's id."""
    request_id: Callable[[], str]
    request_id_header: str
    codes: Mapping[int, str]
    """The usual error code of an HTTP status."""
    unauthorized: Refusal
    readonly: Refusal
    rate_limited: Refusal
    not_found: Refusal
    well_formed: Callable[[str], bool]
    """Whether a token looks like one of this cloud's."""


@dataclass(slots=True)
class Call:
    """A request as a handler sees it."""

    world: World
    api: Api
    now: float
    """The moment that holds for all of the request."""
    knobs: Knobs
    method: str
    base_url: str
    """Without a slash at the end: `http://127.0.0.1:4711`."""
    path: str
    params: Mapping[str, Any]
    """The path's parameters."""
    query: QueryParams
    body: Any
    """The parsed JSON; None without a body."""
    effects: Sequence[Effect] = ()

    def effect(self, kind: str) -> Effect | None:
        """The fault of this kind that hits this request."""
        return next((effect for effect in self.effects if effect.kind == kind), None)

    @property
    def fields(self) -> dict[str, Any]:
        """The body as an object; empty without one."""
        return self.body if isinstance(self.body, dict) else {}

    def listed(self, kind: str) -> list[Thing]:
        """What a list of this kind shows: with the cloud's lag, and the faults `stale_list` and `list_misses`.

        `stale_list` shows the list as it was `seconds` ago. `list_misses` hides those of `ids` or `names`,
        else the `newest` so many.
        """
        stale = self.effect("stale_list")
        moment = self.now - float(stale.get("seconds", 10.0)) if stale else self.now
        things = self.world.things(self.api.cloud, kind, at=moment)
        if kind == "server" and self.knobs.list_lag_s:
            things = [thing for thing in things if thing.created + self.knobs.list_lag_s <= self.now]
        misses = self.effect("list_misses")
        if misses is None:
            return things
        ids, names = misses.get("ids", ()), misses.get("names", ())
        if not ids and not names:
            return things[: -int(misses.get("newest", 1))]
        return [thing for thing in things if thing.id not in ids and thing.name not in names]


Handler = Callable[[Call], Reply]


@dataclass(slots=True)
class _Answer:
    """What goes over the wire: None instead of a status closes the connection without a word."""

    status: int | None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    silence: float | None = 0.0
    """Seconds without a sign of life before that; None: for ever."""


@dataclass(frozen=True, slots=True)
class _Hang:
    """No answer for a while, or (None) for ever."""

    seconds: float | None
    effects: list[Effect]


def route(api: Api, method: str, path: str, handler: Handler) -> Route:
    """A route of a cloud's API; `method` may be `*`."""
    return Route(path, Exchange(api, handler), methods=None if method == "*" else [method])


class Exchange:
    """The ASGI application behind one route."""

    def __init__(self, api: Api, handler: Handler) -> None:
        self._api = api
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        body = await request.body()
        answer = self._exchange(request, body, None)
        if isinstance(answer, _Hang):
            if not await _silence(request, answer.seconds) or answer.seconds is None:
                return
            answer = self._exchange(request, body, answer.effects)
            assert isinstance(answer, _Answer)  # noqa: S101 - the faults have had their turn
        if answer.silence != 0.0 and not await _silence(request, answer.silence):
            return
        if answer.delay:
            await asyncio.sleep(answer.delay)
        if answer.status is None:
            await _drop(request)
            return
        await send(_start(answer))
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else answer.body})

    def _exchange(self, request: Request, body: bytes, effects: list[Effect] | None) -> _Answer | _Hang:
        """Everything that touches the world, in one transaction. `effects`: the faults, if they are known already."""
        api, world = self._api, _world(request)
        token = _bearer(request)
        method, path = request.method, request.url.path
        parsed, malformed = _parse(body)
        with world.transaction() as now:
            first = effects is None
            effects = world.hit(method, path, parsed) if effects is None else effects
            for effect in effects if first else ():
                if effect.kind in WORLD_CHANGES:
                    world.apply(api.cloud, effect)
            knobs = world.knobs(api.cloud)
            call = Call(
                world=world,
                api=api,
                now=now,
                knobs=knobs,
                method=method,
                base_url=str(request.base_url).rstrip("/"),
                path=path,
                params=request.path_params,
                query=request.query_params,
                body=parsed,
                effects=[effect for effect in effects if effect.kind in BEHAVIOUR],
            )
            before = next((effect for effect in effects if effect.kind in BEFORE), None) if first else None
            answer: _Answer | _Hang
            if before and before.kind.startswith("hang"):
                seconds = None if before.kind == "hang_forever" else float(before.get("seconds", 5.0))
                answer = _Hang(seconds, effects)
            elif before and before.kind == "drop_before":
                answer = _Answer(None)
            else:
                answer = self._answer(call, token, before, malformed)
                for effect in effects:
                    if effect.kind in AFTER:
                        answer = self._spoil(answer, effect)
                answer.delay = knobs.http_latency_s + random.random() * knobs.http_jitter_s  # noqa: S311 - no secret
            if first:
                world.record(
                    api.cloud,
                    method,
                    path,
                    query=_without(token, request.url.query) or "",
                    body=_without(token, body.decode(errors="replace")),
                    status=answer.status if isinstance(answer, _Answer) else None,
                    effects=[effect.kind for effect in effects],
                    agent=request.headers.get("user-agent", ""),
                )
            return answer

    def _answer(self, call: Call, token: str, before: Effect | None, malformed: bool) -> _Answer:
        verdict = call.world.take_request(call.api.cloud)
        try:
            if before:
                return self._refuse(before, verdict.headers)
            if not verdict.allowed:
                raise self._api.rate_limited
            self._authorize(call, token)
            if malformed:
                raise Refusal(400, self._api.codes[400], "the request's body is no JSON")
            with call.world.savepoint():
                reply = self._handler(call)
        except Refusal as refusal:
            return self._error(refusal, verdict.headers)
        except Exception as error:  # a mistake of ours is answered like one of the vendor's
            return self._error(Refusal(500, self._api.codes[500], f"simulator: {error!r}"), verdict.headers)
        headers = {**verdict.headers, self._api.request_id_header: self._api.request_id(), **reply.headers}
        return _json_answer(reply.status, reply.body, headers)

    def _authorize(self, call: Call, token: str) -> None:
        cloud = self._api.cloud
        if not token or not self._api.well_formed(token) or not call.world.token_accepted(cloud, token):
            raise self._api.unauthorized
        if call.method not in READING and call.world.token_readonly(cloud):
            raise self._api.readonly

    def _error(self, refusal: Refusal, headers: Mapping[str, str]) -> _Answer:
        request_id = self._api.request_id()
        body = self._api.error_body(refusal, request_id)
        return _json_answer(
            refusal.status, body, {**headers, self._api.request_id_header: request_id, **refusal.headers}
        )

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
        return self._error(Refusal(status, code, effect.get("message", code), effect.get("details")), headers)

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


def _world(request: Request) -> World:
    world = request.app.state.world
    assert isinstance(world, World)  # noqa: S101
    return world


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _parse(body: bytes) -> tuple[Any, bool]:
    """The JSON value, and whether there is a body that is none."""
    if not body:
        return None, False
    try:
        return json.loads(body), False
    except ValueError:
        return None, True


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
