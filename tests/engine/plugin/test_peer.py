"""Only the engine that scaler started may call the plugin: any local process could delete servers otherwise."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import empty_pb2

from scaler.engine.plugin import peer
from scaler.engine.plugin.peer import PeerCheck
from scaler.model import Permits
from tests.engine.plugin.client import DEADLINE_S, HETZNER, NAME, Plug, Plugged

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"),
        reason="only Linux tells whose a connection is; elsewhere any process passes",
    ),
]

_CLIENT = """
import sys, grpc
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc
sys.stdin.readline()
stub = provider_pb2_grpc.ResourceProviderStub(grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}"))
for call in range(int(sys.argv[2])):
    try:
        stub.Delete(provider_pb2.DeleteRequest(id="1", urn="urn:pulumi:s::p::t::demo-worker-1"), timeout=30)
        print("let in")
    except grpc.RpcError as error:
        print(error.code().name)
"""


def start_client(port: int, calls: int = 1) -> subprocess.Popen[str]:
    """A child of ours that calls Delete as soon as it is told to."""
    return subprocess.Popen(
        [sys.executable, "-c", _CLIENT, str(port), str(calls)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answers(client: subprocess.Popen[str]) -> list[str]:
    said, _ = client.communicate("go\n", timeout=60)
    return said.split("\n")[:-1]


@pytest.fixture
def plugged(plug: Plug) -> Plugged:
    """An operation that may delete machine 1, which is gone already."""
    return plug(HETZNER, Permits(delete={NAME: "1"}))


@pytest.fixture
def other() -> Iterator[int]:
    """A process that calls nobody."""
    process = subprocess.Popen(["sleep", "600"])
    yield process.pid
    process.kill()
    process.wait()


def test_a_child_of_ours_that_is_not_the_engine_is_refused(plugged: Plugged, other: int) -> None:
    plugged.provider.peers.admit(other)
    assert answers(start_client(plugged.provider.port)) == ["PERMISSION_DENIED"]
    assert (plugged.requests(), plugged.operation.deleted) == ([], {})


def test_our_own_process_is_refused_too(plugged: Plugged, other: int) -> None:
    plugged.provider.peers.admit(other)
    with pytest.raises(grpc.RpcError) as caught:
        plugged.delete("1")
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_even_cancel_is_refused(plugged: Plugged, other: int) -> None:
    plugged.provider.peers.admit(other)
    with pytest.raises(grpc.RpcError) as caught:
        plugged.stub.Cancel(empty_pb2.Empty(), timeout=DEADLINE_S)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert not plugged.operation.cancelled.is_set()


def test_the_admitted_process_is_let_in(plugged: Plugged) -> None:
    client = start_client(plugged.provider.port, calls=2)
    plugged.provider.peers.admit(client.pid)
    assert answers(client) == ["let in", "let in"]
    assert plugged.operation.deleted == {NAME: "1"}


def test_the_next_process_is_let_in_and_the_last_one_no_more(plugged: Plugged) -> None:
    client = start_client(plugged.provider.port)
    plugged.delete("1")
    plugged.provider.peers.admit(client.pid)
    assert answers(client) == ["let in"]
    with pytest.raises(grpc.RpcError):
        plugged.delete("1")


def test_the_first_call_waits_until_the_engine_is_known() -> None:
    check = PeerCheck()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as engine:
            caller = f"ipv4:127.0.0.1:{engine.getsockname()[1]}"
            soon = threading.Timer(0.2, check.admit, [os.getpid()])
            soon.start()
            assert check.passes(caller, port)
            soon.join()


def test_the_engines_port_on_another_address_is_not_the_engine() -> None:
    """A connection from 127.0.0.2 can have the very port that the engine has on 127.0.0.1."""
    check = PeerCheck()
    check.admit(os.getpid())
    script = (
        "import socket, sys; intruder = socket.socket(); intruder.bind(('127.0.0.2', int(sys.argv[1])));"
        "intruder.connect(('127.0.0.1', int(sys.argv[2]))); print('connected', flush=True); sys.stdin.read()"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as engine:
            engine_port = engine.getsockname()[1]
            with subprocess.Popen(
                [sys.executable, "-c", script, str(engine_port), str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as intruder:
                assert intruder.stdout is not None
                assert intruder.stdout.readline() == "connected\n"
                assert check.passes(f"ipv4:127.0.0.1:{engine_port}", port)
                assert not check.passes(f"ipv4:127.0.0.2:{engine_port}", port)


def test_a_new_connection_on_the_engines_old_port_is_not_the_engine() -> None:
    check = PeerCheck()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as engine:
            engine_port = engine.getsockname()[1]
            check.admit(os.getpid())
            assert check.passes(f"ipv4:127.0.0.1:{engine_port}", port)
        assert not check.passes(f"ipv4:127.0.0.1:{engine_port}", port)


def test_a_dead_process_is_refused() -> None:
    check = PeerCheck()
    gone = subprocess.Popen(["true"])
    gone.wait()
    check.admit(gone.pid)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert not check.passes(f"ipv4:127.0.0.1:{client.getsockname()[1]}", port)


def test_the_port_is_on_loopback_only(plugged: Plugged) -> None:
    host = socket.gethostbyname(socket.gethostname())
    if host.startswith("127."):
        host = "127.0.0.2"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, plugged.provider.port), timeout=5)


def test_no_other_process_can_share_the_port(plugged: Plugged) -> None:
    """With SO_REUSEPORT a stranger could answer the engine in our place."""
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", plugged.provider.port))


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")], ids=["IPv4", "mapped"]
)
def test_the_kernel_and_its_tables_tell_the_same(family: socket.AddressFamily, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(family) as client:
        client.connect((host, server.getsockname()[1]))
        ends = ("127.0.0.1", client.getsockname()[1]), ("127.0.0.1", server.getsockname()[1])
        inode = str(os.fstat(client.fileno()).st_ino)
        assert (peer._diagnosed_inode(*ends), peer._listed_inode(*ends)) == (inode, inode)
        elsewhere = ("127.0.0.2", ends[0][1]), ends[1]
        assert (peer._diagnosed_inode(*elsewhere), peer._listed_inode(*elsewhere)) == (None, None)
