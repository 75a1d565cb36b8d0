"""Requests of our own: nothing is read that was not asked for."""

from __future__ import annotations

import requests


class Session(requests.Session):
    """A session that leaves redirects alone.

    The library's own reads all that comes with a redirect, whatever its size, also if it is told to
    follow none.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Say that there is none."""
