"""GitHub's comments on a pull request and GitLab's notes on a merge request.

Paths, pages, bodies and codes are those of the REST APIs: GitHub's issue comments of 2022-11-28, GitLab's notes of v4.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

TOKEN = "token-of-the-pipeline"

_LONGEST = 65536
"""Characters of a comment at GitHub."""


@dataclass
class Comment:
    """One comment or note."""

    id: int
    body: str
    author: int
    """Its id at the service; that of the pipeline's bot is `BOT`."""


BOT = 41898282


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ReviewServer

    def _answer(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        with self.server.lock:
            status, body, headers = self.server.answer(self.command, self.path, dict(self.headers), raw)
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(text)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = _answer

    def log_message(self, *args: Any) -> None:
        pass


Answer = tuple[int, Any, dict[str, str]]


class ReviewServer(ThreadingHTTPServer):
    """One merge or pull request with its comments, oldest first; at 127.0.0.1, or at a Unix socket."""

    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, socket_path: Path | None = None) -> None:
        self.address_family = socket.AF_UNIX if socket_path else socket.AF_INET
        self.comments: list[Comment] = []
        self.lock = threading.Lock()
        super().__init__(str(socket_path) if socket_path else ("127.0.0.1", 0), _Handler)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def server_bind(self) -> None:
        """Bind, without the name of the host that an HTTP server asks for."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = (
            "localhost",
            0 if isinstance(self.server_address, str) else self.server_address[1],
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def write(self, body: str, *, author: int = BOT) -> Comment:
        """Add a comment, as somebody at the service's page would."""
        comment = Comment(len(self.comments) + 1, body, author)
        self.comments.append(comment)
        return comment

    def answer(self, method: str, path: str, headers: Mapping[str, str], raw: str) -> Answer:
        """Return the status, the body and the headers of the answer to a request."""
        raise NotImplementedError

    def page(self, query: str) -> tuple[list[Comment], int | None]:
        """Return one page of the comments, and the number of the next."""
        asked = parse_qs(query)
        number, size = int(asked.get("page", ["1"])[0]), min(100, int(asked.get("per_page", ["30"])[0]))
        rest = self.comments[(number - 1) * size :]
        return rest[:size], number + 1 if len(rest) > size else None

    def found(self, text: str) -> Comment | None:
        """Return the comment with this id."""
        return next((each for each in self.comments if each.id == int(text)), None)


class GitHubReview(ReviewServer):
    """Pull request 7 of `shop/web`."""

    def answer(self, method: str, path: str, headers: Mapping[str, str], raw: str) -> Answer:
        """Answer as GitHub does."""
        url = urlsplit(path)
        if headers.get("Authorization") not in (f"token {TOKEN}", f"Bearer {TOKEN}"):
            return 401, {"message": "Bad credentials"}, {}
        if method in ("POST", "PATCH") and len(json.loads(raw)["body"]) > _LONGEST:
            return 422, {"message": "Validation Failed"}, {}
        if url.path == "/repos/shop/web/issues/7/comments":
            if method == "POST":
                return 201, _github(self.write(json.loads(raw)["body"])), {}
            shown, following = self.page(url.query)
            link = f'<https://api.github.com{url.path}?per_page=100&page={following}>; rel="next"'
            return 200, [_github(each) for each in shown], {"Link": link} if following else {}
        known = re.fullmatch(r"/repos/shop/web/issues/comments/(\d+)", url.path)
        if method == "PATCH" and known and (comment := self.found(known[1])):
            comment.body = json.loads(raw)["body"]
            return 200, _github(comment), {}
        return 404, {"message": "Not Found"}, {}


class GitLabReview(ReviewServer):
    """Merge request 7 of the project 12."""

    @property
    def url(self) -> str:
        """What GitLab calls CI_API_V4_URL."""
        return f"http://127.0.0.1:{self.server_port}/api/v4"

    def answer(self, method: str, path: str, headers: Mapping[str, str], raw: str) -> Answer:
        """Answer as GitLab does."""
        url = urlsplit(path)
        if headers.get("PRIVATE-TOKEN") != TOKEN:
            return 401, {"message": "401 Unauthorized"}, {}
        if (method, url.path) == ("GET", "/api/v4/user"):
            return 200, {"id": BOT, "username": "project_12_bot"}, {}
        known = re.fullmatch(r"/api/v4/projects/12/merge_requests/7/notes(?:/(\d+))?", url.path)
        if not known:
            return 404, {"message": "404 Not Found"}, {}
        if method == "GET":
            return 200, [_gitlab(each) for each in self.page(url.query)[0]], {}
        body = parse_qs(raw, keep_blank_values=True)["body"][0]
        if method == "POST" and not known[1]:
            return 201, _gitlab(self.write(body)), {}
        if method == "PUT" and known[1] and (comment := self.found(known[1])):
            comment.body = body
            return 200, _gitlab(comment), {}
        return 404, {"message": "404 Not found"}, {}


def _github(comment: Comment) -> dict[str, Any]:
    user = {"id": comment.author, "type": "Bot" if comment.author == BOT else "User"}
    return {"id": comment.id, "body": comment.body, "user": user}


def _gitlab(comment: Comment) -> dict[str, Any]:
    return {"id": comment.id, "body": comment.body, "author": {"id": comment.author}, "system": False}
