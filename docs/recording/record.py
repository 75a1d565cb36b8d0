"""Make the README's picture of a terminal: real commands on the embedded cloud, at a terminal, as an animated SVG.

    python docs/recording/record.py docs/recording/first-run.svg

`make recording` runs it. The times are real, except that nobody waits longer than `_LONGEST_MS` for a change.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

COMMANDS = ("scaler init --yes", "scaler ensure 5", "scaler status")
COLUMNS, ROWS = 90, 30

_QUESTION = re.compile(r"\[[yY]/[nN]\]:? *$")

_KEY_S = 0.04
"""How long a key takes."""
_SHORTEST_MS, _LONGEST_MS, _END_MS = 120, 1500, 6000
"""Of a frame, and of the last one before the animation begins again."""


def record(folder: Path, environ: Mapping[str, str]) -> Iterator[tuple[float, str]]:
    """Run the commands in a folder; yield what the screen gets, with the seconds since the start."""
    start = time.monotonic()
    for command in COMMANDS:
        yield time.monotonic() - start, "\x1b[32m$\x1b[0m "
        for key in command:
            time.sleep(_KEY_S)
            yield time.monotonic() - start, key
        yield time.monotonic() - start, "\r\n"
        for text in _run(command, folder, environ):
            yield time.monotonic() - start, text
    yield time.monotonic() - start, "\x1b[32m$\x1b[0m "


def _run(command: str, folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what a command writes to its terminal, and answer its question with yes. RuntimeError if it fails."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    with subprocess.Popen(
        command.split(), cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        for text in _read(ours):
            yield text
            if _QUESTION.search(text):
                time.sleep(1)
                os.write(ours, b"y\n")
    os.close(ours)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")


def _read(terminal: int) -> Iterator[str]:
    """Yield what comes until the other end is closed."""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # how Linux says that it is closed
            return
        if not data:
            return
        yield data.decode(errors="replace")


def main(target: Path) -> None:
    """Record, and write the SVG."""
    kept = ("PATH", "HOME", "LANG", "XDG_CACHE_HOME", "SCALER_ENGINE")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    environ |= {"TERM": "xterm-256color", "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}"}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "workers"
        folder.mkdir()
        cast = Path(made) / "first-run.cast"
        lines = [json.dumps({"version": 2, "width": COLUMNS, "height": ROWS})]
        lines += [json.dumps([round(seconds, 3), "o", text]) for seconds, text in record(folder, environ)]
        cast.write_text("\n".join(lines) + "\n", encoding="utf-8")
        timing = ["-m", str(_SHORTEST_MS), "-M", str(_LONGEST_MS), "-D", str(_END_MS)]
        words: list[str | Path] = [
            sys.executable,
            "-m",
            "termtosvg",
            "render",
            cast,
            target,
            "-t",
            "window_frame",
            *timing,
        ]
        subprocess.run(words, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
