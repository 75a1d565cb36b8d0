"""Where the embedded cloud deviates from the vendors' documents on purpose, and the source that says so."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.vendor_schemas import Deviation


@dataclass(frozen=True, slots=True)
class Known:
    """Deviations that are right. The three fields are regular expressions for the whole of a deviation's."""

    operation: str
    where: str
    what: str
    source: str

    def covers(self, deviation: Deviation) -> bool:
        """Whether a deviation is of this kind."""
        pairs = (
            (self.operation, deviation.operation),
            (self.where, deviation.where),
            (self.what, deviation.what),
        )
        return all(re.fullmatch(pattern, text) for pattern, text in pairs)


_UNKNOWN = "a field that the document does not have"

KNOWN: tuple[Known, ...] = (
    Known(
        r"(GET|POST|PUT) /v1/(servers|primary_ips).* 20[01]",
        r"(servers?|primary_ips?)(/\*)?",
        "'datacenter' is a required property",
        "Hetzner's changelog, 2026-07-01: servers and primary IPs have no `datacenter`; the document is of 2026-06-14",
    ),
    Known(
        r"(GET|POST|PUT) /v1/primary_ips.* 20[01]",
        r"primary_ips?(/\*)?/assignee_type",
        r"'unassigned' does not fit enum .*",
        "Hetzner's changelog, 2026-04-27: as of 2026-08-01 the type of an IP that is not assigned is `unassigned`",
    ),
    Known(
        "POST /v1/primary_ips request",
        "",
        "'assignee_type' is a required property",
        "Hetzner's changelog, 2026-04-27: `assignee_type` is optional",
    ),
    Known(
        "GET /v1/pricing 200",
        "pricing",
        "'floating_ip' is a required property",
        "Hetzner's API reference of 2026-10: `floating_ips` took its place",
    ),
    Known(
        "POST /v1/servers request",
        r"image|server_type|ssh_keys/\*",
        "int is not of type string",
        "hcloud-go, schema.IDOrName: an id is sent as a number; terraform-provider-hcloud v1.68.0 and hcloud-python do",
    ),
    Known(
        r"POST /v1/servers/{id}/actions/change_type request",
        "server_type",
        "int is not of type string",
        "hcloud-go, schema.IDOrName: an id is sent as a number",
    ),
    Known(
        "POST /v1/servers request",
        "location",
        "null is not of type string",
        "hcloud-python and others send null for what is not chosen",
    ),
    Known(
        r"POST /v1/networks/{id}/actions/add_subnet request",
        "gateway",
        _UNKNOWN,
        "hcloud-python 2.27, networks/client.py sends it",
    ),
    Known(
        "GET /v2/account 200",
        "account/(volume|reserved_ip)_limit",
        _UNKNOWN,
        "godo v1.202.0, account.go",
    ),
    Known(
        r"(GET|POST) /v2/tags.* 20[01]",
        r"tags?(/\*)?/resources/images",
        _UNKNOWN,
        "godo v1.202.0, tags.go: TaggedImagesResources",
    ),
    Known(
        r"(GET|POST) /v2/droplets.* 20[02]",
        r"droplets?(/\*)?/status",
        "'off' does not fit enum .*False.*",
        "digitalocean/openapi: `off` stands there without quotes, and YAML 1.1 reads it as false",
    ),
    Known(
        r"POST /v2/images/{image_id}/actions 201|GET /v2/images/{image_id}/actions/{action_id} 200",
        "action",
        _UNKNOWN,
        "godo v1.202.0, image_actions.go: actionRoot, as of all other actions",
    ),
    Known(
        r"POST /v2/droplets/actions request",
        "",
        r"oneOf: .* is valid under each of .*",
        "digitalocean/openapi: an action without parameters fits two of the document's alternatives",
    ),
    Known(
        "POST /v2/droplets request",
        "ssh_keys|region",
        "null is not of type (array|string)",
        "terraform-provider-digitalocean 401992a1 sends `ssh_keys: null`; a null is what was not chosen",
    ),
    Known(
        "POST /v2/tags 400",
        ".*",
        f"{_UNKNOWN}|'(error|root_causes)' is a required property",
        "a guess: of a body that is no JSON object, tags are told in the shape of all other errors",
    ),
)
