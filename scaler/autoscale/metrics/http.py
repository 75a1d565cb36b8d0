"""A number in a JSON document at a URL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase
from requests.exceptions import InvalidProxyURL
from urllib3.exceptions import HTTPError, ReadTimeoutError

from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.autoscale.metrics.documents import LARGEST, value_in
from scaler.model.autoscaling import HttpSource
from scaler.support.environment import belongs_to_scaler
from scaler.support.hosts import ALLOWED, allowed_hosts, host_of, is_clear_text
from scaler.support.http import Session
from scaler.support.values import dataclass

_MOST_REDIRECTS = 5

_CREDENTIALS = {"Authorization", "PRIVATE-TOKEN"}
"""Headers that the sources send a token in."""


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    body: str
    headers: Mapping[str, str]


class _Bearer(AuthBase):
    """A bearer token. As an `auth`, so that no entry of .netrc replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def get(
    url: str,
    parameters: Mapping[str, str],
    token_env: str | None,
    request: MetricRead,
    *,
    headers: Mapping[str, str] | None = None,
    auth: AuthBase | None = None,
    largest: int = LARGEST,
) -> Answer:
    """Send a GET. Raise MetricError if no answer is there in time, or if it has more than `largest` bytes.

    Redirects are followed on the same host only: an answer from elsewhere, such as a cloud's
    metadata address, would be shown to whoever reads the logs.
    """
    auth = auth or (_Bearer(secret(token_env, request)) if token_env else None)
    if auth or _CREDENTIALS & set(headers or {}):
        _require_privacy(url, request)
    deadline = request.clock.monotonic() + request.seconds
    full = requests.Request("GET", url, params=dict(parameters)).prepare().url or url
    headers = {"Accept": "application/json", **(headers or {})}
    with _errors(request), Session() as session:
        for _ in range(_MOST_REDIRECTS + 1):
            left = deadline - request.clock.monotonic()
            if left <= 0:
                raise MetricError(f"no answer within {request.seconds:g}s")
            with session.get(full, auth=auth, timeout=left, headers=headers, stream=True) as response:
                if not response.is_redirect:
                    body = _body(response, largest)
                    return Answer(response.status_code, body, response.headers)
                full = _redirected(full, response.headers["Location"])
    raise MetricError(f"more than {_MOST_REDIRECTS} redirects")


def post(url: str, request: MetricRead, *, headers: Mapping[str, str]) -> Answer:
    """Send a POST without a body, and follow no redirect. Raise MetricError as `get` does."""
    if _CREDENTIALS & set(headers):
        _require_privacy(url, request)
    with (
        _errors(request),
        Session() as session,
        session.post(url, timeout=request.seconds, headers=headers, stream=True) as response,
    ):
        body = _body(response, LARGEST)
        return Answer(response.status_code, body, response.headers)


def next_page(link: str, api: str) -> str | None:
    """Return the address of a list's next page from a Link header. It must be of the same API, which gets the token."""
    for part in link.split(","):
        address, _, relation = part.partition(";")
        if 'rel="next"' in relation:
            url = address.strip().strip("<>")
            if not url.startswith(api.rstrip("/") + "/"):
                raise MetricError("the next page is of another API")
            return url
    return None


@contextmanager
def _errors(request: MetricRead) -> Iterator[None]:
    try:
        yield
    except (requests.Timeout, ReadTimeoutError):
        raise MetricError(f"no answer within {request.seconds:g}s") from None
    except InvalidProxyURL as error:
        raise MetricError(str(error)) from None
    except (requests.RequestException, HTTPError) as error:
        raise MetricError(_reason(error)) from None


def _redirected(url: str, location: str) -> str:
    """Return where a redirect leads. Raise MetricError if that is another host, or the same one without TLS."""
    try:
        target = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(target)
    except ValueError:
        raise MetricError("it redirects to what is no URL") from None
    try:
        upgraded = (here.scheme, there.scheme) == ("http", "https") and {here.port, there.port} <= {None, 80, 443}
        unchanged = (here.scheme, here.port) == (there.scheme, there.port)
        same = host_of(url) == host_of(target) != "" and (unchanged or upgraded)
    except ValueError:
        same = False
    if not same:
        # Without what is before an @, which may be a password.
        place = f"{there.scheme}://{there.netloc.rpartition('@')[2]}"
        raise MetricError(f"it redirects to {place}, which is not followed: write that URL")
    return target


def _body(response: requests.Response, largest: int) -> str:
    content = b""
    while chunk := response.raw.read1(64 * 1024, decode_content=True):
        content += chunk
        if len(content) > largest:
            raise MetricError(f"the answer is larger than {largest >> 20} MiB")
    return content.decode(response.encoding or "utf-8", errors="replace")


def secret(variable: str, request: MetricRead) -> str:
    """Return the value of an environment variable that the spec names.

    Raise MetricError if it is not set, or if it is a credential of the cloud, the engine or the state backend, which
    no source of metrics may get unless `env` of the spec names it too.
    """
    if belongs_to_scaler(variable) and variable not in request.named:
        raise MetricError(f"{variable} is not for sources of metrics: name another variable")
    value = request.environ.get(variable, "")
    if not value:
        raise MetricError(f"the environment variable {variable} is not set")
    return value


def _require_privacy(url: str, request: MetricRead) -> None:
    """Raise MetricError if credentials would be sent in clear text to another machine that nobody allowed."""
    host = host_of(url)
    if is_clear_text(url) and host not in allowed_hosts(request.environ):
        raise MetricError(f"credentials would be sent in clear text to {host}: use https, or set {ALLOWED}={host}")


def _reason(error: requests.RequestException | HTTPError) -> str:
    """Return the innermost cause. The text of requests' own exception is the whole call chain with the URL."""
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    return getattr(cause, "strerror", None) or type(cause).__name__


def read(source: HttpSource, request: MetricRead) -> Value:
    """Read the number in the document."""
    answer = get(source.url, {}, source.token_env, request)
    if answer.status != 200:
        raise MetricError(f"HTTP {answer.status}")
    return value_in(answer.body, source.pointer, source.time_pointer)
