"""The rules, as plain functions: from a server, or from all of them, and settings to violations.

Nothing here knows Pulumi. A rule without settings is skipped. Each setting is a parameter, so that an
unknown one is an error: a misspelled setting must not disable a rule. The first line of a rule's
docstring is the start of its violations' texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

SERVERS = {"hcloud:index/server:Server", "digitalocean:index/droplet:Droplet"}
"""The resource types that are servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The properties of a server that the rules check, the same for every cloud."""

    name: str
    type: str
    location: str
    image: str
    labels: Mapping[str, str]
    """DigitalOcean: the tags; `key:value` is a label, any other has an empty value."""
    public_ipv4: bool


def read_server(name: str, properties: Mapping[str, Any]) -> Server:
    """Read a server from the properties of its resource."""
    if "size" in properties:
        return Server(
            name=name,
            type=properties["size"],
            location=properties.get("region") or "",
            image=_text(properties["image"]),
            labels={tag.partition(":")[0]: tag.partition(":")[2] for tag in properties.get("tags") or ()},
            public_ipv4=properties.get("publicNetworking") is not False,
        )
    networks = properties.get("publicNets") or [{}]
    return Server(
        name=name,
        type=properties["serverType"],
        location=properties.get("location") or "",
        image=_text(properties.get("image") or ""),
        labels=dict(properties.get("labels") or {}),
        public_ipv4=networks[0].get("ipv4Enabled", True) is not False,
    )


# ---------------------------------------------------------------------------------------------
# One server


def allowed_types(server: Server, *, types: Sequence[str]) -> Iterator[str]:
    """Servers are of allowed types."""
    if server.type not in types:
        yield f"{server.type} is not allowed; allowed: {_listed(types)}"


def allowed_locations(server: Server, *, locations: Sequence[str]) -> Iterator[str]:
    """Servers are at allowed locations.

    DigitalOcean: regions.
    """
    if server.location not in locations:
        yield f"{server.location} is not allowed; allowed: {_listed(locations)}"


def allowed_images(server: Server, *, images: Sequence[object]) -> Iterator[str]:
    """Servers are made from allowed images.

    These are ids, vendors' names, or patterns such as `debian-*`.
    """
    patterns = [_text(image) for image in images]
    if not any(fnmatchcase(server.image, pattern) for pattern in patterns):
        yield f"the image {server.image} is not allowed; allowed: {_listed(patterns)}"


def required_labels(server: Server, *, labels: Sequence[str]) -> Iterator[str]:
    """Servers have the required labels.

    A label is `key`, with any value but none, or `key=value`.
    """
    for label in labels:
        key, given, value = label.partition("=")
        has = server.labels.get(key, "")
        if not has or (given and has != value):
            yield f"the label {label} is missing" + (f"; {key} is {has}" if has else "")


def public_ipv4(server: Server, *, allowed: bool) -> Iterator[str]:
    """Servers have no public IPv4 address."""
    if server.public_ipv4 and not allowed:
        yield "a public IPv4 address is not allowed"


# ---------------------------------------------------------------------------------------------
# The whole stack


def largest_stack(servers: Sequence[Server], *, most: object) -> Iterator[str]:
    """The stack is not too large."""
    limit = _number(most)
    if len(servers) > limit:
        yield f"{len(servers)} servers are {len(servers) - limit} more than {limit}"


def monthly_cost(servers: Sequence[Server], *, most: object, prices: Mapping[str, object]) -> Iterator[str]:
    """The stack is not too expensive.

    `prices` are per month, by type.
    """
    unknown = sorted({server.type for server in servers} - prices.keys())
    if unknown:
        yield f"no price is known of {_listed(unknown)}; add it to the policy's prices"
        return
    limit = _number(most)
    total = sum((_number(prices[server.type]) for server in servers), Decimal(0))
    if total > limit:
        yield f"{len(servers)} servers for {total} in a month are {total - limit} above {limit}"


# ---------------------------------------------------------------------------------------------
# Values


def _number(value: object) -> Decimal:
    """Read a number from JSON or YAML: `10.0` and `"10"` are 10, and `"12.50"` keeps its digits."""
    number = Decimal(str(value))
    return number.quantize(Decimal(1)) if number == number.to_integral_value() else number


def _text(value: object) -> str:
    """Write an image as text. Its id may be a number, and gRPC sends whole numbers as floats."""
    return f"{value:.0f}" if isinstance(value, int | float) else str(value)


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values)
