"""Modules with functions, as a user writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaler.model import Extension


def extension(function: Callable[..., Any]) -> Extension:
    return Extension("fleet:function", function)


def module(folder: Path, text: str, name: str = "fleet") -> Path:
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return folder
