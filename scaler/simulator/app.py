"""The ASGI application: both clouds' routes, the control plane, and a refusal for everything else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from scaler.simulator import control
from scaler.simulator.call import ApiError, Call, Handler, Reply
from scaler.simulator.digitalocean import api as digitalocean
from scaler.simulator.exchange import route
from scaler.simulator.guard import LoopbackOnly
from scaler.simulator.hetzner import api as hetzner
from scaler.simulator.world import SimulatedWorld


def make_app(world: SimulatedWorld) -> Starlette:
    """One application for one world. `state.stopping` is set when the server is about to stop."""
    app = Starlette(routes=[*control.routes, *_cloud_routes()], middleware=[Middleware(LoopbackOnly)])
    app.state.world = world
    app.state.stopping = asyncio.Event()
    return app


def _cloud_routes() -> list[Route]:
    return [
        *hetzner.routes,
        route(hetzner.API, "*", "/v1/{rest:path}", _elsewhere(hetzner.routes, hetzner.NOT_SERVED)),
        *digitalocean.routes,
        route(digitalocean.API, "*", "/{rest:path}", _elsewhere(digitalocean.routes, digitalocean.NOT_SERVED)),
    ]


def _elsewhere(routes: Sequence[Route], not_served: re.Pattern[str]) -> Handler:
    """Refuse what no route takes: another method of a path, a part of the API that is not served, or nothing at all."""

    def refuse(call: Call) -> Reply:
        if not_served.match(call.path):
            raise ApiError(501, "not_implemented", "the embedded cloud does not serve this part of the API")
        others = [each.methods or () for each in routes if each.path_regex.match(call.path)]
        if others and not any(call.method in methods for methods in others):
            code = call.api.codes.get(405, "method_not_allowed")
            raise ApiError(405, code, f"{call.method} is not allowed here")
        raise call.api.not_found

    return refuse
