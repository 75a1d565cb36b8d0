"""Google Cloud Storage on loopback: fake-gcs-server, with what it lacks of Google's XML interface in front of it.

The engine speaks Google's JSON interface, which the server has. obstore writes, lists and deletes through the XML
interface; here these requests become those of the JSON interface, where the server keeps its conditions.
Source: cloud.google.com/storage/docs/xml-api/reference-methods and …/json_api/v1/objects.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from xml.sax.saxutils import escape

from tests.support.servers import await_true, free_port, listens, needs, running

Answer = tuple[int, Mapping[str, str], bytes]


class _Gate(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    port: int

    def _pass_on(self) -> None:
        body = self._body()
        parts = urlsplit(self.path)
        if parts.path.startswith("/states"):
            status, headers, content = self._translated(parts.path.removeprefix("/states").lstrip("/"), body)
        else:
            status, headers, content = self._asked(self.command, self.path, body, dict(self.headers))
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = _pass_on

    def log_message(self, format: str, *values: Any) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _asked(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            kept = {
                name: value
                for name, value in (headers or {}).items()
                if name.lower() not in ("content-length", "transfer-encoding", "connection")
            }
            connection.request(method, path, body, kept)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()

    def _translated(self, name: str, body: bytes) -> Answer:
        name = unquote(name)
        if not name:
            return self._listed(parse_qs(urlsplit(self.path).query).get("prefix", [""])[0])
        path = f"/storage/v1/b/states/o/{quote(name, safe='')}"
        if self.command == "PUT":
            query = {"uploadType": "media", "name": name}
            if after := self.headers.get("x-goog-if-generation-match"):
                query["ifGenerationMatch"] = after
            status, _, content = self._asked("POST", f"/upload/storage/v1/b/states/o?{urlencode(query)}", body)
            return (status, _marks(json.loads(content)), b"") if status == 200 else (status, {}, content)
        if self.command == "DELETE":
            return self._asked("DELETE", path)
        status, _, content = self._asked("GET", path)
        if status != 200:
            return status, {}, content
        marks = _marks(json.loads(content))
        if self.headers.get("If-None-Match") == marks["ETag"]:
            return 304, marks, b""
        return 200, marks, self._asked("GET", f"{path}?alt=media")[2]

    def _listed(self, prefix: str) -> Answer:
        found = json.loads(self._asked("GET", f"/storage/v1/b/states/o?{urlencode({'prefix': prefix})}")[2])
        contents = "".join(
            f"<Contents><Key>{escape(item['name'])}</Key><LastModified>{item['updated']}</LastModified>"
            f"<Size>{item['size']}</Size><ETag>{escape(_marks(item)['ETag'])}</ETag></Contents>"
            for item in found.get("items", [])
        )
        return 200, {"Content-Type": "application/xml"}, f"<ListBucketResult>{contents}</ListBucketResult>".encode()


def _marks(item: Mapping[str, Any]) -> dict[str, str]:
    """The headers that tell one version of an object from the others."""
    return {
        "ETag": f'"{item["generation"]}"',
        "x-goog-generation": str(item["generation"]),
        "Last-Modified": "Sun, 29 Nov 2026 12:00:00 GMT",
    }


@dataclass(frozen=True)
class GoogleBucket:
    port: int
    environ: Mapping[str, str] = field(default_factory=dict)
    url: str = "gs://states/team"


@contextmanager
def google_bucket() -> Iterator[GoogleBucket]:
    """An empty bucket on loopback."""
    program = needs("fake-gcs-server", "golang; then: make google")
    port = free_port()
    with TemporaryDirectory() as name:
        command = [program, "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        with running(command, Path(name)):
            await_true(lambda: listens(port), "fake-gcs-server")
            gate = ThreadingHTTPServer(("127.0.0.1", 0), type("Gate", (_Gate,), {"port": port}))
            thread = Thread(target=gate.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("POST", "/storage/v1/b", json.dumps({"name": "states"}))
            assert connection.getresponse().status == 200
            connection.close()
            try:
                yield GoogleBucket(
                    gate.server_port,
                    # The engine's library wants no scheme, and some token.
                    {
                        "STORAGE_EMULATOR_HOST": f"127.0.0.1:{gate.server_port}",
                        "GOOGLE_OAUTH_ACCESS_TOKEN": "none",
                    },
                )
            finally:
                gate.shutdown()
                gate.server_close()
                thread.join()
