"""Check the caller: only the engine that scaler started may use the plugin.

Any local process can connect to a loopback port, and the engine cannot send a secret. On Linux the
kernel says whose socket is at the other end: `sock_diag(7)`, and `/proc/net/tcp` where that is not
allowed, tell its inode, and `/proc/<pid>/fd` of the engine has a link to it if it is the engine's.
Each call is checked, so the kernel is asked for one connection and not for the table of all: 20 µs
instead of 5 to 9 ms.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
import threading
from pathlib import Path

_ENGINE_START_S = 5.0
"""How long a first call may wait until the engine's process id is known."""


class PeerCheck:
    """Admit one process at a time: the engine that runs now.

    Systems other than Linux cannot be asked, and every local process passes while an operation
    runs; the documentation says so.
    """

    def __init__(self) -> None:
        self._pid: int | None = None
        self._known = threading.Event()
        self._passed: set[str] = set()
        """Inodes of sockets that are the engine's; each connection has its own."""

    def admit(self, pid: int) -> None:
        """Let calls of this process pass from now on."""
        self._pid = pid
        self._passed.clear()
        self._known.set()

    def passes(self, peer: str, port: int) -> bool:
        """Return whether a gRPC peer such as `ipv4:127.0.0.1:40000`, connected to our `port`, is the engine."""
        if not self._known.wait(_ENGINE_START_S) or self._pid is None:
            return False
        if not sys.platform.startswith("linux"):
            return True
        inode = _socket_inode(_endpoint(peer), ("127.0.0.1", port))
        if inode is None:
            return False
        if inode not in self._passed and _owns_socket(self._pid, inode):
            self._passed.add(inode)
        return inode in self._passed


_Endpoint = tuple[str, int]
"""An IPv4 address and a port."""


def _endpoint(peer: str) -> _Endpoint:
    """Return where a gRPC peer is, with its host: 127.0.0.2 may use the same port."""
    _, host, port = peer.split(":")
    return host, int(port)


def _socket_inode(local: _Endpoint, remote: _Endpoint) -> str | None:
    """Return the inode of the socket that is connected from one endpoint to the other; None if there is none."""
    try:
        return _diagnosed_inode(local, remote)
    except OSError:
        return _listed_inode(local, remote)


_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = b"\xff" * 8
_HEADER = struct.Struct("=LHHLL")
"""`nlmsghdr`: length, type, flags, sequence, port id."""
_REQUEST = struct.Struct("=BBBxL")
"""The beginning of `inet_diag_req_v2`: family, protocol, extensions, padding, states."""
_SOCKET_ID = struct.Struct("!HH4s12x4s12xL8s")
"""`inet_diag_sockid`: both ports, both addresses, interface, cookie."""
_INODE_AT = _HEADER.size + 4 + _SOCKET_ID.size + 16
"""Of an `inet_diag_msg`, after its states, its socket, timer, queues and user id."""
_ANSWER_BYTES = 8192


def _diagnosed_inode(local: _Endpoint, remote: _Endpoint) -> str | None:
    """Ask for this one socket, as `linux/inet_diag.h` describes it. Raises OSError where that is not possible."""
    wanted = _SOCKET_ID.pack(
        local[1], remote[1], socket.inet_aton(local[0]), socket.inet_aton(remote[0]), 0, _NO_COOKIE
    )
    body = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, _ALL_STATES) + wanted
    header = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(1.0)
        kernel.send(header + body)
        answer = kernel.recv(_ANSWER_BYTES)
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind == _SOCK_DIAG_BY_FAMILY:
        return str(struct.unpack_from("=L", answer, _INODE_AT)[0])
    number = -struct.unpack_from("=l", answer, _HEADER.size)[0] if kind == _NLMSG_ERROR else 0
    if number == errno.ENOENT:
        return None
    raise OSError(number, "the kernel did not answer for a socket")


_MAPPED = "0" * 16 + f"{int.from_bytes(bytes([0, 0, 255, 255]), sys.byteorder):08X}"
"""The prefix of an IPv4 address in `/proc/net/tcp6`, which lists the sockets for both IP versions."""


def _listed_inode(local: _Endpoint, remote: _Endpoint) -> str | None:
    """Look for the socket in the tables of all."""
    wanted = [_listed(local), _listed(remote)]
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text(encoding="ascii").splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if [address.removeprefix(_MAPPED) for address in fields[1:3]] == wanted:
                return fields[9]
    return None


def _listed(endpoint: _Endpoint) -> str:
    """Return an endpoint as `/proc/net/tcp` writes it."""
    address = int.from_bytes(socket.inet_aton(endpoint[0]), sys.byteorder)
    return f"{address:08X}:{endpoint[1]:04X}"


def _owns_socket(pid: int, inode: str) -> bool:
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    return any(_points_to(link, f"socket:[{inode}]") for link in links)


def _points_to(link: Path, target: str) -> bool:
    try:
        return str(link.readlink()) == target
    except OSError:
        return False
