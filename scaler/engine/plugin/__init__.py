"""The resource provider that runs inside scaler's own process.

It serves the official resource types `hcloud:index/server:Server` and
`digitalocean:index/droplet:Droplet` to the engine, with the official property names, so that the
official plugins can take a stack over. Unlike them it returns as soon as the cloud has accepted a
request, answers every Read from one list, and does only what the plan names.
"""

from scaler.engine.plugin.digitalocean import DROPLET
from scaler.engine.plugin.generic import server_of
from scaler.engine.plugin.hetzner import SERVER
from scaler.engine.plugin.resource import ResourceType

RESOURCES = {"hetzner": SERVER, "digitalocean": DROPLET}
"""The official resource types, by cloud."""


def resource_type(cloud: str) -> ResourceType:
    """Return the type of a cloud's servers: the official one, or one of our own if there is none."""
    return RESOURCES.get(cloud) or server_of(cloud)
