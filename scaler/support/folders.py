"""The folders that a user has, and containers often lack: a home, a cache, a place for temporary files."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from scaler.support.files import make_folder


def user_name(environ: Mapping[str, str]) -> str:
    """Return the user's name: USER, else what the system has for the user id, else the id."""
    if environ.get("USER"):
        return environ["USER"]
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_name
    return str(os.getuid())


def home_folder(environ: Mapping[str, str]) -> Path | None:
    """Return the user's home: HOME, else what the system has for the user id; None if neither says one."""
    if environ.get("HOME"):
        return Path(environ["HOME"])
    with suppress(KeyError):
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    return None


def cache_folder(environ: Mapping[str, str]) -> Path | None:
    """Return where the user's caches are: XDG_CACHE_HOME, else `.cache` in the home; None without both."""
    if environ.get("XDG_CACHE_HOME"):
        return Path(environ["XDG_CACHE_HOME"])
    home = home_folder(environ)
    return home / ".cache" if home else None


def use_temporary_folder(otherwise: Path) -> Path:
    """Return where temporary files of this process are, and make it `otherwise` if no usual place can be written.

    Raises OSError if that cannot be written either.
    """
    candidates = [Path(os.environ[name]) for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)]
    for folder in (*candidates, Path("/tmp"), Path("/var/tmp")):  # noqa: S108 - what tempfile itself tries
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    make_folder(otherwise)
    # Not the current folder, which is what tempfile tries next: it is the user's project.
    tempfile.tempdir = str(otherwise)
    return otherwise


@contextmanager
def scratch_folder(otherwise: Path) -> Iterator[Path]:
    """Make a folder for temporary files, where `use_temporary_folder` says, and remove it at the end of the block."""
    with tempfile.TemporaryDirectory(
        prefix="scaler-", dir=use_temporary_folder(otherwise), ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)
