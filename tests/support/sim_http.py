"""Bare HTTP to an embedded cloud."""

from __future__ import annotations

from typing import Any

import requests

TOKEN = "t" * 64
SERVER = {"name": "web-1", "server_type": "cx23", "image": "ubuntu-24.04", "location": "fsn1"}


class Http(requests.Session):
    """Bare HTTP to one embedded cloud, for what no client sends."""

    def __init__(self, base: str, token: str = TOKEN) -> None:
        super().__init__()
        self._base = base
        self.headers["Authorization"] = f"Bearer {token}"

    def request(self, method: str | bytes, url: str | bytes, *arguments: Any, **options: Any) -> requests.Response:
        options.setdefault("timeout", 10)
        return super().request(method, f"{self._base}{url!s}", *arguments, **options)

    def create(self, **fields: object) -> requests.Response:
        """Ask Hetzner for a server."""
        return self.post("/v1/servers", json={**SERVER, **fields})
