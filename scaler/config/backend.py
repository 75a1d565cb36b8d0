"""Which state backend a stack has. The one place where that is decided, for commands that change and that only look.

Nothing heavy is imported here, since `scaler status` needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from scaler.errors import RefusedError, SpecError, UsageError
from scaler.support.engine_urls import BACKENDS, Destination, backend_of
from scaler.support.hosts import ALLOWED, allowed_hosts

VARIABLE = "PULUMI_BACKEND_URL"

_BUCKETS = ("s3", "gs", "azblob")
_SCHEMES = (*BACKENDS, "postgresql")
_BEGINNINGS = ", ".join(f"{scheme}://" for scheme in BACKENDS)

_PULUMI_CLOUD = "https://api.pulumi.com"


def choose_backend(of_spec: str | None, of_project: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the URL of the backend: the spec's, else the environment's, else Pulumi.yaml's; None: the default folder.

    The environment's is used as it is. Raises SpecError for one of the files that is not understood, and RefusedError
    for a host, or a connection in clear text, that only the files name: the engine would send the access token of
    Pulumi Cloud, the database's password, or the state and the credentials of an object store.
    """
    from_environ = environ.get(VARIABLE)
    url = of_spec or from_environ or of_project
    if url and url != from_environ:
        _require_allowed(url, from_environ, environ)
    elif url:
        _require_url(url)
    return url


def _require_url(url: str) -> None:
    """Raise UsageError for a URL of the environment that nobody can read: it is used as it is, if it is one."""
    scheme, mark, _ = url.partition("://")
    problem = "" if mark and scheme.lower() in _SCHEMES else f"it does not begin with one of {_BEGINNINGS}"
    try:
        parts = urlsplit(url)
        if parts.scheme in _BUCKETS and not parts.netloc:
            problem = "it names no bucket"
        if parts.scheme in ("http", "https"):
            _ = parts.port  # Reading it checks it. PostgreSQL's may name several hosts, each with its port.
            problem = "" if parts.hostname else "it has no host"
    except ValueError:
        problem = "its host or its port cannot be read"
    if problem:
        raise UsageError(
            f"{VARIABLE} is no URL of a state backend.",
            why=problem,
            fix="Set it to a URL such as file://.scaler/pulumi or s3://bucket, or unset it.",
            code="backend_invalid",
        )


def _require_allowed(url: str, from_environ: str | None, environ: Mapping[str, str]) -> None:
    try:
        destination = backend_of(url)
    except ValueError as error:
        raise SpecError(
            "The URL of the state backend, of the spec or of Pulumi.yaml, is none that scaler understands.",
            why=str(error),
            fix=f"Correct it, or set {VARIABLE} to it where scaler runs, if that is right.",
            code="backend_invalid",
        ) from None
    foreign = destination.foreign(allowed_hosts(environ, _PULUMI_CLOUD) | _hosts_of(from_environ))
    if foreign:
        raise RefusedError(
            f"The project would send credentials of the state backend to {foreign[0]}, and only its files name this "
            "host.",
            why=f"they are for the host that {VARIABLE} names, Pulumi Cloud, and the clouds' own object stores",
            fix=f"Set {ALLOWED}={foreign[0]} where scaler runs, if that is right.",
            code="backend_not_allowed",
        )
    if destination.is_clear:
        raise RefusedError(
            "The project would send the state and credentials of its backend in clear text, and only its files say so.",
            why="a connection without TLS is for this machine only",
            fix="Use https, or sslmode=require or stricter; or set "
            f"{VARIABLE} to this URL where scaler runs, if that is right.",
            code="backend_not_allowed",
        )


def _hosts_of(url: str | None) -> frozenset[str]:
    try:
        return backend_of(url).hosts if url else Destination().hosts
    except ValueError:
        return frozenset()
