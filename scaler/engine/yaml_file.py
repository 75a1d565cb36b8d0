"""YAML files of Pulumi's that scaler only looks into, with bounded time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scaler.support.documents import read_file

_LARGEST_FILE = 64 << 10
"""Bytes; Pulumi writes some hundred."""


def read_yaml(path: Path) -> Any:
    """Return the document in a file. OSError if it cannot be read; ValueError, with the line, if it is none."""
    from scaler.support.yaml_text import load, text_of

    return load(text_of(read_file(path, _LARGEST_FILE)))
