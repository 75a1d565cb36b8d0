"""Check the caller: only the engine that scaler started may use the plugin.

Any local process can connect to a loopback port, and the engine cannot send a secret. On Linux the
kernel says whose socket is at the other end: `/proc/net/tcp` has its inode, and `/proc/<pid>/fd` of
the engine has a link to it if it is the engine's.
"""

from __future__ import annotations

import socket
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
        inode = _socket_inode(_address(peer), f"{_LOOPBACK}:{port:04X}")
        if inode is None:
            return False
        if inode not in self._passed and _owns_socket(self._pid, inode):
            self._passed.add(inode)
        return inode in self._passed


def _address(peer: str) -> str:
    """Return a gRPC peer as `/proc/net/tcp` writes it, with its host: 127.0.0.2 may use the same port."""
    _, host, port = peer.split(":")
    return f"{_hex(socket.inet_aton(host))}:{int(port):04X}"


def _hex(address: bytes) -> str:
    return f"{int.from_bytes(address, sys.byteorder):08X}"


_LOOPBACK = _hex(socket.inet_aton("127.0.0.1"))
_MAPPED = "0" * 16 + _hex(b"\0\0\xff\xff")
"""The prefix of an IPv4 address in `/proc/net/tcp6`, which lists the sockets for both IP versions."""


def _socket_inode(local: str, remote: str) -> str | None:
    """Return the inode of the socket that is connected from one address to the other."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text(encoding="ascii").splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if [address.removeprefix(_MAPPED) for address in fields[1:3]] == [local, remote]:
                return fields[9]
    return None


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
