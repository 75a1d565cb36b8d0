"""Who is calling: only the engine that scaler started may use the plugin.

Any local process can connect to a loopback port, and the engine has no secret to show. On Linux
the kernel tells whose socket is at the other end: `/proc/net/tcp` has its inode, and
`/proc/<pid>/fd` of the engine has a link to it if it is the engine's.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

_ENGINE_START_S = 5.0
"""How long a first call may wait until the engine's process id is known."""


class PeerCheck:
    """Lets one process through, and every process it is told of later.

    Outside Linux there is nothing to ask, and any local process passes while an operation runs;
    the documentation says so.
    """

    def __init__(self) -> None:
        self._pid: int | None = None
        self._known = threading.Event()
        self._passed: set[str] = set()

    def admit(self, pid: int) -> None:
        """From now on, calls of this process pass."""
        self._pid = pid
        self._passed.clear()
        self._known.set()

    def passes(self, peer: str, port: int) -> bool:
        """Whether a gRPC peer such as `ipv4:127.0.0.1:40000`, connected to our `port`, is the engine."""
        if peer in self._passed:
            return True
        if not self._known.wait(_ENGINE_START_S) or self._pid is None:
            return False
        passes = not sys.platform.startswith("linux") or _owns_socket(self._pid, _port_of(peer), port)
        if passes:
            self._passed.add(peer)
        return passes


def _port_of(peer: str) -> int:
    return int(peer.rpartition(":")[2])


def _owns_socket(pid: int, local_port: int, remote_port: int) -> bool:
    inode = _socket_inode(local_port, remote_port)
    if inode is None:
        return False
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    return any(_points_to(link, f"socket:[{inode}]") for link in links)


def _socket_inode(local_port: int, remote_port: int) -> str | None:
    """The inode of the established loopback connection from one port to the other."""
    ends = (f":{local_port:04X}", f":{remote_port:04X}")
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
            return fields[9]
    return None


def _points_to(link: Path, target: str) -> bool:
    try:
        return str(link.readlink()) == target
    except OSError:
        return False
