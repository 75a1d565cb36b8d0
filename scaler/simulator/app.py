"""The ASGI application: both clouds' routes, the control plane, and 404 for everything else."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from scaler.simulator import control
from scaler.simulator.call import Call, Reply
from scaler.simulator.digitalocean import api as digitalocean
from scaler.simulator.exchange import route
from scaler.simulator.guard import LoopbackOnly
from scaler.simulator.hetzner import api as hetzner
from scaler.simulator.world import World


def make_app(world: World) -> Starlette:
    """One application for one world. `state.stopping` is set when the server is about to stop."""
    app = Starlette(routes=[*control.routes, *_cloud_routes()], middleware=[Middleware(LoopbackOnly)])
    app.state.world = world
    app.state.stopping = asyncio.Event()
    return app


def _cloud_routes() -> list[Route]:
    return [
        *hetzner.routes,
        route(hetzner.API, "*", "/v1/{rest:path}", _unknown),
        *digitalocean.routes,
        route(digitalocean.API, "*", "/{rest:path}", _unknown),
    ]


def _unknown(call: Call) -> Reply:
    raise call.api.not_found
