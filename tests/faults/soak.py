"""`make soak`: random operations on one stack. Prints a table, and stops at the first promise that was not kept."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults.soak_run import SoakError, soak
from tests.faults.stage import Theatre
from tests.support.project import VENDORS


def main() -> int:
    """Play; 1 if a promise was not kept."""
    vendors = {vendor.name: vendor for vendor in VENDORS}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="which operations: the same seed has the same ones")
    parser.add_argument("--operations", type=int, default=2_000, metavar="N", help="how many of them")
    parser.add_argument("--cloud", choices=vendors, default="hetzner")
    parser.add_argument("--profile", choices=("instant", "hostile"), default="instant", help="how the clouds behave")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"the stack is in {folder}; it stays there after a violation", file=sys.stderr)
    try:
        report = soak(
            Theatre(folder, options.profile),
            vendors[options.cloud],
            seed=options.seed,
            operations=options.operations,
            tell=_tell,
        )
    except SoakError as error:
        print(f"VIOLATED  {error}", file=sys.stderr)
        return 1
    print(report)
    return 0


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
