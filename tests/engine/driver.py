"""A run as a process of its own, to be killed: `driver.py FOLDER ENDPOINT COUNT` scales the stack to COUNT."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from scaler.errors import Terminated
from tests.engine.stack_project import Project, names


def terminate(number: int, frame: object) -> None:
    raise Terminated


def main() -> int:
    signal.signal(signal.SIGTERM, terminate)
    folder, endpoint, count = sys.argv[1:]
    project = Project(Path(folder), endpoint)
    try:
        applied = project.scale(names(int(count)))
        if applied.interrupt:
            raise applied.interrupt
    except Terminated:
        return 143
    except KeyboardInterrupt:
        return 130
    print(sorted(applied.accepted), applied.failure)
    return 0 if applied.failure is None else 1


if __name__ == "__main__":
    sys.exit(main())
