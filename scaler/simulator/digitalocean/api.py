"""DigitalOcean's API v2: its conventions and its routes, each with the function that answers it."""

from __future__ import annotations

import re
import uuid

from scaler.simulator.bodies import Kind, anything, flag, mapping, number, record, several, text, text_or_number
from scaler.simulator.call import Api, ApiError
from scaler.simulator.digitalocean import account, droplets, images, load_balancers, monitoring
from scaler.simulator.digitalocean.replies import CLOUD, not_found, refused
from scaler.simulator.digitalocean.shapes import Json
from scaler.simulator.exchange import route

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    412: "precondition_failed",
    422: "unprocessable_entity",
    429: "too_many_requests",
    500: "server_error",
    502: "bad_gateway",
    503: "service_unavailable",
    504: "gateway_timeout",
}


def _error_body(error: ApiError, request_id: str) -> Json:
    return {"id": error.code, "message": error.message, "request_id": request_id}


_FIELDS: dict[str, Kind] = {
    "algorithm": text,
    "backup_policy": record(plan=text, weekday=text, hour=number),
    "backups": flag,
    "description": text,
    "disk": flag,
    "distribution": text,
    "droplet_id": number,
    "droplet_ids": several(number),
    "forwarding_rules": several(mapping),
    "image": text_or_number,
    "ip_range": text,
    "ipv6": flag,
    "monitoring": flag,
    "default": flag,
    "private_networking": flag,
    "public_networking": flag,
    "name": text,
    "names": several(text),
    "public_key": text,
    "region": text,
    "resources": several(anything),
    "size": text,
    "ssh_keys": several(text_or_number),
    "tag": text,
    "tags": several(anything),
    "type": text,
    "user_data": text,
    "volumes": several(text),
    "vpc_uuid": text,
    "with_droplet_agent": flag,
}

API = Api(
    cloud=CLOUD,
    error_body=_error_body,
    request_id=lambda: str(uuid.uuid4()),
    request_id_header="x-request-id",
    codes=CODES,
    unauthorized=ApiError(401, "unauthorized", "Unable to authenticate you"),
    readonly=ApiError(403, "forbidden", "You do not have access for the attempted action."),
    rate_limited=ApiError(429, "too_many_requests", "API Rate limit exceeded."),
    not_found=not_found(),
    well_formed=bool,
    fields=_FIELDS,
    wrong_type=lambda field: refused(f"{field} has the wrong type"),
)

_ENDPOINTS = (
    ("GET", "/v2/droplets", droplets.list_droplets),
    ("POST", "/v2/droplets", droplets.create_droplets),
    ("DELETE", "/v2/droplets", droplets.delete_droplets),
    ("POST", "/v2/droplets/actions", droplets.act_on_droplets),
    ("GET", "/v2/droplets/{id:int}", droplets.get_droplet),
    ("DELETE", "/v2/droplets/{id:int}", droplets.delete_droplet),
    ("GET", "/v2/droplets/{id:int}/snapshots", droplets.list_droplet_snapshots),
    ("GET", "/v2/droplets/{id:int}/kernels", droplets.list_of_droplet("kernels")),
    ("GET", "/v2/droplets/{id:int}/neighbors", droplets.list_neighbors),
    ("GET", "/v2/droplets/{id:int}/backups", droplets.list_of_droplet("backups")),
    ("GET", "/v2/droplets/{id:int}/firewalls", droplets.list_of_droplet("firewalls")),
    ("GET", "/v2/droplets/{id:int}/actions", droplets.list_droplet_actions),
    ("POST", "/v2/droplets/{id:int}/actions", droplets.act_on_droplet),
    ("GET", "/v2/droplets/{id:int}/actions/{action:int}", droplets.get_droplet_action),
    ("GET", "/v2/actions", droplets.list_actions),
    ("GET", "/v2/actions/{id:int}", droplets.get_action),
    ("GET", "/v2/images", images.list_images),
    ("GET", "/v2/images/{key}", images.get_image),
    ("PUT", "/v2/images/{key}", images.rename_image),
    ("DELETE", "/v2/images/{key}", images.delete_image),
    ("POST", "/v2/images/{id:int}/actions", images.act_on_image),
    ("GET", "/v2/images/{id:int}/actions", images.list_image_actions),
    ("GET", "/v2/images/{id:int}/actions/{action:int}", images.get_image_action),
    ("GET", "/v2/snapshots", images.list_snapshots),
    ("GET", "/v2/snapshots/{id:int}", images.get_snapshot),
    ("DELETE", "/v2/snapshots/{id:int}", images.delete_snapshot),
    ("GET", "/v2/monitoring/metrics/droplet/cpu", monitoring.get_cpu),
    *(("GET", f"/v2/{key}", account.list_nothing(key)) for key in ("firewalls", "volumes")),
    ("GET", "/v2/load_balancers", load_balancers.list_load_balancers),
    ("POST", "/v2/load_balancers", load_balancers.create_load_balancer),
    ("GET", "/v2/load_balancers/{id}", load_balancers.get_load_balancer),
    ("DELETE", "/v2/load_balancers/{id}", load_balancers.delete_load_balancer),
    ("GET", "/v2/account", account.get_account),
    ("GET", "/v2/sizes", account.list_sizes),
    ("GET", "/v2/regions", account.list_regions),
    ("GET", "/v2/tags", account.list_tags),
    ("POST", "/v2/tags", account.create_tag),
    ("GET", "/v2/tags/{name}", account.get_tag),
    ("DELETE", "/v2/tags/{name}", account.delete_tag),
    ("POST", "/v2/tags/{name}/resources", account.tag_resources),
    ("DELETE", "/v2/tags/{name}/resources", account.untag_resources),
    ("GET", "/v2/account/keys", account.list_keys),
    ("POST", "/v2/account/keys", account.create_key),
    ("GET", "/v2/account/keys/{key}", account.get_key),
    ("PUT", "/v2/account/keys/{key}", account.rename_key),
    ("DELETE", "/v2/account/keys/{key}", account.delete_key),
    ("GET", "/v2/projects", account.list_projects),
    ("GET", "/v2/projects/{id}", account.get_project),
    ("GET", "/v2/projects/{id}/resources", account.list_project_resources),
    ("POST", "/v2/projects/{id}/resources", account.assign_to_project),
    ("GET", "/v2/vpcs", account.list_vpcs),
    ("POST", "/v2/vpcs", account.create_vpc),
    ("GET", "/v2/vpcs/{id}", account.get_vpc),
    ("GET", "/v2/vpcs/{id}/members", account.list_vpc_members),
    *((method, "/v2/vpcs/{id}", account.update_vpc) for method in ("PUT", "PATCH")),
    ("DELETE", "/v2/vpcs/{id}", account.delete_vpc),
    ("GET", "/v2/reserved_ips", account.list_reserved_ips),
    ("POST", "/v2/reserved_ips", account.create_reserved_ip),
    ("GET", "/v2/reserved_ips/{ip}", account.get_reserved_ip),
    ("DELETE", "/v2/reserved_ips/{ip}", account.delete_reserved_ip),
    ("POST", "/v2/reserved_ips/{ip}/actions", account.act_on_reserved_ip),
)

NOT_SERVED = re.compile(
    r"/v2/(firewalls|volumes|load_balancers|reports|databases|kubernetes|domains|apps|certificates|cdn|registr(y|ies)|functions"
    r"|floating_ips|reserved_ipv6|customers|invoices|monitoring|uptime|spaces|vpc_peerings|vpcs/[^/]+/\w+|images"
    r"|projects|reserved_ips/[^/]+/actions|1-clicks|add-ons|billing|byoip_prefixes|gen-ai|nfs|partner_network_connect"
    r"|security|vpc_nat_gateways|action-gateway|agents|dedicated-inferences|insights|microvms|organizations"
    r"|vector-databases|droplets/autoscale|droplets/backups|droplets/[0-9]+/\w+)\b"
)
"""Parts of the API that exist at DigitalOcean and not here."""

routes = [route(API, method, path, handler) for method, path, handler in _ENDPOINTS]
