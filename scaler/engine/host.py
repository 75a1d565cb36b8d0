"""The language host of a run: it declares a fixed shape to the engine, which calls it to run the stack's program.

The SDK's own host waits for every output of every resource in turn (1,000 servers take minutes), and
runs its program for whoever calls its port. This one sends all servers at once, and checks its caller.
The messages are those that the SDK sends (pulumi: sdk/python/lib/pulumi/runtime/resource.py), so that
the saved state is the same as that of the typed classes; `tests/engine/test_host.py` compares them.
"""

from __future__ import annotations

import functools
import importlib.metadata
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2, resource_pb2, resource_pb2_grpc

from scaler.engine.checkpoint import SERVER_GROUP, UNKNOWN_GROUP
from scaler.engine.inputs import ServerInputs, server_inputs
from scaler.engine.plugin.port import MESSAGE_LIMIT, EngineService, listen
from scaler.model import Declaration, Declared

_MONITOR_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    # The engine is on loopback, whatever proxy the environment names.
    ("grpc.enable_http_proxy", 0),
]

_SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
"""What marks an object with a `value` as a secret (pulumi: sdk/go/common/resource/properties.go)."""

_WORKERS = 4


Program = Callable[[], Declaration]
"""Says what to declare. The engine runs it under the stack's lock; if it raises, nothing is registered."""


@contextmanager
def hosting(program: Program) -> Iterator[LanguageHost]:
    """Serve the program to the engine until the block ends; `host.peers.admit(pid)` admits the engine."""
    host = LanguageHost(program)
    add = language_pb2_grpc.add_LanguageRuntimeServicer_to_server
    listening = listen(host, add, workers=_WORKERS, name="language-host")
    try:
        yield host
    finally:
        listening.stop(grace=None)


def _rpc(method: Callable[..., Any]) -> Callable[..., Any]:
    """Check the caller."""

    @functools.wraps(method)
    def guarded(self: LanguageHost, request: Any, context: grpc.ServicerContext) -> Any:
        self.require_engine(context)
        return method(self, request)

    return guarded


class LanguageHost(EngineService, language_pb2_grpc.LanguageRuntimeServicer):
    """Answer the engine as the host of a program's language."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self._program = program
        self.was_asked = threading.Event()
        """Set when the engine asks what the program needs: it has read the stack, and loads the policy packs then."""
        self.was_run = threading.Event()
        """Set when the engine runs the program: all policy packs have started by then."""

    @_rpc
    def About(self, request: Any) -> Any:
        return language_pb2.AboutResponse(executable=sys.executable, version=sys.version.partition(" ")[0])

    @_rpc
    def GetPluginInfo(self, request: Any) -> Any:
        return plugin_pb2.PluginInfo()

    @_rpc
    def GetRequiredPlugins(self, request: Any) -> Any:
        self.was_asked.set()
        return language_pb2.GetRequiredPluginsResponse()

    @_rpc
    def GetRequiredPackages(self, request: Any) -> Any:
        self.was_asked.set()
        return language_pb2.GetRequiredPackagesResponse()

    @_rpc
    def Run(self, request: Any) -> Any:
        self.was_run.set()
        try:
            declaration = self._program()
        except Exception as error:
            return language_pb2.RunResponse(error=str(error) or type(error).__name__)
        with grpc.insecure_channel(request.monitor_address, options=_MONITOR_OPTIONS) as channel:
            try:
                _Registration(resource_pb2_grpc.ResourceMonitorStub(channel)).declare(
                    f"{request.project}-{request.stack}", declaration
                )
            except grpc.RpcError as error:
                # An engine that shuts down has said why itself.
                is_ending = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
                return language_pb2.RunResponse(error="" if is_ending else error.details())
        return language_pb2.RunResponse()


class _Registration:
    """One program's conversation with the engine's resource monitor."""

    def __init__(self, monitor: resource_pb2_grpc.ResourceMonitorStub) -> None:
        self._monitor = monitor

    def declare(self, name: str, declaration: Declaration) -> None:
        """Register everything, all servers at once, and wait until the engine is done with them.

        Raises grpc.RpcError if the engine refuses a registration. A server that could not be made is
        no refusal: the engine goes on with the others and reports it in its events.
        """
        stack = self._component("pulumi:pulumi:Stack", name, parent="")
        known = {server.group or UNKNOWN_GROUP: None for server in declaration.servers}
        groups = {group: self._component(SERVER_GROUP, group, parent=stack) for group in known}
        kind = server_inputs(declaration.cloud)
        version = _version(kind)
        pending = [
            self._monitor.RegisterResource.future(
                _server_request(server, kind, version, parent=groups[server.group or UNKNOWN_GROUP])
            )
            for server in declaration.servers
        ]
        self._monitor.RegisterResourceOutputs(
            resource_pb2.RegisterResourceOutputsRequest(urn=stack, outputs=_struct(declaration.outputs))
        )
        futures_done = [future.exception() for future in pending]
        for error in filter(None, futures_done):
            raise error
        self._monitor.SignalAndWaitForShutdown(empty_pb2.Empty())

    def _component(self, type_: str, name: str, *, parent: str) -> str:
        """Register a component and return its URN."""
        request = resource_pb2.RegisterResourceRequest(type=type_, name=name, parent=parent, **_ALWAYS)
        return str(self._monitor.RegisterResource(request).urn)


_ALWAYS: Mapping[str, Any] = {
    "acceptSecrets": True,
    "acceptResources": True,
    "supportsPartialValues": True,
    "supportsResultReporting": True,
}
"""What every registration of the SDK says of its abilities."""


def _server_request(server: Declared, kind: ServerInputs, version: str, *, parent: str) -> Any:
    inputs = {key: value for key, value in kind.of(server.request).items() if value is not None}
    if "userData" in inputs:
        inputs["userData"] = {**_SECRET, "value": inputs["userData"]}
    no_dependency = resource_pb2.RegisterResourceRequest.PropertyDependencies()
    return resource_pb2.RegisterResourceRequest(
        type=kind.type,
        name=server.name,
        parent=parent,
        custom=True,
        object=_struct(inputs),
        propertyDependencies=dict.fromkeys(inputs, no_dependency),
        ignoreChanges=_kept(server, kind),
        protect=server.protected,
        version=version,
        **_ALWAYS,
    )


def _kept(server: Declared, kind: ServerInputs) -> tuple[str, ...]:
    """Return the inputs that the engine keeps as they are, whatever is declared."""
    if not server.exists:
        return ()
    return (*kind.fixed, kind.labels) if server.keeps_labels else kind.fixed


def _version(kind: ServerInputs) -> str:
    """Return the version of the plugin that the engine looks for: that of the package with the typed classes."""
    return importlib.metadata.version(kind.package) if kind.package else ""


def _struct(values: Mapping[str, object]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(values)
    return struct
