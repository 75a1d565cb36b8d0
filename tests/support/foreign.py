"""A resource in a stack that scaler did not declare, as a plain Pulumi program would leave it."""

from __future__ import annotations

import json
from pathlib import Path

VOLUME = "urn:pulumi:demo::scaler::hcloud:index/volume:Volume::database"
"""In the stack `demo` of the project `scaler`."""


def add_foreign_volume(checkpoint: Path) -> None:
    """Add the resource to the engine's saved state in this file."""
    document = json.loads(checkpoint.read_text(encoding="utf-8"))
    resource = {
        "urn": VOLUME,
        "custom": True,
        "type": "hcloud:index/volume:Volume",
        "id": "1",
        "inputs": {},
        "outputs": {},
    }
    document["checkpoint"]["latest"]["resources"].append(resource)
    checkpoint.write_text(json.dumps(document), encoding="utf-8")
