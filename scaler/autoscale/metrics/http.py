"""A number in a JSON document at a URL."""

from __future__ import annotations

from collections.abc import Mapping

import requests
from requests.auth import AuthBase

from scaler.autoscale.metrics import MetricError, Request, Value
from scaler.autoscale.metrics.documents import LARGEST, value_in
from scaler.model.autoscaling import HttpSource
from scaler.support.clock import Clock


class _Bearer(AuthBase):
    """A token; as an `auth`, so that it is dropped on the way to another host, and no .netrc replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def get(url: str, parameters: Mapping[str, str], token_env: str | None, request: Request) -> tuple[int, str]:
    """The status and the body of a GET; MetricError if there is no answer in time."""
    auth = _Bearer(secret(token_env, request)) if token_env else None
    deadline = request.clock.monotonic() + request.seconds
    try:
        with requests.get(
            url,
            params=parameters,
            auth=auth,
            timeout=request.seconds,
            headers={"Accept": "application/json"},
            stream=True,
        ) as response:
            return response.status_code, _body(response, request.clock, deadline)
    except requests.Timeout:
        raise MetricError(f"no answer within {request.seconds:g}s") from None
    except requests.RequestException as error:
        raise MetricError(_reason(error)) from None


def _body(response: requests.Response, clock: Clock, deadline: float) -> str:
    content = b""
    for chunk in response.iter_content(64 * 1024):
        content += chunk
        if len(content) > LARGEST:
            raise MetricError("the answer is larger than 1 MiB")
        if clock.monotonic() > deadline:
            raise MetricError("the answer takes too long")
    return content.decode(response.encoding or "utf-8", errors="replace")


def secret(variable: str, request: Request) -> str:
    """The value of an environment variable that the spec names; MetricError if it has none."""
    value = request.environ.get(variable, "")
    if not value:
        raise MetricError(f"the environment variable {variable} is not set")
    return value


def _reason(error: requests.RequestException) -> str:
    """The innermost cause: requests' own text is the whole call chain with the URL in it."""
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    return getattr(cause, "strerror", None) or type(cause).__name__


def read(source: HttpSource, request: Request) -> Value:
    """The number in the document."""
    status, body = get(source.url, {}, source.token_env, request)
    if status != 200:
        raise MetricError(f"HTTP {status}")
    return value_in(body, source.pointer, source.time_pointer)
