"""Pulumi's files of a project and of a stack, whichever of their forms they have: the engine prefers one, and scaler
checks all."""

from __future__ import annotations

import re
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
        _check_config(path, content or {})
    except (OSError, ValueError) as error:
        raise SpecError(
            f"{path.name} cannot be read, so nobody knows where it sends credentials or the stack's key.",
            why=one_line(str(error), LONGEST),
            fix="Correct the file, or put it back.",
            code="settings_invalid",
        ) from None
    return content or {}


def _check_config(path: Path, content: Mapping[str, Any]) -> None:
    """ValueError, with the line, for a `config` that the engine would stop at with words of its own."""
    fitting = Mapping | str | None if path.stem == "Pulumi" else Mapping | None
    odd = [name for name, value in content.items() if name.lower() == "config" and not isinstance(value, fitting)]
    if odd:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        key = re.compile(rf"[\s{{]*[\"']?{re.escape(odd[0])}[\"']?\s*:")
        line = next((number for number, text in enumerate(lines, start=1) if key.match(text)), 1)
        raise ValueError(f"line {line}: {odd[0]} must be a mapping of names to values")
