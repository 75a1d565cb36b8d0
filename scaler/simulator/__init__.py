"""The embedded cloud: a faithful Hetzner and DigitalOcean API on loopback, its world in one SQLite file.

    with EmbeddedCloud(Path("world.db"), profile="instant") as cloud:
        ...  # point a client at cloud.hetzner_endpoint or cloud.digitalocean_endpoint
        cloud.world.vanish("hetzner", server_id)

`world` holds everything (in a file, `store`) and knows no HTTP, `exchange` takes one request from its arrival to its
answer, `hetzner` and `digitalocean` are the two APIs, `control` is the tests' side door `/_sim`.
"""

from scaler.simulator.server import EmbeddedCloud
from scaler.simulator.world import SimulatedWorld

__all__ = ["EmbeddedCloud", "SimulatedWorld"]
