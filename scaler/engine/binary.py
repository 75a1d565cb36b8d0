"""The Pulumi engine's binary: find it, read its version, install it.

This module starts no operation and imports nothing of Pulumi, so that a run with nothing to do stays
quick.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from scaler.errors import LockedError, UnavailableError
from scaler.hooks.processes import ask_command
from scaler.support.documents import read_json
from scaler.support.environment import CommandEnvironment, belongs_to_scaler
from scaler.support.folders import cache_folder
from scaler.support.guardian import ended, start_guarded

if TYPE_CHECKING:
    from filelock import FileLock

PINNED = "v3.274.1"
"""The version that `install` installs, and that scaler is tested with."""

MINIMUM = (3, 250)
"""The oldest version that is accepted, from PATH or from an earlier install."""

INSTALL = "scaler engine install"

Report = Callable[[str], None]
"""Takes one line of progress."""

_SOURCE = Path(__file__).parent / "build"
_PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
_VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
_HEARTBEAT = 30.0
_DOWNLOAD_WITHIN = 180.0
_BUILD_WITHIN = 40 * 60.0
_PROBE_WITHIN = 30.0
_LARGEST_CACHE = 1 << 20
_MOST_VERSIONS = 50
"""Engines whose version is remembered: each update of one is another."""
_LONGEST_VERSION = 200
"""Bytes: a program that prints more than this for its version is no Pulumi."""
_LOG_TAIL = 4096
"""Bytes of an install's log that are read for its last lines."""

# Runs as a process, since the SDK's download has no deadline. With the socket time-out a network that
# drops packets fails as fast as one that refuses connections.
_DOWNLOAD = """
import socket, subprocess, sys
from pulumi.automation import PulumiCommand
from semver import VersionInfo
socket.setdefaulttimeout(10)
try:
    PulumiCommand.install(root=sys.argv[1], version=VersionInfo.parse(sys.argv[2]))
except subprocess.CalledProcessError as error:
    sys.exit((error.output or b"").decode(errors="replace") + str(error))
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


class _AttemptError(Exception):
    """One way to install failed; the text says why."""


def find(environ: Mapping[str, str]) -> Path:
    """Return the engine to use: `SCALER_ENGINE`, else `pulumi` on PATH, else the newest one installed here.

    Starts no process for a binary whose version is known from before.
    Raises UnavailableError if there is none that is new enough.
    """
    if explicit := environ.get("SCALER_ENGINE"):
        return _explicit(Path(explicit), environ)
    found = shutil.which("pulumi", path=environ.get("PATH", os.defpath))
    version = version_of(Path(found), environ) if found else None
    if found and _new_enough(version):
        return Path(found)
    if installed := _installed(environ):
        return installed
    needed = f"Pulumi {_dotted(MINIMUM)} or newer is needed"
    why = f"{found} is {version or 'not a working Pulumi'}; {needed}" if found else f"no pulumi on PATH; {needed}"
    raise UnavailableError("The Pulumi engine was not found.", why=why, fix=f"Run: {INSTALL}", code="engine_missing")


def version_of(binary: Path, environ: Mapping[str, str]) -> str | None:
    """Return what `pulumi version` prints (`v3.274.1`), or None if it is no working Pulumi.

    The answer is cached for the user until the file's path, time or size changes.
    """
    try:
        stat = binary.stat()
    except OSError:
        return None
    key = f"{binary.absolute()}:{stat.st_mtime_ns}:{stat.st_size}"
    folder = _engine_dir(environ)
    if folder is None:
        return _probe(binary, environ)
    cache = folder / "versions.json"
    known = _read_versions(cache)
    if key not in known:
        version = _probe(binary, environ)
        if version is None:
            return None
        _write_versions(cache, {**dict(list(known.items())[-_MOST_VERSIONS:]), key: version})
        return version
    return known[key]


def install(environ: Mapping[str, str], *, report: Report, from_source: bool = False, version: str = PINNED) -> Path:
    """Install the engine in the user's cache, unless it is there, and return its path.

    Downloads the official release; if that fails, or with `from_source`, builds it with Go from
    the pinned module. Safe to run twice at once, and to kill at any moment.
    Raises UnavailableError if neither works, LockedError if another install does not end.
    """
    folder = _engine_dir(environ)
    if folder is None:
        raise _no_cache("neither XDG_CACHE_HOME nor HOME is set, and the user has no entry in the system's list")
    binary = folder / version / "pulumi"
    if _is_executable(binary):
        report(f"engine {version} is already installed")
        return binary
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_cache(f"the cache folder cannot be made: {error}") from error
    with _locked(folder / f"{version}.lock", report):
        if _is_executable(binary):
            report(f"engine {version} was just installed by another run")
            return binary
        for left in folder.glob(f"{version}.partial.*"):  # from an install that was killed
            shutil.rmtree(left, ignore_errors=True)
        # A builder that outlives its killed install writes to a folder of its own.
        partial = folder / f"{version}.partial.{os.getpid()}"
        try:
            fresh = _obtain(version, partial, environ, report=report, from_source=from_source)
            shutil.rmtree(binary.parent, ignore_errors=True)
            fresh.rename(binary.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return binary


def _no_cache(why: str) -> UnavailableError:
    return UnavailableError(
        "The Pulumi engine cannot be installed.",
        why=why,
        fix="Set XDG_CACHE_HOME to a folder that can be written.",
    )


# ---------------------------------------------------------------------------------------------
# Finding


def _explicit(binary: Path, environ: Mapping[str, str]) -> Path:
    version = version_of(binary, environ) if _is_executable(binary) else None
    if _new_enough(version):
        return binary
    raise UnavailableError(
        "SCALER_ENGINE names no Pulumi engine that can be used.",
        why=f"{binary} is {version or 'not a working Pulumi'}; {_dotted(MINIMUM)} or newer is needed",
        fix=f"Correct or unset SCALER_ENGINE, or run: {INSTALL}",
        code="engine_missing",
    )


def _installed(environ: Mapping[str, str]) -> Path | None:
    folder = _engine_dir(environ)
    candidates = [path for path in folder.glob("v*/pulumi") if _is_executable(path)] if folder else []
    candidates = [path for path in candidates if _new_enough(path.parent.name)]
    return max(candidates, key=lambda path: _parse(path.parent.name) or (), default=None)


def _engine_dir(environ: Mapping[str, str]) -> Path | None:
    """Where engines are installed; None for a user without a home, as in many containers."""
    cache = cache_folder(environ)
    return cache / "scaler" / "engine" if cache else None


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _parse(version: str | None) -> tuple[int, ...] | None:
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version or "")
    return tuple(int(part) for part in match.groups()) if match else None


def _new_enough(version: str | None) -> bool:
    parsed = _parse(version)
    return parsed is not None and parsed >= MINIMUM


def _dotted(version: Sequence[int]) -> str:
    return ".".join(str(part) for part in version)


def _probe(binary: Path, environ: Mapping[str, str]) -> str | None:
    # What it takes to start it, such as a version manager's own variables, and no credentials of clouds.
    given = {name: value for name, value in environ.items() if not belongs_to_scaler(name)}
    try:
        done = ask_command(
            [str(binary.absolute()), "version"],
            binary.parent,
            _PROBE_WITHIN,
            largest=_LONGEST_VERSION,
            environ=CommandEnvironment({**given, "PULUMI_SKIP_UPDATE_CHECK": "true"}),
        )
    except (OSError, ValueError):
        return None
    version = done.output.decode(errors="replace").strip()
    return version if done.code == 0 and not done.too_long and _parse(version) else None


def _read_versions(cache: Path) -> dict[str, str]:
    try:
        known = read_json(cache, _LARGEST_CACHE)
    except (OSError, ValueError):
        return {}
    return {str(key): str(version) for key, version in known.items()} if isinstance(known, dict) else {}


def _write_versions(cache: Path, known: Mapping[str, str]) -> None:
    # Without a cache, each run starts one process more.
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        fresh = cache.with_name(f"{cache.name}.{os.getpid()}")
        fresh.write_text(json.dumps(known))
        fresh.replace(cache)


# ---------------------------------------------------------------------------------------------
# Installing


def _obtain(version: str, folder: Path, environ: Mapping[str, str], *, report: Report, from_source: bool) -> Path:
    """Return a folder below `folder` with a working `pulumi` of this version in it."""
    ways = (
        [("built from source", _build)] if from_source else [("downloaded", _download), ("built from source", _build)]
    )
    failures: list[str] = []
    for name, way in ways:
        started = time.monotonic()
        try:
            fresh = way(version, folder / way.__name__, environ, report)
            _check(fresh / "pulumi", version, environ)
        except _AttemptError as failure:
            failures.append(str(failure))
            report(str(failure))
        else:
            report(f"engine {version} {name} in {time.monotonic() - started:.0f} s")
            return fresh
    raise UnavailableError(
        f"The Pulumi engine {version} could not be installed.",
        why="\n".join(failures),
        fix=f"Install Go ({_go_needed()} or newer) and run `{INSTALL}` again,\n"
        f"or install Pulumi {_dotted(MINIMUM)} or newer yourself and put it on PATH.",
        code="engine_install_failed",
    )


def _download(version: str, folder: Path, environ: Mapping[str, str], report: Report) -> Path:
    """Download the official release with the SDK."""
    command = [sys.executable, "-c", _DOWNLOAD, str(folder), version.removeprefix("v")]
    folder.mkdir(parents=True)
    report(f"downloading engine {version}")
    _run("download", command, folder=folder, environ=environ, within=_DOWNLOAD_WITHIN, report=report)
    return folder / "bin"


def _build(version: str, folder: Path, environ: Mapping[str, str], report: Report) -> Path:
    """Compile the same release from the module that `build/go.mod` pins with checksums."""
    go = shutil.which("go", path=environ.get("PATH", os.defpath))
    if go is None:
        raise _AttemptError("build failed: no `go` on PATH")
    if version != PINNED:
        raise _AttemptError(f"build failed: only {PINNED} is pinned for building")
    target = folder / "bin"
    target.mkdir(parents=True)
    linker = f"-s -w -X {_VERSION_VARIABLE}={version}"
    command = [go, "build", "-C", str(_SOURCE), "-trimpath", "-ldflags", linker, "-o", str(target / "pulumi"), _PACKAGE]
    report(f"building engine {version} with Go: about 4 minutes on 2 cores, once")
    # CGO off: no C compiler needed, as for the official release. GOWORK off: ignore a go.work in a folder above.
    settings = {"CGO_ENABLED": "0", "GOWORK": "off"}
    _run("build", command, folder=folder, environ={**environ, **settings}, within=_BUILD_WITHIN, report=report)
    return target


def _check(binary: Path, version: str, environ: Mapping[str, str]) -> None:
    found = _probe(binary, environ) if _is_executable(binary) else None
    if found != version:
        raise _AttemptError(f"the new engine does not work: it says it is {found or 'nothing'}, not {version}")


def _go_needed() -> str:
    match = re.search(r"^go (\d+\.\d+)", (_SOURCE / "go.mod").read_text(), re.MULTILINE)
    return match.group(1) if match else "the newest"


def _run(
    name: str, command: Sequence[str], *, folder: Path, environ: Mapping[str, str], within: float, report: Report
) -> None:
    """Run a long command and report every 30 s that it still runs; _AttemptError with its last lines if it fails."""
    with (folder / "log").open("w+", errors="replace") as log:
        try:
            process = start_guarded(
                lambda: subprocess.Popen(
                    command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            )
        except OSError as error:
            raise _AttemptError(f"{name} failed: {error}") from error
        with ended(process):
            _wait(process, name, within, report)
        if process.returncode != 0:
            raise _AttemptError(f"{name} failed: {_last_lines(log)}")


def _wait(process: subprocess.Popen[bytes], name: str, within: float, report: Report) -> None:
    started = time.monotonic()
    while True:
        left = within - (time.monotonic() - started)
        if left <= 0:
            raise _AttemptError(f"{name} failed: not done within {within / 60:.0f} min")
        try:
            process.wait(timeout=min(_HEARTBEAT, left))
        except subprocess.TimeoutExpired:
            report(f"{name}: still at it ({time.monotonic() - started:.0f} s)")
        else:
            return


def _last_lines(log: IO[str], lines: int = 3) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL))
    return " / ".join(line.strip() for line in log.read().splitlines()[-lines:] if line.strip()) or "it said nothing"


def _locked(path: Path, report: Report) -> FileLock:
    """Take the install lock, and report while waiting for it. The system drops it when its holder dies."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    for waited in range(0, int(_BUILD_WITHIN), int(_HEARTBEAT)):
        try:
            lock.acquire(timeout=0.0 if waited == 0 else _HEARTBEAT)
        except Timeout:
            report(f"another install is running; waiting ({waited} s)")
        else:
            return lock
    raise LockedError(
        "Another install of the engine does not end.",
        why=f"{path} is held by a running process",
        fix="End that process and install again.",
    )
