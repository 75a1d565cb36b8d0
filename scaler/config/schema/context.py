"""What checks read besides the value that they check."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationInfo

from scaler.support.values import dataclass


@dataclass(frozen=True)
class SpecContext:
    """The validation context: where the spec is, and what else it says."""

    stack: str
    folder: Path
    """The spec's folder; cloud-init documents are named relative to it."""
    project_folder: Path
    """The working directory of commands; scripts and policy packs are named relative to it."""
    cloud: str | None
    """None if the spec names no cloud, or one that scaler does not bring along."""
    wanted: int = 0
    """The sum of the groups' counts, of those that are numbers."""
    group: str = ""
    """The group that is being checked."""
    monitoring: bool = False
    """Whether it asks for DigitalOcean's monitoring agent."""


Info = ValidationInfo[SpecContext]
