"""The URLs that decide where the engine sends what it holds: of state backends and of secrets providers. Pure.

The engine (net/url of Go, gocloud.dev, lib/pq) and scaler (urllib, obstore, psycopg) read the same URL, and differ in
what they make of an odd one. So each part of a URL has a known shape in which all of them see the same host, and
every other URL is refused. Sources: gocloud.dev (aws/aws.go, blob/*blob, secrets/*), lib/pq (connector.go), pulumi
(pkg/backend/diy: backend.go, postgres/bucket.go).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from scaler.support.hosts import host_of, is_loopback
from scaler.support.text import quoted
from scaler.support.values import dataclass

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])"
_PLACE = rf"{_HOST}(?::[0-9]{{1,5}})?"
_FOLDERS = r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9_.~=,$-]*)*"
"""Not `..`, which some readers resolve and others send."""
_BUCKET = rf"[A-Za-z0-9$][A-Za-z0-9_.-]*{_FOLDERS}"
_USER = r"[A-Za-z0-9_.~%$!*'()+,;=-]+"
_SERVERS = rf"{_HOST}(?:,{_HOST})*"

_BOOLEAN = "1|t|T|TRUE|true|True|0|f|F|FALSE|false|False"
"""As Go reads a boolean."""
_TRUE = frozenset({"1", "t", "true"})
_NAME = r"[A-Za-z0-9_.@/=,-]+"

_AWS = {
    "region": "[a-z0-9-]+",
    "endpoint": rf"(?:https?://)?{_PLACE}{_FOLDERS}",
    "profile": _NAME,
    "role": r"arn:[A-Za-z0-9_.@/=,:+-]+",
    "awssdk": "v1|v2",
    "rate_limiter_capacity": "[0-9]+",
    "request_checksum_calculation": "when_supported|when_required",
    "response_checksum_validation": "when_supported|when_required",
} | dict.fromkeys(("anonymous", "dualstack", "fips", "hostname_immutable"), _BOOLEAN)

_PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "file": {"no_tmp_dir": _BOOLEAN, "create_dir": _BOOLEAN, "metadata": "skip", "dir_file_mode": "[0-7]+"},
    "s3": _AWS
    | {"ssetype": "[A-Za-z0-9:]+", "kmskeyid": "[A-Za-z0-9_:/-]+"}
    | dict.fromkeys(("accelerate", "use_path_style", "s3ForcePathStyle", "disable_https", "disableSSL"), _BOOLEAN),
    "azblob": {
        "storage_account": "[a-z0-9]{3,24}",
        "domain": _PLACE,
        "protocol": "http|https",
        "cdn": _BOOLEAN,
        "localemu": _BOOLEAN,
    },
    "gs": {
        "universe_domain": _HOST,
        "anonymous": _BOOLEAN,
        "access_id": r"-|[A-Za-z0-9.-]+@[A-Za-z0-9.-]+",
    },
    # None that names a file to write, another host than `host` does, or settings of the session.
    "postgres": {
        "host": rf"{_SERVERS}|/[A-Za-z0-9_./-]+",
        "port": "[0-9]{1,5}",
        "user": _NAME,
        "table": "[A-Za-z0-9_.]{1,100}",
        "sslmode": "disable|allow|prefer|require|verify-ca|verify-full",
        "sslrootcert": "[A-Za-z0-9_./~-]+",
        "sslnegotiation": "postgres|direct",
        "sslsni": "0|1",
        "ssl_min_protocol_version": r"TLSv1(?:\.[0-3])?",
        "ssl_max_protocol_version": r"TLSv1(?:\.[0-3])?",
        "connect_timeout": "[0-9]+",
        "application_name": "[A-Za-z0-9_.-]+",
        "target_session_attrs": "[a-z-]+",
        "load_balance_hosts": "disable|random",
    },
    "https": {},
    "http": {},
    "awskms": _AWS | {"context_": "[A-Za-z0-9_.@/=,: -]*"},
    "gcpkms": {"additional_authenticated_data": "[A-Za-z0-9_=-]+"},
    "azurekeyvault": {"algorithm": "[A-Za-z0-9-]+"},
    "hashivault": {"engine": "[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*"},
}
"""The parameters of each scheme, and the shape of their values."""

_PLACES: Mapping[str, str] = {
    "file": r"[^\x00-\x1f\x7f]*",
    "s3": _BUCKET,
    "azblob": _BUCKET,
    "gs": _BUCKET,
    "postgres": rf"(?:(?P<user>{_USER})(?::{_USER})?@)?(?P<hosts>{_SERVERS})?(?P<port>:[0-9]{{1,5}})?"
    r"(?:/[A-Za-z0-9_.-]*)?",
    "https": rf"{_PLACE}{_FOLDERS}",
    "http": rf"{_PLACE}{_FOLDERS}",
    "awskms": r"/{0,1}[A-Za-z0-9_:-]+(?:/[A-Za-z0-9_-]+)*",
    "gcpkms": r"projects(?:/[A-Za-z0-9_.:-]*[A-Za-z0-9_-])+",
    "azurekeyvault": rf"{_HOST}/keys(?:/[A-Za-z0-9-]+){{1,2}}",
    "hashivault": "[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*",
}
"""The shape of what is between `://` and `?`."""

BACKENDS = ("file", "s3", "gs", "azblob", "postgres", "https", "http")
PROVIDERS = ("awskms", "azurekeyvault", "gcpkms", "hashivault")

_VENDORS_OWN = {
    "azblob": frozenset({"blob.core.windows.net", "blob.core.usgovcloudapi.net", "blob.core.chinacloudapi.cn"}),
    "gs": frozenset({"googleapis.com"}),
}
"""The domains of the vendors themselves (Microsoft: national clouds; Google: the default universe)."""

_VAULTS = re.compile(r"[a-z0-9-]+\.vault\.(azure\.net|usgovcloudapi\.net|azure\.cn)")


@dataclass(frozen=True)
class Destination:
    """Where a URL sends the state, its secrets and the credentials for them."""

    hosts: frozenset[str] = frozenset()
    """The hosts that it names, in lower case; not the vendor's own. This machine's socket is `localhost`."""
    is_open: bool = False
    """Whether it asks for a connection without TLS, or with TLS only if the other side wants it."""

    @property
    def is_clear(self) -> bool:
        """Return whether what is sent can be read on the way to another machine. Without a host it is the vendor's."""
        return self.is_open and not (self.hosts and all(map(is_loopback, self.hosts)))

    def foreign(self, allowed: frozenset[str]) -> list[str]:
        """Return the hosts, sorted, that are neither this machine's nor allowed."""
        return sorted(host for host in self.hosts - allowed if not is_loopback(host))


def backend_of(url: str) -> Destination:
    """Return where the state backend at a URL is; ValueError, which says why, for a URL that is not understood."""
    return _destination(url, BACKENDS)


def provider_of(url: str) -> Destination:
    """Return where a secrets provider's URL sends a stack's key; ValueError for a URL that is not understood."""
    return _destination(url, PROVIDERS)


def cloud_of(url: str) -> Destination:
    """Return where a Pulumi Cloud is; ValueError for a URL that is not understood."""
    return _destination(url, ("https", "http"))


def _destination(url: str, schemes: tuple[str, ...]) -> Destination:
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in schemes:
        raise ValueError(f"it does not begin with one of {', '.join(f'{known}://' for known in schemes)}")
    place, _, query = rest.partition("?")
    found = re.fullmatch(_PLACES[scheme], place)
    if not found:
        raise ValueError("what is between :// and the parameters has a shape that is not read the same everywhere")
    given = _parameters(scheme, query) if query else {}
    return _READERS[scheme](found, given)


def _parameters(scheme: str, query: str) -> dict[str, str]:
    given: dict[str, str] = {}
    known = _PARAMETERS[scheme]
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise ValueError("its parameters are not of the form name=value&name=value") from None
    for name, value in pairs:
        shape = known.get("context_" if name.startswith("context_") else name)
        if shape is None:
            raise ValueError(f"its parameter {quoted(name)} is none of {', '.join(sorted(known)) or 'none'}")
        if name in given:
            raise ValueError(f"its parameter {name} is there twice")
        if not re.fullmatch(shape, value):
            raise ValueError(f"the value of its parameter {quoted(name)} is none that is read the same everywhere")
        given[name] = value
    return given


def _hosts(*places: str) -> frozenset[str]:
    """Return the hosts of these places; an empty place is none."""
    found = frozenset(host_of(place if "://" in place else f"//{place}") for place in places if place)
    if "" in found:
        raise ValueError("it names a host that cannot be one")
    return found


def _is_true(given: Mapping[str, str], *names: str) -> bool:
    return any(given.get(name, "").lower() in _TRUE for name in names)


def _at_vendor(place: re.Match[str], given: Mapping[str, str]) -> Destination:
    return Destination()


def _aws(place: re.Match[str], given: Mapping[str, str]) -> Destination:
    endpoint = given.get("endpoint", "")
    is_open = _is_true(given, "disable_https", "disableSSL") or endpoint.startswith("http://")
    return Destination(_hosts(endpoint), is_open)


def _azure(place: re.Match[str], given: Mapping[str, str]) -> Destination:
    hosts = _hosts(given.get("domain", "")) - _VENDORS_OWN["azblob"]
    return Destination(hosts, given.get("protocol") == "http")


def _google(place: re.Match[str], given: Mapping[str, str]) -> Destination:
    return Destination(_hosts(given.get("universe_domain", "")) - _VENDORS_OWN["gs"])


def _postgres(place: re.Match[str], given: Mapping[str, str]) -> Destination:
    for part, name in (("hosts", "host"), ("port", "port"), ("user", "user")):
        if place[part] and name in given:
            raise ValueError(f"it names the {name} twice, before and after the ?")
    named = place["hosts"] or given.get("host", "")
    hosts = frozenset({"localhost"}) if named.startswith("/") else _hosts(*named.split(","))
    return Destination(hosts, given.get("sslmode") in ("disable", "allow", "prefer"))


def _web(place: re.Match[str], given: Mapping[str, str]) -> Destination:
    return Destination(_hosts(place[0]))


def _plain_web(place: re.Match[str], given: Mapping[str, str]) -> Destination:
    return Destination(_hosts(place[0]), is_open=True)


def _vault(place: re.Match[str], given: Mapping[str, str]) -> Destination:
    hosts = _hosts(place[0])
    return Destination() if all(map(_VAULTS.fullmatch, hosts)) else Destination(hosts)


_READERS: Mapping[str, Callable[[re.Match[str], Mapping[str, str]], Destination]] = {
    "file": _at_vendor,
    "s3": _aws,
    "azblob": _azure,
    "gs": _google,
    "postgres": _postgres,
    "https": _web,
    "http": _plain_web,
    "awskms": _aws,
    "azurekeyvault": _vault,
    "gcpkms": _at_vendor,
    # The server and its token are in the environment: VAULT_ADDR and VAULT_TOKEN.
    "hashivault": _at_vendor,
}
