"""A stand-in for the official plugins: `python -m tests.support.official.plugin hetzner`.

A process that the engine starts itself, with the official plugins' habits as they were recorded: it
takes endpoint and token from its configuration or its environment, asks the cloud for one server at a
time and waits until it runs, knows nothing of plans, keeps the recorded properties, and words its
errors as hcloud-go and godo do.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any

import grpc
import requests
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from scaler.simulator.profiles import CloudName
from tests.support.official.properties import Properties, hashed, officially

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


class AnswerError(Exception):
    """What the cloud refused, in the words of its Go client."""


class Vendor:
    """What both stand-ins need of a vendor's API."""

    cloud: CloudName
    package: str
    version: str
    computed: tuple[str, ...]
    force_new: frozenset[str]
    labels: str

    def __init__(self) -> None:
        self.session = requests.Session()
        self.endpoint = ""

    def configure(self, variables: Mapping[str, str]) -> None:
        token = variables.get(f"{self.package}:config:token") or self._env_token()
        if not token:
            raise AnswerError("missing token")
        self.endpoint = (variables.get(f"{self.package}:config:endpoint") or self._env_endpoint()).rstrip("/")
        self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            response = self.session.request(method, self.endpoint + path, json=body, timeout=30)
        except requests.RequestException as error:
            raise AnswerError(f'{method.title()} "{self.endpoint}{path}": EOF ({type(error).__name__})') from error
        if response.ok:
            return response.json() if response.content else {}
        raise AnswerError(self._words(method, path, response))

    def wait(self, id: str, status: str) -> Any:
        while (found := self.get(id))["status"] != status:
            time.sleep(0.05)
        return found

    def _env_token(self) -> str:
        raise NotImplementedError

    def _env_endpoint(self) -> str:
        raise NotImplementedError

    def _words(self, method: str, path: str, response: requests.Response) -> str:
        raise NotImplementedError

    def create(self, inputs: Properties) -> tuple[str, Any]:
        raise NotImplementedError

    def get(self, id: str) -> Any:
        raise NotImplementedError

    def delete(self, id: str) -> None:
        raise NotImplementedError

    def relabel(self, id: str, inputs: Properties, olds: Properties) -> None:
        raise NotImplementedError

    def observed(self, found: Any) -> Properties:
        raise NotImplementedError


class Hetzner(Vendor):
    """`hcloud_server`."""

    cloud: CloudName = "hetzner"
    package = "hcloud"
    version = "1.43.3"
    labels = "labels"
    computed = ("status", "ipv4Address", "ipv6Address", "ipv6Network", "primaryDiskSize", "backupWindow")
    force_new = frozenset({"image", "location", "userData", "sshKeys", "datacenter"})

    def _env_token(self) -> str:
        return os.environ.get("HCLOUD_TOKEN", "")

    def _env_endpoint(self) -> str:
        return os.environ.get("HCLOUD_ENDPOINT") or "https://api.hetzner.cloud/v1"

    def _words(self, method: str, path: str, response: requests.Response) -> str:
        try:
            error = response.json()["error"]
            return f"{error['message']} ({error['code']}, 1d1d17e504e28a4c)"
        except (ValueError, KeyError):
            return f"hcloud: server responded with status code {response.status_code}"

    def create(self, inputs: Properties) -> tuple[str, Any]:
        net = (inputs.get("publicNets") or [{}])[0]
        body = {
            "name": inputs["name"],
            "server_type": inputs["serverType"],
            "location": inputs["location"],
            "image": inputs["image"],
            "labels": inputs.get("labels") or {},
            "ssh_keys": [int(key) if str(key).isdigit() else key for key in inputs.get("sshKeys") or ()],
            "networks": [int(network["networkId"]) for network in inputs.get("networks") or ()],
            "firewalls": [{"firewall": int(firewall)} for firewall in inputs.get("firewallIds") or ()],
            "public_net": {"enable_ipv4": net.get("ipv4Enabled", True), "enable_ipv6": net.get("ipv6Enabled", True)},
        }
        if inputs.get("userData"):
            body["user_data"] = inputs["userData"]
        if inputs.get("placementGroupId"):
            body["placement_group"] = int(inputs["placementGroupId"])
        made = str(self.call("POST", "/servers", body)["server"]["id"])
        return made, self.wait(made, "running")

    def get(self, id: str) -> Any:
        return self.call("GET", f"/servers/{id}")["server"]

    def delete(self, id: str) -> None:
        self.call("DELETE", f"/servers/{id}")

    def relabel(self, id: str, inputs: Properties, olds: Properties) -> None:
        self.call("PUT", f"/servers/{id}", {"labels": inputs.get("labels") or {}})

    def observed(self, found: Any) -> Properties:
        ipv6 = (found["public_net"]["ipv6"] or {}).get("ip", "")
        return {
            "name": found["name"],
            "status": found["status"],
            "labels": found["labels"],
            "ipv4Address": (found["public_net"]["ipv4"] or {}).get("ip", ""),
            "ipv6Address": ipv6.replace("/64", "1"),
            "ipv6Network": ipv6 or "<nil>",
            "primaryDiskSize": found["primary_disk_size"],
            "backupWindow": found["backup_window"] or "",
        }


class DigitalOcean(Vendor):
    """`digitalocean_droplet`."""

    cloud: CloudName = "digitalocean"
    package = "digitalocean"
    version = "4.84.1"
    labels = "tags"
    computed = (
        *("status", "ipv4Address", "ipv4AddressPrivate", "ipv6Address", "createdAt", "disk", "dropletUrn", "locked"),
        *("memory", "vcpus", "priceHourly", "priceMonthly", "privateNetworking", "publicNetworking", "vpcUuid"),
    )
    force_new = frozenset({"image", "region", "userData", "sshKeys", "monitoring", "vpcUuid", "publicNetworking"})

    def _env_token(self) -> str:
        return os.environ.get("DIGITALOCEAN_TOKEN") or os.environ.get("DIGITALOCEAN_ACCESS_TOKEN", "")

    def _env_endpoint(self) -> str:
        return os.environ.get("DIGITALOCEAN_API_URL") or "https://api.digitalocean.com"

    def _words(self, method: str, path: str, response: requests.Response) -> str:
        try:
            said = response.json()["message"]
        except (ValueError, KeyError):
            said = ""
        request = '(request "4f3c")'
        return f"Error creating droplet: {method} {self.endpoint}{path}: {response.status_code} {request} {said}"

    def create(self, inputs: Properties) -> tuple[str, Any]:
        image, keys = str(inputs["image"]), inputs.get("sshKeys") or []
        body = {
            "name": inputs["name"],
            "size": inputs["size"],
            "region": inputs["region"],
            "image": int(image) if image.isdigit() else image,
            "tags": inputs.get("tags") or [],
            "ssh_keys": [int(key) if str(key).isdigit() else key for key in keys],
            "monitoring": bool(inputs.get("monitoring")),
            "ipv6": bool(inputs.get("ipv6")),
        }
        optional = {"user_data": inputs.get("userData"), "vpc_uuid": inputs.get("vpcUuid")}
        body |= {name: value for name, value in optional.items() if value}
        made = str(self.call("POST", "/v2/droplets", body)["droplet"]["id"])
        return made, self.wait(made, "active")

    def get(self, id: str) -> Any:
        return self.call("GET", f"/v2/droplets/{id}")["droplet"]

    def delete(self, id: str) -> None:
        self.call("DELETE", f"/v2/droplets/{id}")

    def relabel(self, id: str, inputs: Properties, olds: Properties) -> None:
        resource = {"resources": [{"resource_id": id, "resource_type": "droplet"}]}
        new, old = set(inputs.get("tags") or ()), set(olds.get("tags") or ())
        for tag in sorted(new - old):
            self.call("POST", "/v2/tags", {"name": tag})
            self.call("POST", f"/v2/tags/{tag}/resources", resource)
        for tag in sorted(old - new):
            self.call("DELETE", f"/v2/tags/{tag}/resources", resource)

    def observed(self, found: Any) -> Properties:
        addresses = {(net["type"], "v4"): net["ip_address"] for net in found["networks"]["v4"]}
        addresses |= {(net["type"], "v6"): net["ip_address"] for net in found["networks"]["v6"]}
        return {
            "name": found["name"],
            "status": found["status"],
            "tags": sorted(found["tags"]),
            "locked": found["locked"],
            "createdAt": found["created_at"],
            "disk": found["disk"],
            "memory": found["memory"],
            "vcpus": found["vcpus"],
            "dropletUrn": f"do:droplet:{found['id']}",
            "vpcUuid": found["vpc_uuid"],
            "ipv4Address": addresses.get(("public", "v4"), ""),
            "ipv4AddressPrivate": addresses.get(("private", "v4"), ""),
            "ipv6Address": addresses.get(("public", "v6"), ""),
            "priceHourly": found["size"]["price_hourly"],
            "priceMonthly": found["size"]["price_monthly"],
        }


VENDORS: Mapping[str, type[Vendor]] = {"hetzner": Hetzner, "digitalocean": DigitalOcean}


def answering(method: Callable[..., Any]) -> Callable[..., Any]:
    def answer(self: Plugin, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request)
        except AnswerError as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"1 error occurred:\n\t* {error}\n\n")

    return answer


class Plugin(provider_pb2_grpc.ResourceProviderServicer):
    """One resource type, served as the bridge does."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor

    @answering
    def GetPluginInfo(self, request: Any) -> Any:
        return plugin_pb2.PluginInfo(version=self.vendor.version)

    @answering
    def CheckConfig(self, request: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    @answering
    def DiffConfig(self, request: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    @answering
    def Configure(self, request: Any) -> Any:
        self.vendor.configure(request.variables)
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    @answering
    def Cancel(self, request: Any) -> Any:
        return empty_pb2.Empty()

    @answering
    def Check(self, request: Any) -> Any:
        news = unpack(request.news)
        added = {"resizeDisk": True} if self.vendor.cloud == "digitalocean" and "resizeDisk" not in news else {}
        return provider_pb2.CheckResponse(inputs=pack({**news, **added, "__defaults": sorted(added)}))

    @answering
    def Diff(self, request: Any) -> Any:
        olds, inputs, news = unpack(request.olds), unpack(request.old_inputs), unpack(request.news)
        changed = sorted(
            key
            for key in (inputs.keys() | news.keys()) - {"__defaults"} - set(request.ignoreChanges)
            if self._state(key, news.get(key)) != self._state(key, olds.get(key))
        )
        kind = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=kind, diffs=changed, replaces=[key for key in changed if key in self.vendor.force_new]
        )

    def _state(self, key: str, value: Any) -> Any:
        """A value as the provider compares it: user data by its hash, a network by its id, no value by its default."""
        if key == "userData" and value and len(value) not in (28, 40):
            return hashed(self.vendor.cloud, value)
        if key == "networks":
            return sorted(network["networkId"] for network in value or ())
        if key == "publicNets":
            return [(net.get("ipv4Enabled", True), net.get("ipv6Enabled", True)) for net in value or ()]
        return value or None

    @answering
    def Create(self, request: Any) -> Any:
        inputs = unpack(request.properties)
        if request.preview:
            unknown = dict.fromkeys(set(self.vendor.computed) - inputs.keys(), UNKNOWN)
            return provider_pb2.CreateResponse(properties=pack({**inputs, **unknown}))
        made, found = self.vendor.create(inputs)
        return provider_pb2.CreateResponse(id=made, properties=pack(self._outputs(made, inputs, found)))

    @answering
    def Read(self, request: Any) -> Any:
        olds, inputs = unpack(request.properties), unpack(request.inputs)
        try:
            found = self.vendor.get(request.id)
        except AnswerError as error:
            if "not_found" in str(error) or ": 404 " in str(error):
                return provider_pb2.ReadResponse()
            raise
        outputs = {**self._outputs(request.id, inputs, found)}
        outputs["userData"] = self._state("userData", olds.get("userData"))
        kept = {key: outputs.get(key, value) for key, value in inputs.items()}
        return provider_pb2.ReadResponse(id=request.id, properties=pack(outputs), inputs=pack(kept))

    @answering
    def Update(self, request: Any) -> Any:
        olds, news = unpack(request.olds), unpack(request.news)
        if not request.preview:
            self.vendor.relabel(request.id, news, olds)
        return provider_pb2.UpdateResponse(properties=pack({**olds, self.vendor.labels: news.get(self.vendor.labels)}))

    @answering
    def Delete(self, request: Any) -> Any:
        self.vendor.delete(request.id)
        while True:
            try:
                self.vendor.get(request.id)
            except AnswerError:
                return empty_pb2.Empty()
            time.sleep(0.05)

    def _outputs(self, id: str, inputs: Properties, found: Any) -> Properties:
        given = {key: value for key, value in inputs.items() if key != "__defaults"}
        return officially(self.vendor.cloud, id, inputs, {**given, **self.vendor.observed(found)})


def unpack(struct: struct_pb2.Struct) -> Properties:
    return dict(json_format.MessageToDict(struct))


def pack(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(dict(properties))
    return struct


def main() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Plugin(VENDORS[sys.argv[1]]()), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    # The engine ends it with a signal.
    threading.Event().wait()


if __name__ == "__main__":
    main()
