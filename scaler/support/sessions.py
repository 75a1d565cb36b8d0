"""Sessions of processes: who is in one, how to end all of them, and programs that begin one. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

_ROOT = str(Path(__file__).parents[2])


def isolated(module: str) -> list[str]:
    """Return a command that runs `main` of a module of scaler that needs nothing but the standard library.

    It starts in some 15 ms, since it looks for no installed packages, and obeys no variables of Python.
    """
    code = f"import sys; sys.path.append({_ROOT!r}); from {module} import main; sys.exit(main())"
    return [sys.executable, "-I", "-S", "-c", code]


def visible_processes() -> str:
    """Return what names the processes that this one can see, on this machine since its start; empty without /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except (OSError, ValueError):
        return ""


def started(pid: int) -> int | None:
    """Return when a process started, in the clock ticks of this boot; None if it does not exist, or without /proc.

    The field is `starttime` of proc_pid_stat(5). A process that nobody has waited for is still there.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def members(leader: int, began: int) -> list[int]:
    """Return the processes of a session that its leader, begun at this tick of the clock, led or leads."""
    try:
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    except OSError:
        return []
    # The session first: it costs 1 µs for each process of the machine, and the time 20.
    return [pid for pid in pids if _is_in(pid, leader) and (started(pid) or 0) >= began]


def kill_session(leader: int, began: int | None) -> None:
    """Kill what runs of a session, in its leader's group and in others.

    Without /proc, or with `began` None, only the group of the leader is known.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if began is None or started(leader) == began:
            os.killpg(leader, signal.SIGKILL)
    for pid in members(leader, began) if began is not None else ():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _is_in(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session
    except OSError:
        return False


def boot_id() -> str | None:
    """Return what identifies this boot of this machine; None where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
