"""How scaler was installed, and so which command adds an extra to it.

Facts about the installers: pip and uv write `INSTALLER` and, for anything that is not from an index,
`direct_url.json` (PEP 610) into the distribution's metadata. pipx writes `pipx_metadata.json`, and uv
writes `uv-receipt.toml`, into the root of each environment that they make for a tool.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from scaler.support.values import dataclass

DISTRIBUTION = "pulumi-scaler"
"""The name on PyPI: `scaler` there is another project."""


class Installer(StrEnum):
    """What put scaler where it is, and can add to it."""

    PIP = "pip"
    PIPX = "pipx"
    UV = "uv"
    UV_TOOL = "uv tool"


@dataclass(frozen=True, kw_only=True)
class Installation:
    """One installation of scaler."""

    installer: Installer
    prefix: Path
    """The root of its environment."""
    extras: frozenset[str] = frozenset()
    """The extras that are complete there: an installer that makes the environment anew must name them again."""
    path: Path | None = None
    """The folder or the file that it was installed from; None: from an index or a URL."""
    url: str = ""
    """The URL that it was installed from; empty: from an index or a path."""
    editable: bool = False
    """Whether `path` is a clone that is run in place."""
    pip: str = "pip"
    """How to call the pip of the environment."""


def install_command(*extras: str) -> str:
    """Return the shell command that adds extras to the scaler that is running."""
    return command_for(find_installation(), extras)


def command_for(installation: Installation, extras: tuple[str, ...]) -> str:
    """Return the shell command that adds extras to an installation, and keeps those that it has."""
    found = installation
    if found.installer in (Installer.PIPX, Installer.UV_TOOL):
        extras = tuple(sorted({*found.extras, *extras}))
    words = ["--editable"] if found.editable else []
    words.append(shlex.quote(_requirement(found, extras)))
    match found.installer:
        case Installer.PIPX:
            return " ".join(["pipx install --force", *words])
        case Installer.UV_TOOL:
            return " ".join(["uv tool install", *words])
        case Installer.UV:
            return " ".join(["uv pip install --python", shlex.quote(str(found.prefix)), *words])
        case Installer.PIP:
            return " ".join([found.pip, "install", *words])


def _requirement(found: Installation, extras: tuple[str, ...]) -> str:
    names = f"[{','.join(extras)}]"
    if found.path:
        return f"{found.path}{names}"
    return f"{DISTRIBUTION}{names}" + (f" @ {found.url}" if found.url else "")


def find_installation() -> Installation:
    """Return how the scaler that is running was installed."""
    prefix, program = Path(sys.prefix), Path(sys.executable)
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return uninstalled(Path(__file__).parents[2], prefix, pip_of(program))
    return read_installation(distribution, prefix, pip_of(program))


def uninstalled(root: Path, prefix: Path, pip: str) -> Installation:
    """Return the installation to make of a program that runs from its source tree, without metadata."""
    clone = root if (root / "pyproject.toml").is_file() else None
    return Installation(installer=Installer.PIP, prefix=prefix, path=clone, editable=clone is not None, pip=pip)


def read_installation(distribution: metadata.Distribution, prefix: Path, pip: str) -> Installation:
    """Read an installation from the distribution's metadata and the root of its environment."""
    origin = _origin(distribution.read_text("direct_url.json"))
    path = _local_path(origin)
    return Installation(
        installer=_installer(prefix, (distribution.read_text("INSTALLER") or "").strip()),
        prefix=prefix,
        extras=_complete_extras(distribution),
        path=path,
        url="" if path else _url(origin),
        editable=bool(origin.get("dir_info", {}).get("editable")),
        pip=pip,
    )


def pip_of(program: Path) -> str:
    """Return how to call the pip of this Python: `pip` alone only if that is the one on PATH."""
    on_path = shutil.which("pip")
    if on_path and Path(on_path).parent == program.parent:
        return "pip"
    return f"{shlex.quote(str(program))} -m pip"


def _installer(prefix: Path, named: str) -> Installer:
    if (prefix / "pipx_metadata.json").is_file():
        return Installer.PIPX
    if (prefix / "uv-receipt.toml").is_file():
        return Installer.UV_TOOL
    return Installer.UV if named == "uv" else Installer.PIP


def _origin(text: str | None) -> Mapping[str, Any]:
    try:
        origin = json.loads(text or "{}")
    except ValueError:
        return {}
    return origin if isinstance(origin, dict) else {}


def _local_path(origin: Mapping[str, Any]) -> Path | None:
    parts = urlsplit(str(origin.get("url", "")))
    return Path(url2pathname(parts.path)) if parts.scheme == "file" and "vcs_info" not in origin else None


def _url(origin: Mapping[str, Any]) -> str:
    """The URL as a requirement has it: `git+https://…@revision` for a repository."""
    url = str(origin.get("url", ""))
    repository = origin.get("vcs_info")
    if not isinstance(repository, dict) or not url:
        return url
    revision = repository.get("requested_revision")
    return f"{repository.get('vcs', 'git')}+{url}" + (f"@{revision}" if revision else "")


def _complete_extras(distribution: metadata.Distribution) -> frozenset[str]:
    """The extras of which every requirement is installed."""
    needed: dict[str, set[str]] = {}
    for line in distribution.requires or ():
        name, extra = re.match(r"[\w.-]+", line), re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        if name and extra:
            needed.setdefault(extra[1], set()).add(name[0])
    return frozenset(extra for extra, names in needed.items() if all(map(_is_installed, names)))


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
