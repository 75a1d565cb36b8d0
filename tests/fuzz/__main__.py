"""`make fuzz`: read almost-right documents for an hour, each round with another seed. Ends at the first failure.

python tests/fuzz --minutes 60 -k checkpoint
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path

_EXAMPLES = 500
"""Documents of each kind in a round, which takes some minutes."""


def main() -> int:
    """Run rounds until the time is over; return the exit code of pytest in the last one."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("-k", dest="only", default="", help="only tests whose name matches")
    arguments = parser.parse_args()
    until = time.monotonic() + 60 * arguments.minutes
    environ = {**os.environ, "SCALER_FUZZ_EXAMPLES": str(_EXAMPLES)}
    code = 0
    while code == 0 and time.monotonic() < until:
        seed = random.randrange(2**32)  # noqa: S311 - nothing depends on its quality
        sys.stdout.write(f"round with --hypothesis-seed={seed}\n")
        sys.stdout.flush()
        words = [sys.executable, "-m", "pytest", "-q", str(Path(__file__).parent), f"--hypothesis-seed={seed}"]
        words += ["-k", arguments.only] if arguments.only else []
        code = subprocess.run(words, env=environ, check=False).returncode
    return code


if __name__ == "__main__":
    sys.exit(main())
