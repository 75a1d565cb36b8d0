"""The known clouds, and how to open one. Importing this module imports no vendor's client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path

from scaler.clouds import Cloud
from scaler.clouds.deadlines import Deadlines
from scaler.errors import CredentialsError, RefusedError, ScalerError, UsageError
from scaler.support.clock import Clock
from scaler.support.documents import read_file
from scaler.support.entry_points import ENTRY_POINTS, cloud_entry_points
from scaler.support.files import failure_reason
from scaler.support.hosts import ALLOWED, allowed_hosts, host_of, is_clear_text, is_endpoint, is_loopback
from scaler.support.installation import install_command
from scaler.support.suggestions import nearest
from scaler.support.text import named
from scaler.support.values import dataclass

_LARGEST_TOKEN = 64 << 10


Opener = Callable[[str, str, Clock, Deadlines], Cloud]
"""endpoint, token, clock, deadlines."""


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """What is known of a vendor before its client is imported."""

    title: str
    endpoint: str
    endpoint_variable: str
    token_variables: tuple[str, ...]
    """In this order, each also as `<NAME>_FILE`, which names a file."""
    client: str
    """The package that `open` imports."""
    open: Opener


def _open_hetzner(endpoint: str, token: str, clock: Clock, deadlines: Deadlines) -> Cloud:
    from scaler.clouds.hetzner import HetznerCloud

    return HetznerCloud(endpoint=endpoint, token=token, clock=clock, deadlines=deadlines)


def _open_digitalocean(endpoint: str, token: str, clock: Clock, deadlines: Deadlines) -> Cloud:
    from scaler.clouds.digitalocean import DigitalOceanCloud

    return DigitalOceanCloud(endpoint=endpoint, token=token, clock=clock, deadlines=deadlines)


CLOUDS: Mapping[str, Vendor] = {
    "hetzner": Vendor(
        title="Hetzner Cloud",
        endpoint="https://api.hetzner.cloud/v1",
        endpoint_variable="HCLOUD_ENDPOINT",
        token_variables=("HCLOUD_TOKEN",),
        client="hcloud",
        open=_open_hetzner,
    ),
    "digitalocean": Vendor(
        title="DigitalOcean",
        endpoint="https://api.digitalocean.com",
        endpoint_variable="DIGITALOCEAN_API_URL",
        token_variables=("DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN"),
        client="pydo",
        open=_open_digitalocean,
    ),
}


def open_cloud(
    name: str, *, endpoint: str | None, environ: Mapping[str, str], clock: Clock, deadlines: Deadlines | None = None
) -> Cloud:
    """Open the account at cloud `name` to which the environment's credentials belong. Sends no request.

    `endpoint` None: the vendor's environment variable, or the vendor's own endpoint; `deadlines`
    None: as the environment says.
    Raises CredentialsError without a token, UsageError for an unknown cloud or an endpoint that is
    no URL, and ScalerError if the vendor's client is not installed.
    """
    vendor = find_vendor(name)
    url = endpoint_of(vendor, endpoint, environ)
    token = find_token(vendor, environ) if vendor.token_variables else ""
    try:
        cloud = vendor.open(url, token, clock, deadlines or Deadlines.of(environ))
    except ModuleNotFoundError as error:
        raise ScalerError(
            f"The client for {vendor.title} is not installed.",
            why=str(error),
            fix=install_command(name) if name in CLOUDS else f"Install {error.name} where scaler is installed.",
            code="client_missing",
        ) from error
    if cloud.name != name:
        raise ScalerError(
            f"The cloud {name} calls itself {cloud.name}.",
            why="records and metrics go by the name that a spec has, which is the name of the entry point",
            fix=f"Have {type(cloud).__name__}.name be {name}, or offer it as {cloud.name} in the group {ENTRY_POINTS}.",
            code="cloud_name",
        )
    return cloud


def find_vendor(name: str) -> Vendor:
    """Return a cloud of ours, or of an installed package; UsageError if there is none of this name."""
    if name in CLOUDS:
        return CLOUDS[name]
    entry_points = cloud_entry_points()
    if name in entry_points:
        return _load(entry_points[name])
    raise UsageError(f"There is no cloud {name}.", fix=nearest(name, known_clouds()))


def known_clouds() -> list[str]:
    """Return the names of the clouds that a spec can have: ours, and those of installed packages."""
    return [*CLOUDS, *sorted(cloud_entry_points())]


def _load(point: EntryPoint) -> Vendor:
    try:
        vendor = point.load()
    except (ImportError, AttributeError) as error:
        raise ScalerError(
            f"The cloud {point.name} cannot be loaded.",
            why=f"its entry point is {point.value}: {error}",
            fix="Correct the entry point in the package that offers it, and install that again.",
            code="cloud_not_loaded",
        ) from error
    if not isinstance(vendor, Vendor):
        raise ScalerError(
            f"The cloud {point.name} is no Vendor, but {type(vendor).__name__}.",
            why=f"its entry point is {point.value}",
            fix="Have the entry point name a scaler.clouds.registry.Vendor.",
            code="cloud_not_loaded",
        )
    return vendor


def token_source(vendor: Vendor, environ: Mapping[str, str]) -> tuple[str, bool] | None:
    """Return the variable that a token comes from, and whether it names a file; None if none is set."""
    sources = ((name + ending, bool(ending)) for name in vendor.token_variables for ending in ("", "_FILE"))
    return next((source for source in sources if environ.get(source[0])), None)


def find_token(vendor: Vendor, environ: Mapping[str, str]) -> str:
    """Return the token from the first variable that is set; CredentialsError if none is, or if it cannot be one."""
    if source := token_source(vendor, environ):
        variable, is_file = source
        return _checked(_read(Path(environ[variable]), variable) if is_file else environ[variable], variable)
    variables = " or ".join(vendor.token_variables)
    raise CredentialsError(
        f"There is no token for {vendor.title}.",
        why=f"{variables} is not set",
        fix=f"Set {vendor.token_variables[0]}, or {vendor.token_variables[0]}_FILE to a file that holds it.",
    )


def endpoint_of(vendor: Vendor, endpoint: str | None, environ: Mapping[str, str]) -> str:
    """Return the URL that requests go to: as given, else from the environment, else the vendor's.

    Raises UsageError for what is no URL, and RefusedError where the token would be sent in clear text, or
    to a host that only the spec names.
    """
    from_environ = environ.get(vendor.endpoint_variable)
    url = (endpoint or from_environ or vendor.endpoint).rstrip("/")
    if not is_endpoint(url):
        raise UsageError(
            f"The endpoint {_without_user(url)} is no URL.", fix=f"Give one such as {vendor.endpoint}, or leave it out."
        )
    if is_clear_text(url):
        raise RefusedError(
            f"The token would be sent in clear text to {host_of(url)}.",
            why="plain HTTP is for this machine only: localhost, 127.0.0.1 and ::1",
            fix=f"Write https:// in {'`endpoint`' if endpoint else vendor.endpoint_variable}.",
            code="endpoint_clear_text",
        )
    host = host_of(url)
    if endpoint and not is_loopback(host) and host not in allowed_hosts(environ, vendor.endpoint, from_environ):
        raise RefusedError(
            f"The spec would send the token to {host}, and only the spec names this host.",
            why=f"{vendor.title} is at {host_of(vendor.endpoint)}",
            fix=f"Set {ALLOWED}={host} where scaler runs, if that is right.",
            code="endpoint_not_allowed",
        )
    return url


def _without_user(url: str) -> str:
    """Return what should be a URL as messages have it: nothing before an `@`, which may be a password."""
    return named(url.rpartition("@")[2])


def _read(path: Path, variable: str) -> str:
    try:
        # It may be a pipe, as a shell's `<(…)` is.
        return read_file(path, _LARGEST_TOKEN, wait=True).decode()
    except (OSError, ValueError) as error:
        raise CredentialsError(
            f"The file that {variable} names cannot be read.",
            why=f"{path}: {failure_reason(error)}",
            fix=f"Name a readable file that holds the token in {variable}, or unset it.",
        ) from error


def _checked(text: str, variable: str) -> str:
    """Return the token without surrounding space; CredentialsError if an HTTP header cannot carry it."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise CredentialsError(
            f"{variable} does not hold a token.",
            why="it is empty, or has spaces, line breaks or other characters that no token has",
            fix="Copy the token again from the vendor's console.",
        )
    return token
