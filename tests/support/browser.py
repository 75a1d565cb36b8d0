"""A real browser, driven over Chromium's DevTools protocol through two pipes."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_DEADLINE_S = 120.0

_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions"),
    *("--no-first-run", "--disable-background-networking", "--remote-debugging-pipe"),
)

_PAINTED = """[...document.querySelectorAll("canvas")].map(canvas => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const colors = new Set();
  for (let at = 0; at < pixels.length; at += 4) {
    if (pixels[at + 3] === 255) colors.add(`${pixels[at]},${pixels[at + 1]},${pixels[at + 2]}`);
  }
  return [...colors];
})"""


class Browser:
    """One tab. What it asked for, and what it complained of, since the last `open`."""

    def __init__(self, commands: int, answers: int) -> None:
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self._commands = commands
        self._answers = answers
        self._unread = b""
        self._last = 0
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session: str | None = None
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    def open(self, url: str, *, width: int = 1280, dark: bool = False) -> None:
        """Load a page in a window of this width."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.requested, self.complaints = [], []
        self._call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """Return the value of an expression."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Wait until an expression holds."""
        self._until(lambda: self.run(script), script)

    def painted(self) -> Sequence[set[str]]:
        """Return the colors of each canvas, as `red,green,blue`."""
        return [set(colors) for colors in self.run(_PAINTED)]

    def screenshot(self, path: Path) -> None:
        """Write the whole page as a PNG."""
        image = self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(image))

    def _until(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + _DEADLINE_S
        while not condition():
            assert time.monotonic() < end, f"never seen: {what}"
            time.sleep(0.05)

    def _call(self, method: str, **parameters: Any) -> Mapping[str, Any]:
        self._last += 1
        call = {"id": self._last, "method": method, "params": parameters}
        session = getattr(self, "_session", None)
        message = json.dumps({**call, "sessionId": session} if session else call).encode() + b"\0"
        while message:
            message = message[os.write(self._commands, message) :]
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: Mapping[str, Any] = answer["result"]
                return result
            self._hear(answer.get("method", ""), answer.get("params", {}))

    def _read(self) -> Mapping[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], _DEADLINE_S)
            assert ready, "the browser says nothing"
            content = os.read(self._answers, 1 << 16)
            assert content, "the browser is gone"
            self._unread += content
        message, _, self._unread = self._unread.partition(b"\0")
        document: Mapping[str, Any] = json.loads(message)
        return document

    def _hear(self, event: str, facts: Mapping[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requested.append(facts["request"]["url"])
        elif event in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(json.dumps(facts))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start a browser with an empty profile in the folder."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no browser is installed (Debian: apt-get install chromium)")
    (theirs_in, commands), (answers, theirs_out) = os.pipe(), os.pipe()
    # Chromium reads descriptor 3 and writes to 4.
    shell = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["bash", "-c", shell, program, *_OPTIONS, f"--user-data-dir={folder / 'profile'}"],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(commands, answers)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(commands)
        os.close(answers)
