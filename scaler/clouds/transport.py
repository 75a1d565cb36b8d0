"""The one HTTP layer under both official clients: deadlines, budget, retries, and what an answer means.

Both clients send with `requests`, hide the rate-limit headers, and repeat a create that may have
been carried out. So they get this `requests` adapter, which returns only good answers and raises a
typed CloudError for everything else: the clients' own retry code never runs.
`docs/adr/0001-one-transport-under-both-clients.md` explains why.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase
from requests.exceptions import InvalidProxyURL
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError, ProxyError

from scaler.clouds import (
    AddressQuotaError,
    AmbiguousError,
    AuthError,
    BusyError,
    CloudError,
    GoneError,
    InvalidError,
    NoCapacityError,
    ProtectedError,
    QuotaError,
    RateLimitedError,
    TransientError,
)
from scaler.clouds.deadlines import Deadlines
from scaler.clouds.governor import Budget, CancelledError, Governor, Kind, OverBudgetError
from scaler.support.certificates import certificates_problem
from scaler.support.clock import Clock
from scaler.support.hosts import host_of, is_loopback
from scaler.support.http import DeadlineAdapter, proxy_variable
from scaler.support.text import LONGEST, answered, one_line
from scaler.support.time_limit import GRACE_S
from scaler.support.values import dataclass

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

_LARGEST_BODY = 32 << 20
"""Bytes of an answer: a page of 50 servers has far less than one MiB."""

_ATTEMPTS = 4
_CHUNK = 65536
_NUMBER = re.compile(r"[0-9]{1,20}")
_SHORTEST_SECRET = 8
"""Characters of a line of user data that no message may repeat; shorter ones are words such as `runcmd:`."""
_READS = frozenset({"GET", "HEAD"})
_REPEATABLE = _READS | {"PUT", "DELETE"}
"""Methods that may be sent again although they may have been carried out."""
_NOTHING_HAPPENED = (TransientError, RateLimitedError, BusyError)
_UNSENT = (OverBudgetError, CancelledError, InvalidProxyURL)
"""Why a request was not sent: sending it again at once would end in the same way."""
_MALFORMED = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError)
"""What reading an answer raises if a field is missing or has another type."""

_FIXES: Mapping[type[CloudError], str] = {
    GoneError: "Run `scaler refresh`: it was deleted outside of scaler.",
    NoCapacityError: "Name more types or locations in the spec, or try again later.",
    AddressQuotaError: "Ask the vendor for more primary IPs, delete unused ones, or do without public addresses.",
    QuotaError: "Ask the vendor for a higher limit, delete what is not needed, or lower the count.",
    RateLimitedError: "Try again after the reset; other programs may be using the same account's requests.",
    TransientError: "Nothing was changed: run the command again.",
    AmbiguousError: "Run the command again: it looks for what was created before it asks for more.",
    AuthError: "Check that the token is valid, may write, and belongs to this account.",
    ProtectedError: "Lift the protection at the vendor first.",
    BusyError: "Run the command again when the other action has ended.",
}


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What the cloud answered instead of doing it."""

    method: str
    path: str
    status: int
    code: str
    """The cloud's own code; empty if the body was not in the cloud's error format."""
    message: str
    request_id: str

    @property
    def why(self) -> str:
        """The cloud's code and message, and the id to quote to its support."""
        named = f"{self.code}: {self.message}" if self.code else f"HTTP {self.status}: {self.message}"
        return f"{named} [{self.request_id}]" if self.request_id else named


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How one vendor uses HTTP."""

    title: str
    machines: str
    """The path's last part that lists and creates machines, such as `servers`."""
    error_of: Callable[[Mapping[str, Any]], tuple[str, str]]
    """Returns the code and message in an error body; KeyError or TypeError if it is none."""
    request_id: str
    """The header that has the request's id."""
    meaning: Callable[[Refusal], type[CloudError] | None]
    """Returns what the vendor's code means; None: the HTTP status decides."""

    def kind(self, method: str, path: str) -> Kind:
        """Return what a request is for."""
        if path.rstrip("/").endswith(f"/{self.machines}"):
            return {"GET": Kind.LIST, "POST": Kind.CREATE}.get(method, Kind.OTHER)
        is_machine = path.rstrip("/").rpartition("/")[0].endswith(f"/{self.machines}")
        return Kind.DELETE if method == "DELETE" and is_machine else Kind.OTHER


_HARMLESS = ("GET", "HEAD")

_TOO_LATE = "another run may act for the stack by now, so this was not sent"


class BearerAuth(AuthBase):
    """Set the token on each request; a session without `auth` would take one from ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Transport(DeadlineAdapter):
    """Send a request, and repeat it if that is safe and may help. Safe to use from several threads."""

    def __init__(self, dialect: Dialect, *, token: str, governor: Governor, clock: Clock, deadlines: Deadlines) -> None:
        super().__init__(pool_maxsize=256)
        self._dialect = dialect
        self._token = token
        self._governor = governor
        self._clock = clock
        self._deadlines = deadlines
        # Jitter only keeps processes apart; nothing depends on its quality.
        self._random = random.Random()  # noqa: S311

    def session(self) -> requests.Session:
        """Return a session whose requests are all sent by this transport."""
        session = requests.Session()
        session.mount("https://", self)
        session.mount("http://", self)
        session.auth = BearerAuth(self._token)
        return session

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: object = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Return a good answer, read to its end; raise a CloudError for any other."""
        del stream, timeout
        allowed_proxies = {} if is_loopback(host_of(request.url or "")) else dict(proxies or {})
        unanswered: AmbiguousError | None = None
        attempt = 0
        while True:
            try:
                return self._exchange(request, attempt, verify=verify, cert=cert, proxies=allowed_proxies)
            except CloudError as error:
                attempt += 1
                unanswered = error if isinstance(error, AmbiguousError) else unanswered
                if attempt < _ATTEMPTS and self._may_repeat(request, error):
                    self._back_off(error, attempt)
                elif unanswered and isinstance(error, _NOTHING_HAPPENED):
                    # Only the last attempt changed nothing: an earlier one may have been carried out.
                    raise unanswered from error
                else:
                    raise

    def _back_off(self, error: CloudError, attempt: int) -> None:
        # After a 429 the governor holds the next request back.
        if not isinstance(error, RateLimitedError):
            self._clock.sleep(self._deadlines.limit.cut(self._random.uniform(0.25, 0.5) * 2**attempt))

    def _may_repeat(self, request: requests.PreparedRequest, error: CloudError) -> bool:
        """Return whether repeating the request cannot do anything twice, may help, and there is time for it."""
        if self._deadlines.limit.is_over:
            return False
        if isinstance(error, AmbiguousError):
            return request.method in _REPEATABLE
        return isinstance(error, _NOTHING_HAPPENED) and not isinstance(error.__cause__, _UNSENT)

    def _exchange(self, request: requests.PreparedRequest, attempt: int, **settings: Any) -> requests.Response:
        """Send once."""
        method, path = request.method or "", urlsplit(request.url or "").path
        try:
            patience = self._deadlines.limit.cut(self._deadlines.budget, at_least=GRACE_S)
            self._governor.wait(self._dialect.kind(method, path), patience, retry=attempt > 0)
        except OverBudgetError as error:
            raise self._error(RateLimitedError, str(error), reset=error.reset) from error
        except CancelledError as error:
            raise self._error(TransientError, "the run was interrupted before this was sent") from error
        headers: Mapping[str, str] = {}
        try:
            # As late as can be: the governor may have waited.
            if method not in _HARMLESS and self._deadlines.is_over():
                raise self._error(TransientError, _TOO_LATE) from CancelledError()
            response = super().send(request, stream=True, timeout=self._timeout(method), **settings)
            headers = response.headers
            body = self._body(response)
        except InvalidProxyURL as error:
            raise self._error(TransientError, str(error), fix="Correct the variable, or unset it.") from error
        except (requests.RequestException, HTTPError, OSError) as error:
            raise self._unanswered(request, error, settings["proxies"]) from error
        finally:
            self._governor.answered(headers)
        if {"deprecation", "sunset"} & {name.lower() for name in headers}:
            _LOG.info("%s %s: %s", method, path, _deprecation_notice(headers))
        _LOG.debug("%s %s: %d", method, path, response.status_code)
        self._judge(request, response, body, attempt)
        return response

    def _timeout(self, method: str) -> tuple[float, float]:
        """Return the seconds to connect, and for the answer."""
        read = self._deadlines.read
        if method in _HARMLESS:
            # What was asked to change something is worth its answer; another question can be asked by the next run.
            read = self._deadlines.limit.cut(read, at_least=GRACE_S)
        return self._deadlines.connect, read

    def _body(self, response: requests.Response) -> bytes:
        """Read the whole body."""
        chunks = []
        size = 0
        try:
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                chunks.append(chunk)
                size += len(chunk)
                if size > _LARGEST_BODY:
                    raise requests.RequestException(f"the answer is larger than {_LARGEST_BODY >> 20} MiB")
        except (requests.RequestException, HTTPError, OSError):
            response.close()
            # A refusal counts even if its text was cut off.
            if response.ok:
                raise
        response.raw.release_conn()
        # The place where requests itself stores the body: both clients read it again.
        response._content = b"".join(chunks)
        response._content_consumed = True  # type: ignore[attr-defined]
        return response._content

    def _judge(self, request: requests.PreparedRequest, response: requests.Response, body: bytes, attempt: int) -> None:
        """Return if the answer is good; otherwise raise what it means."""
        parsed = _parse(body)
        if 200 <= response.status_code < 300:
            if body and not isinstance(parsed, dict):
                raise self._error(self._lost(request), "the answer is not the JSON that was promised")
            return
        refusal = self._refusal(request, response, parsed)
        kind = self._dialect.meaning(refusal) or meaning_of_status(refusal.status)
        if kind is GoneError and not self._names_machine(refusal.path):
            kind = InvalidError
        if kind is AmbiguousError:
            kind = self._lost(request)
        if kind is RateLimitedError:
            reset = self._governor.pause(response.headers, attempt)
            raise self._error(RateLimitedError, refusal.why, reset=reset)
        raise self._error(kind, refusal.why, fix=_fix(kind, refusal))

    def _refusal(self, request: requests.PreparedRequest, response: requests.Response, parsed: object) -> Refusal:
        code, message = "", response.reason or ""
        if isinstance(parsed, dict):
            with suppress(KeyError, TypeError):
                code, message = self._dialect.error_of(parsed)
        return Refusal(
            method=request.method or "",
            path=urlsplit(request.url or "").path,
            status=response.status_code,
            code=code,
            message=_without_user_data(message, request.body),
            request_id=response.headers.get(self._dialect.request_id, ""),
        )

    def _names_machine(self, path: str) -> bool:
        return f"/{self._dialect.machines}/" in path

    def _lost(self, request: requests.PreparedRequest) -> type[CloudError]:
        """Return what it means that a request was sent and has no usable answer."""
        return TransientError if request.method in _READS else AmbiguousError

    def _unanswered(
        self, request: requests.PreparedRequest, error: Exception, proxies: Mapping[str, str]
    ) -> CloudError:
        kind = TransientError if _was_not_sent(error) else self._lost(request)
        if kind is TransientError and (problem := certificates_problem(os.environ)):
            return self._error(kind, problem, fix="Correct the variable, or unset it.")
        if not isinstance(error, requests.exceptions.ProxyError):
            return self._error(kind, _words(error))
        variable = proxy_variable(select_proxy(request.url or "", dict(proxies)) or "", os.environ)
        fix = f"See whether the proxy of {variable} runs, and lets {host_of(request.url or '')} through."
        return self._error(kind, f"{variable}: {_words(error)}", fix=fix)

    def _error(self, kind: type[CloudError], why: str, **more: Any) -> CloudError:
        """Return an error without `what`: `asking` fills it in."""
        hidden = why.replace(self._token, "***") if self._token else why
        return kind("", why=one_line(hidden, LONGEST), **{"fix": _FIXES.get(kind, ""), **more})


def open_session(
    dialect: Dialect, budget: Budget, *, token: str, clock: Clock, deadlines: Deadlines
) -> tuple[requests.Session, Governor]:
    """Return a session that sends every request of an account, and the governor that observes its budget."""
    governor = Governor(budget, clock, deadlines.allowances.of(dialect.title, token))
    return Transport(dialect, token=token, governor=governor, clock=clock, deadlines=deadlines).session(), governor


@contextmanager
def asking(title: str, what: str, *, changing: bool, also: type[Exception] = ValueError) -> Iterator[None]:
    """Add to every CloudError what was asked for, and raise one for an answer with missing fields.

    `what` completes "could not …", such as `create server web-1`; `also` is what the client itself
    raises for an answer that it does not expect.
    """
    try:
        yield
    except CloudError as error:
        if not error.what:
            outcome = "may or may not have obeyed:" if isinstance(error, AmbiguousError) else "could not"
            error.what = f"{title} {outcome} {what}"
            error.args = (error.what,)
        raise
    except (*_MALFORMED, also) as error:
        kind = AmbiguousError if changing else TransientError
        why = one_line(f"the answer is not what was promised: {type(error).__name__} {error}", LONGEST)
        raise kind(f"{title} gave no usable answer to: {what}", why=why, fix=_FIXES[kind]) from error


def given(value: T | None, field: str) -> T:
    """Return a required value of an answer; ValueError for null, which `asking` turns into a CloudError."""
    if value is None:
        raise ValueError(f"{field} is null")
    return value


def number_of(value: object, field: str) -> str:
    """Return an id of an answer, a whole number, as digits; ValueError if it is none that programs keep."""
    if type(value) is not int or value == 0 or not is_number(str(value)):
        raise ValueError(f"{field} is not a whole number of 1 to 20 digits: {answered(value)}")
    return str(value)


def is_number(id: str) -> bool:
    """Return whether a cloud whose ids are numbers can be asked for this one; `doctor` asks for 0, which none is."""
    return _NUMBER.fullmatch(id) is not None


def text_of(value: object, field: str) -> str:
    """Return a text of an answer; TypeError if it is none."""
    if not isinstance(value, str):
        raise TypeError(f"{field} is not a text")
    return value


def texts_of(value: object, field: str) -> list[str]:
    """Return a list of texts of an answer; ValueError if it is none."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{field} is not a list of texts")
    return value


def meaning_of_status(status: int) -> type[CloudError]:
    """Return what a refusal means of which only the HTTP status is known."""
    if status == 429:
        return RateLimitedError
    if status == 401:
        return AuthError
    if status >= 500 or status == 408:
        return AmbiguousError
    return InvalidError


def _fix(kind: type[CloudError], refusal: Refusal) -> str:
    """Return how to go on after a refusal. A 403 has many reasons, and the token is only one of them."""
    if refusal.status != 403 or kind not in (AuthError, InvalidError):
        return _FIXES.get(kind, "")
    if kind is AuthError:
        return "Check that the token has the rights for this, may write, and belongs to this account."
    if refusal.code:
        return "Its words say why: the account, or what was asked for, is not allowed this, whatever the token."
    return "The answer is not in the cloud's format: see whether a proxy or firewall answers instead of it."


def _deprecation_notice(headers: Mapping[str, str]) -> str:
    """Return what an answer says of the end of this part of the API: RFC 9745 and RFC 8594."""
    end = headers.get("sunset")
    return f"deprecated, and gone from {end} on" if end else "deprecated"


def _parse(body: bytes) -> object:
    try:
        return json.loads(body) if body else {}
    except (ValueError, RecursionError):
        return None


def _without_user_data(message: str, body: bytes | str | None) -> str:
    """Return a message of the cloud's without lines of the user data that it refuses, which may hold secrets."""
    sent = _parse(body.encode() if isinstance(body, str) else body or b"")
    user_data = sent.get("user_data") if isinstance(sent, dict) else None
    lines = {line.strip() for line in str(user_data or "").splitlines()}
    # A line may begin with another one, and the cloud may quote them as JSON has them.
    for line in sorted(lines, key=len, reverse=True):
        if len(line) >= _SHORTEST_SECRET:
            for text in (line, json.dumps(line, ensure_ascii=False)[1:-1], json.dumps(line)[1:-1]):
                message = message.replace(text, "***")
    return message


def _was_not_sent(error: Exception) -> bool:
    """Return whether the connection failed before the request was sent."""
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    if type(error) is OSError and error.errno is None:
        return True  # requests says so of a file of certificates that it cannot read.
    reason = error.args[0] if error.args else None
    if isinstance(reason, MaxRetryError):
        reason = reason.reason
    if isinstance(reason, NewConnectionError | ProxyError):
        return True
    causes = (reason, *(getattr(reason, "args", None) or ()))
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes) or isinstance(error, ValueError)


def _words(error: Exception) -> str:
    """Return the innermost message: requests wraps urllib3's errors, and urllib3 the system's."""
    reason: object = error
    while isinstance(reason, Exception):
        inner = getattr(reason, "reason", None) or (reason.args[-1] if reason.args else None)
        if not isinstance(inner, Exception):
            break
        reason = inner
    return str(reason) or type(reason).__name__
