"""A stack's identity: which servers its records are of, and where they are (design D6)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import field, replace
from urllib.parse import urlsplit

from scaler.support.values import dataclass

OWN_OUTPUT = "scaler"
"""The stack's output that says what the stack is; the others are its servers."""

TOKENS_KEPT = 20
"""How many tokens' fingerprints are remembered, the newest ones."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run works, and with whose token."""

    project: str
    cloud: str
    endpoint: str
    """`embedded`, or a URL as `normal_endpoint` writes it."""
    token: str = field(default="", repr=False)

    def fingerprint(self, stack_id: str) -> str:
        """A keyed hash of the token: it distinguishes tokens, and does not reveal the token."""
        return hmac.new(stack_id.encode(), self.token.encode(), hashlib.sha256).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a stack recorded of itself. A field that an older version did not record is empty."""

    id: str
    """Eight characters, made with the stack."""
    project: str
    cloud: str
    endpoint: str = ""
    account: str = ""
    """The account's own id, at clouds that report it."""
    tokens: tuple[str, ...] = ()
    """Fingerprints of the tokens that have seen all servers of the stack, the newest last."""
    claims: tuple[str, ...] = ()
    """Ids of machines that a run was told to claim, and that may not carry the stack's id yet."""

    @property
    def place(self) -> tuple[str, str, str]:
        """Where the stack is: its project, cloud and endpoint."""
        return self.project, self.cloud, self.endpoint

    def is_proven(self, place: Place) -> bool:
        """Whether the place's token has seen all servers of the stack before."""
        return place.fingerprint(self.id) in self.tokens

    def with_token(self, place: Place) -> Identity:
        """The identity with the place's token among those that have seen the servers."""
        if self.is_proven(place):
            return self
        return replace(self, tokens=(*self.tokens, place.fingerprint(self.id))[-TOKENS_KEPT:])

    def at(self, place: Place) -> Identity:
        """The identity at another place: for a stack that holds no servers, or whose move was accepted."""
        return replace(self, project=place.project, cloud=place.cloud, endpoint=place.endpoint)

    def claiming(self, machines: Iterable[str]) -> Identity:
        """The identity that claims these machines too."""
        return replace(self, claims=tuple(sorted({*self.claims, *machines})))

    def united_with(self, other: Identity | None) -> Identity:
        """The same identity with the tokens that another record of it knows."""
        if other is None or other.id != self.id:
            return self
        tokens = tuple(dict.fromkeys((*other.tokens, *self.tokens)))
        claims = tuple(sorted({*self.claims, *other.claims}))
        return replace(self, tokens=tokens[-TOKENS_KEPT:], account=self.account or other.account, claims=claims)


def new_id() -> str:
    """A new stack's id."""
    return secrets.token_hex(4)


def normal_endpoint(url: str) -> str:
    """An endpoint in one spelling: lower-case host, no default port, no slash at the end."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme.lower()}://{host}{port}{parts.path.rstrip('/')}"
