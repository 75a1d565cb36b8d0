"""YAML files of Pulumi's that scaler only looks into, with bounded time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scaler.support.documents import read_file

_LARGEST_FILE = 64 << 10
"""Bytes; Pulumi writes some hundred."""


def read_yaml(path: Path) -> Any:
    """Return the document in a file. OSError if it cannot be read, ValueError if it is none or nested too deep."""
    import yaml

    content = read_file(path, _LARGEST_FILE)
    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except RecursionError:
        raise ValueError("it is nested too deep") from None
