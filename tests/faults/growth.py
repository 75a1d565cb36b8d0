"""What a long-lived process and its stack take up, and how far that may grow."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from scaler.engine.housekeeping import KEEP
from tests.faults.stage import Scene, ViolationError

_MB = 1e6


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is taken up at one moment: by this process, by what runs left in the file system, by the stack's folder."""

    memory_mb: float
    threads: int
    descriptors: int
    children: int
    """Processes that this one started and that are still there, or dead and not waited for."""
    temporary: int
    """Files and folders in the folder for temporary files."""
    engine_logs: int
    history_files: int
    history_mb: float
    events_mb: float
    records_kb: float
    """The state file and the engine's checkpoint."""
    folder_files: int
    """All files of the state folder."""

    @classmethod
    def now(cls, scene: Scene) -> Self:
        """Measure."""
        gc.collect()
        state, pulumi = scene.project.state_dir, scene.project.state_dir / "pulumi" / ".pulumi"
        history = [*_files(pulumi / "history"), *_files(pulumi / "backups")]
        records = [scene.project.state_path, *_files(pulumi / "stacks")]
        return cls(
            memory_mb=_resident() / _MB,
            threads=threading.active_count(),
            descriptors=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - a descriptor of its own is the same each time
            children=len(_children()),
            temporary=sum(1 for _ in Path(tempfile.gettempdir()).rglob("*")),
            engine_logs=sum(1 for _ in _files(state / "engine" / "logs")),
            history_files=len(history),
            history_mb=_bytes(history) / _MB,
            events_mb=_bytes(state.glob("demo.events.jsonl*")) / _MB,
            records_kb=_bytes(path for path in records if path.exists()) / 1e3,
            folder_files=sum(1 for _ in _files(state)),
        )


@dataclass(frozen=True)
class Bound:
    """How much more than after the warm-up there may be, or how much at all, and why just so much."""

    most: float
    why: str
    at_all: bool = False


_COPY_FILES = 4
"""Of one operation: the state and what was done, and the attributes of both."""

BOUNDS: Mapping[str, Bound] = {
    "memory_mb": Bound(64, "modules and caches that a rarer operation needs first, and what the allocator keeps"),
    "threads": Bound(4, "the embedded cloud's pool, which holds requests at the gate, starts them as it needs them"),
    "descriptors": Bound(16, "connections to the embedded cloud that it has not closed yet"),
    "children": Bound(0, "every process is waited for"),
    "temporary": Bound(64, "what a killed run leaves stays until `scaler prune` finds it", at_all=True),
    "engine_logs": Bound(KEEP + 5, "a run keeps so many; a killed one's are there until the next", at_all=True),
    "history_files": Bound(_COPY_FILES * (KEEP + 5), "as above", at_all=True),
    "history_mb": Bound(15, "as above; some kilobytes per server and copy", at_all=True),
    "events_mb": Bound(40, "four logs of ten megabytes", at_all=True),
    "records_kb": Bound(
        200, "four kilobytes for each of twenty servers, and as much for the deleted ones", at_all=True
    ),
    "folder_files": Bound((_COPY_FILES + 1) * (KEEP + 5) + 25, "copies and logs, and a handful beside", at_all=True),
}


def check_growth(warm: Size, now: Size) -> None:
    """Raise ViolationError if anything has grown beyond its bound."""
    for name, bound in BOUNDS.items():
        size, before = getattr(now, name), 0 if bound.at_all else getattr(warm, name)
        if size > before + bound.most:
            raise ViolationError(f"{name}: {size:.1f}, {before:.1f} before, {bound.most} more allowed: {bound.why}")


def growth_table(start: Size, warm: Size, end: Size) -> str:
    """The numbers, one line each."""
    lines = [f"{'':14}  {'start':>8}  {'warm':>8}  {'end':>8}  bound"]
    for field in fields(Size):
        values = "  ".join(f"{round(getattr(size, field.name), 1):>8}" for size in (start, warm, end))
        bound = BOUNDS[field.name]
        lines.append(f"{field.name:14}  {values}  {'' if bound.at_all else '+'}{bound.most:g}")
    return "\n".join(lines)


def _resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _children() -> list[str]:
    """The processes whose parent is this one."""
    return [path.parent.name for path in Path("/proc").glob("[0-9]*/stat") if _parent(path) == os.getpid()]


def _parent(stat: Path) -> int | None:
    try:
        return int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except OSError:
        return None


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _bytes(paths: Iterator[Path] | list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)
