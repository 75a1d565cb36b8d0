"""The cloud of one's own that tests use, from its package's folder, without an installation."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "clouds" / "own_cloud"))

from folder_cloud import FolderCloud

# A folder that stays on the path counts as an installed package: other tests would see one more cloud.
OWN_CLOUD = Path(sys.path.pop(0))

__all__ = ["OWN_CLOUD", "FolderCloud"]
