"""DigitalOcean's own Python client, and a droplet to ask for."""

from __future__ import annotations

from typing import Any

import pydo
import requests
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy

from scaler.simulator import EmbeddedCloud
from tests.support.sim_http import TOKEN, Http

DROPLET = {"name": "web-1", "region": "fra1", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64"}


class Bearer(SansIOHTTPPolicy[Any, Any]):
    """Sends the token over plain HTTP too, which pydo's own policy refuses."""

    def __init__(self, token: str) -> None:
        self._token = token

    def on_request(self, request: PipelineRequest[Any]) -> None:
        request.http_request.headers["Authorization"] = f"Bearer {self._token}"


def pydo_client(cloud: EmbeddedCloud, token: str = TOKEN) -> pydo.Client:
    """The unmodified client, without its retries."""
    return pydo.Client(token, endpoint=cloud.digitalocean_endpoint, authentication_policy=Bearer(token), retry_total=0)


def order(http: Http, **fields: Any) -> requests.Response:
    """Ask for a droplet."""
    return http.post("/v2/droplets", json={**DROPLET, **fields})


def made(http: Http, **fields: Any) -> int:
    """The id of a new droplet."""
    answer = order(http, **fields)
    assert answer.status_code == 202, answer.text
    return int(answer.json()["droplet"]["id"])


def seen(http: Http, droplet: int) -> dict[str, Any]:
    """A droplet as the API shows it now."""
    answer = http.get(f"/v2/droplets/{droplet}")
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()["droplet"]
    return shown


def act(http: Http, droplet: int, kind: str, **fields: Any) -> requests.Response:
    """Ask for an action on a droplet."""
    return http.post(f"/v2/droplets/{droplet}/actions", json={"type": kind, **fields})


def refusal(answer: requests.Response) -> tuple[int, str, str]:
    """Status, code and words of an error, which has DigitalOcean's shape."""
    body = answer.json()
    assert set(body) == {"id", "message", "request_id"}
    assert body["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, body["id"], body["message"]
