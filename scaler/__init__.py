"""Scaler: exactly N servers from a snapshot, on Hetzner Cloud and DigitalOcean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaler.support.version import VERSION

if TYPE_CHECKING:
    from scaler.api import Scaler

__version__ = VERSION
__all__ = ["Scaler", "__version__"]


def __getattr__(name: str) -> object:
    """`Scaler`, loaded when it is asked for: `import scaler` alone stays light."""
    if name != "Scaler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from scaler.api import Scaler

    return Scaler
