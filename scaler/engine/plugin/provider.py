"""The gRPC resource provider: Check, Diff, Create, Read, Update and Delete for one resource type."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from scaler.clouds import AmbiguousError, CloudError, GoneError, NameTakenError
from scaler.engine.plugin.operation import Operation, lookup_delays
from scaler.engine.plugin.port import EngineService
from scaler.engine.plugin.resource import Properties, ResourceType
from scaler.model import Machine, MachineRequest
from scaler.support.cancellation import cancelled_by
from scaler.support.clock import Clock

_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""The engine's mark for a value that is not known yet (pulumi: sdk/go/common/resource/plugin/rpc.go)."""


class RefusedByPluginError(Exception):
    """The engine asked for something that the plan does not name."""


def _rpc(method: Callable[..., Any]) -> Callable[..., Any]:
    """Check the caller, end its waits when the operation is cancelled, and turn our errors into gRPC statuses."""

    @functools.wraps(method)
    def guarded(self: Provider, request: Any, context: grpc.ServicerContext) -> Any:
        self.require_engine(context)
        try:
            with cancelled_by(self.operation.cancelled):
                return method(self, request, context)
        except RefusedByPluginError as refusal:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(refusal))
        except CloudError as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))

    return guarded


class Provider(EngineService, provider_pb2_grpc.ResourceProviderServicer):
    """Serve one resource type during one engine operation."""

    def __init__(self, resource: ResourceType, operation: Operation, clock: Clock) -> None:
        super().__init__()
        self.resource = resource
        self.operation = operation
        self._clock = clock

    # -- set-up --------------------------------------------------------------------------------

    @_rpc
    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()

    @_rpc
    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    @_rpc
    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo()

    @_rpc
    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    @_rpc
    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    @_rpc
    def Configure(self, request: Any, context: Any) -> Any:
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    @_rpc
    def Cancel(self, request: Any, context: Any) -> Any:
        self.operation.cancelled.set()
        return empty_pb2.Empty()

    # -- resources -----------------------------------------------------------------------------

    @_rpc
    def Check(self, request: Any, context: Any) -> Any:
        self._require_type(request.urn)
        return provider_pb2.CheckResponse(inputs=_pack(self.resource.check(_unpack(request.news))))

    @_rpc
    def Diff(self, request: Any, context: Any) -> Any:
        news = _unpack(request.news)
        changed = self.resource.changed(_unpack(request.olds), _unpack(request.old_inputs), news)
        replaces = self.resource.replaces(changed, news)
        kind = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        # Not delete-before-replace: the plan never names a replace. A refused Create ends one cleanly; after
        # a refused Delete the engine (3.274, continue-on-error) would wait for ever.
        return provider_pb2.DiffResponse(changes=kind, diffs=changed, replaces=replaces)

    @_rpc
    def Create(self, request: Any, context: Any) -> Any:
        inputs = _unpack(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=_pack(inputs))
        name = _name_of(request.urn)
        try:
            machine = self._adopt_or_create(name, inputs)
        except CloudError as error:
            self.operation.errors[name] = error
            raise
        self.operation.accepted[name] = machine.id
        return provider_pb2.CreateResponse(id=machine.id, properties=_pack(self.resource.outputs(inputs, machine)))

    @_rpc
    def Read(self, request: Any, context: Any) -> Any:
        if self.operation.permits.forget.get(_name_of(request.urn)) == request.id:
            return provider_pb2.ReadResponse()
        machine = self.operation.find(request.id)
        if machine is None:
            # A list can miss a machine; only a GET by id proves that it is gone.
            try:
                machine = self.operation.cloud.get(request.id)
            except GoneError:
                if request.id in self.operation.unproven:
                    return provider_pb2.ReadResponse(
                        id=request.id, properties=request.properties, inputs=request.inputs
                    )
                return provider_pb2.ReadResponse()
        observed = self.resource.observed(machine)
        labels = self.resource.labels_property
        inputs = {labels: observed[labels]} if labels in request.inputs else {}
        return provider_pb2.ReadResponse(
            id=request.id, properties=_changed(request.properties, observed), inputs=_changed(request.inputs, inputs)
        )

    @_rpc
    def Update(self, request: Any, context: Any) -> Any:
        news, olds = _unpack(request.news), _unpack(request.olds)
        name = _name_of(request.urn)
        changed = self.resource.changed(olds, _unpack(request.old_inputs), news)
        labels = self.resource.labels_property
        if changed not in ([], [labels]):
            raise RefusedByPluginError(
                f"scaler's plugin changes only {labels} of {name}, not {', '.join(changed)}: "
                "replace the server, or use `plugin: official`"
            )
        if not request.preview and changed:
            self._require(name in self.operation.permits.update, f"update {name}")
            self.operation.cloud.set_labels(request.id, self.resource.labels(news))
        # The other outputs stay as they are: the official plugin reads its own state back from their shapes.
        return provider_pb2.UpdateResponse(properties=_changed(request.olds, {labels: news.get(labels)}))

    @_rpc
    def Delete(self, request: Any, context: Any) -> Any:
        name = _name_of(request.urn)
        permits = self.operation.permits
        if permits.forget.get(name) == request.id:
            return empty_pb2.Empty()
        self._require(permits.delete.get(name) == request.id, f"delete {name} ({request.id})")
        self._stop_if_cancelled()
        try:
            self._delete_ours(name, request.id)
        except CloudError as error:
            self.operation.errors[name] = error
            raise
        self.operation.deleted[name] = request.id
        return empty_pb2.Empty()

    def _delete_ours(self, name: str, id: str) -> None:
        """Delete a machine that is no other owner's; one that does not exist counts as deleted."""
        try:
            machine = self.operation.find(id) or self.operation.cloud.get(id)
            if self.operation.owner.excludes(machine.labels):
                raise RefusedByPluginError(f"{name} ({id}) carries another owner's labels; it was left alone")
            self.operation.cloud.delete(id)
        except GoneError:
            return

    # -- creating ------------------------------------------------------------------------------

    def _adopt_or_create(self, name: str, inputs: Properties) -> Machine:
        permits = self.operation.permits
        if name in permits.adopt:
            return self._adopt(name, permits.adopt[name])
        self._require(name in permits.create, f"create {name}")
        self._stop_if_cancelled()
        request = self.resource.request(name, inputs)
        known = {machine.id for machine in self.operation.snapshot()}
        try:
            return self.operation.create(request)
        except (AmbiguousError, NameTakenError) as error:
            return self._look_up(request, known, error)

    def _adopt(self, name: str, id: str) -> Machine:
        machine = self.operation.find(id) or self.operation.cloud.get(id)
        if self.operation.owner.excludes(machine.labels):
            raise RefusedByPluginError(f"{name} ({id}) carries another owner's labels now")
        return machine

    def _look_up(self, request: MachineRequest, known: Set[str], error: CloudError) -> Machine:
        """Return the machine that a create request without an answer created; raise `error` if there is none.

        `known` are the ids from before the request, listed under the stack's lock: any other machine
        with the name and our labels is this request's. Of several the oldest is taken; the others are
        orphans that the next observation finds.
        """
        for delay in lookup_delays(unique_names=self.resource.unique_names):
            self._clock.sleep(delay)
            # A list that fails proves nothing; the create's own error stays the answer.
            with suppress(CloudError):
                for machine in self.operation.cloud.find(request.name, self.operation.owner):
                    if machine.id not in known:
                        return machine
            if isinstance(error, NameTakenError) and self.operation.is_anothers(request.name):
                break
        raise error

    # -- refusing ------------------------------------------------------------------------------

    def _require_type(self, urn: str) -> None:
        token = urn.split("::")[2].rpartition("$")[2]
        if token != self.resource.type:
            raise RefusedByPluginError(
                f"scaler's plugin serves {self.resource.type} only, not {token}: "
                "use `plugin: official` in the spec for a stack with other resources"
            )

    def _require(self, permitted: bool, what: str) -> None:
        if not permitted:
            raise RefusedByPluginError(f"the plan does not say to {what}; nothing was done")

    def _stop_if_cancelled(self) -> None:
        if self.operation.cancelled.is_set():
            raise RefusedByPluginError("the run was interrupted before this was asked of the cloud")


def _name_of(urn: str) -> str:
    return urn.rpartition("::")[2]


def _unpack(struct: struct_pb2.Struct) -> Properties:
    return {key: _plain_numbers(value) for key, value in json_format.MessageToDict(struct).items()}


def _plain_numbers(value: Any) -> Any:
    """Turn whole numbers into ints: gRPC's Struct has only floats."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain_numbers(item) for key, item in value.items()}
    return value


def _changed(properties: struct_pb2.Struct, changes: Mapping[str, Any]) -> struct_pb2.Struct:
    """Return the properties with some of them changed, and the others exactly as they are, nulls included."""
    struct = struct_pb2.Struct()
    struct.CopyFrom(properties)
    struct.update({key: value for key, value in changes.items() if value != _UNKNOWN})
    return struct


def _pack(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update({key: value for key, value in properties.items() if value is not None and value != _UNKNOWN})
    return struct
