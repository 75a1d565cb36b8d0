"""Pulumi's files of a project and of a stack, whichever of their forms they have: the engine prefers one, and scaler
checks all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scaler.engine.yaml_file import read_yaml
from scaler.errors import SpecError
from scaler.support.documents import read_json
from scaler.support.text import LONGEST, one_line

SUFFIXES = (".yaml", ".yml", ".json")


def project_files(directory: Path) -> Iterator[Path]:
    """Yield the files that may be the project's."""
    yield from (path for suffix in SUFFIXES if (path := directory / f"Pulumi{suffix}").exists())


def settings_files(directory: Path, stack: str) -> Iterator[Path]:
    """Yield the files that may be the stack's settings."""
    for folder in {"", *(folder_in(checked(path)) for path in project_files(directory))}:
        for suffix in SUFFIXES:
            path = directory / folder / f"Pulumi.{stack}{suffix}"
            if path.exists():
                yield path


def folder_in(project: Mapping[str, Any]) -> str:
    """Return the folder of the stacks' settings files; `config` is its old name (pulumi: workspace/project.go)."""
    old = project.get("config")
    return str(project.get("stackConfigDir") or (old if isinstance(old, str) else "") or "")


def checked(path: Path) -> Mapping[str, Any]:
    """Return the mapping in a file; SpecError if it has none, or a key that is no text, which the engine makes one."""
    try:
        content = read_json(path) if path.suffix == ".json" else read_yaml(path)
        if not isinstance(content or {}, Mapping) or not all(isinstance(name, str) for name in content or ()):
            raise ValueError("it is no mapping of names")
    except (OSError, ValueError) as error:
        raise SpecError(
            f"{path.name} cannot be read, so nobody knows where it sends credentials or the stack's key.",
            why=one_line(str(error), LONGEST),
            fix="Correct the file, or put it back.",
            code="settings_invalid",
        ) from None
    return content or {}
