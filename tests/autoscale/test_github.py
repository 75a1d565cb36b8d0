"""The github source against a server that gives GitHub's published examples, valid by its published schemas."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from scaler.autoscale.metrics import MetricRead, read
from scaler.model.autoscaling import GithubApp, GithubSource
from scaler.support.clock import SystemClock
from tests.autoscale.reading import number, refusal
from tests.support import servers

jwt = pytest.importorskip("jwt", reason="PyJWT is not installed (make test installs it)")

pytestmark = pytest.mark.server

API = json.loads(Path(__file__).with_name("github_api.json").read_text(encoding="utf-8"))


class GitHub:
    """Repositories with runs and jobs, as the API shows them, in pages of `size`."""

    def __init__(self, server: servers.Pages, size: int = 100) -> None:
        self.server, self.size = server, size
        self.runs: dict[str, dict[int, str]] = {}
        self.jobs: dict[int, list[tuple[str, tuple[str, ...]]]] = {}
        self.unchanged = 0
        self.tokens: list[str] = []
        server.pages = _Everything(self.answer)

    def add(self, repository: str, *jobs: tuple[str, tuple[str, ...]], status: str = "in_progress") -> None:
        """Add a run with these jobs: each a status and its labels."""
        run = 1000 + len(self.jobs)
        self.runs.setdefault(repository, {})[run] = status
        self.jobs[run] = list(jobs)

    def answer(self, handler: Any) -> None:
        url = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.tokens.append(handler.headers["Authorization"])
        found = self._find(url.path, query)
        if found is None:
            _send(handler, 404, {"message": "Not Found"}, {})
            return
        document, more = found
        headers = {"ETag": f'"{hash(json.dumps(document, sort_keys=True))}"'}
        if more:
            page = int(query.get("page", "1")) + 1
            rest = re.sub(r"&page=\d+", "", handler.path)
            headers["Link"] = f'<{self.server.url}{rest}&page={page}>; rel="next", <{self.server.url}/x>; rel="last"'
        if handler.headers.get("If-None-Match") == headers["ETag"]:
            self.unchanged += 1
            _send(handler, 304, None, headers)
            return
        _send(handler, 200, document, headers)

    def _find(self, path: str, query: dict[str, str]) -> tuple[Any, bool] | None:
        if path == "/orgs/shop/repos":
            entries = [{"full_name": name, "archived": name.endswith("old")} for name in [*self.runs, "shop/old"]]
            return self._page("repositories", None, entries, query)
        match = re.fullmatch(r"/repos/(\w+/\w+)/actions/runs(?:/(\d+)/jobs)?", path)
        if match is None or match[1] not in self.runs:
            return None
        if match[2] is None:
            entries = [{"id": run} for run, status in self.runs[match[1]].items() if status == query["status"]]
            return self._page("runs", "workflow_runs", entries, query)
        jobs = [{"status": status, "labels": list(labels)} for status, labels in self.jobs[int(match[2])]]
        return self._page("jobs", "jobs", jobs, query)

    def _page(self, kind: str, key: str | None, entries: list[Any], query: dict[str, str]) -> tuple[Any, bool]:
        assert query["per_page"] == "100"
        first = (int(query.get("page", "1")) - 1) * self.size
        example = copy.deepcopy(API[kind]["example"])
        [model, *_] = example[key] if key else example
        page = [{**model, **entry} for entry in entries[first : first + self.size]]
        document = {**example, "total_count": len(entries), key: page} if key else page
        jsonschema.validate(document, API[kind]["schema"])
        return document, first + self.size < len(entries)


class _Everything(dict[str, Any]):
    """One function answers every path."""

    def __init__(self, answer: Callable[[Any], None]) -> None:
        self.answer = answer

    def get(self, key: str, default: object = None) -> Any:
        del key, default
        return self.answer


def _send(handler: Any, status: int, document: object, headers: dict[str, str]) -> None:
    body = b"" if document is None else json.dumps(document).encode()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def github(pages: servers.Pages) -> GitHub:
    return GitHub(pages)


def source(github: GitHub, *repositories: str, **rest: Any) -> GithubSource:
    given = {"api": github.server.url, "token_env": "GITHUB_TOKEN", "labels": ("Linux", "x64"), **rest}
    return GithubSource(repositories=repositories, **given)


def count(github: GitHub, *repositories: str, **rest: Any) -> float:
    return number(source(github, *repositories, **rest), GITHUB_TOKEN="one")


OURS = ("self-hosted", "linux")


def test_jobs_that_wait_and_jobs_that_run_on_our_runners(github: GitHub) -> None:
    github.add("shop/web", ("queued", OURS), ("in_progress", OURS), ("completed", OURS), ("waiting", OURS))
    github.add("shop/web", ("queued", OURS), status="queued")
    github.add("shop/api", ("queued", ("linux", "X64")))
    assert count(github, "shop/web", "shop/api") == 4
    assert count(github, "shop/web", "shop/api", jobs="queued") == 3
    assert count(github, "shop/web", "shop/api", jobs="running") == 1
    assert count(github, "shop/web") == 3


def test_jobs_for_other_runners_do_not_count(github: GitHub) -> None:
    github.add("shop/web", ("queued", ("ubuntu-latest",)), ("queued", ("self-hosted", "gpu")), ("queued", ()))
    assert count(github, "shop/web") == 0
    assert count(github, "shop/web", labels=("gpu",)) == 1


def test_all_repositories_of_an_organization_that_are_not_archived(github: GitHub) -> None:
    github.add("shop/web", ("queued", OURS))
    github.add("shop/api", ("queued", OURS), ("queued", OURS))
    assert count(github, organization="shop") == 3


def test_lists_of_several_pages_are_read_whole(pages: servers.Pages) -> None:
    github = GitHub(pages, size=2)
    for _ in range(3):
        github.add("shop/web", *[("queued", OURS)] * 5)
    assert count(github, "shop/web") == 15
    assert count(github, organization="shop") == 15


def test_a_list_without_end_is_an_error(pages: servers.Pages) -> None:
    github = GitHub(pages, size=1)
    github.add("shop/web", *[("queued", OURS)] * 21)
    words = refusal(source(github, "shop/web"), 30, GITHUB_TOKEN="one")
    assert words == "GitHub lists more than 2000 entries of /repos/shop/web/actions/runs/1000/jobs"


def test_what_has_not_changed_is_not_sent_again(github: GitHub) -> None:
    github.add("shop/web", ("queued", OURS))
    cache: dict[object, object] = {}

    def again(token: str) -> float:
        environ = {"GITHUB_TOKEN": token}
        request = MetricRead(5, datetime.now(UTC), environ, Path("/"), SystemClock(), cache=cache)
        return read(source(github, "shop/web"), request).number

    assert again("one") == 1
    assert github.unchanged == 0
    assert again("one") == 1
    assert github.unchanged == 3, "two lists of runs, and one of jobs"
    github.jobs[1000].append(("queued", OURS))
    assert again("one") == 2
    assert github.unchanged == 5
    assert again("two") == 2
    assert github.unchanged == 5, "another token may see something else"
    github.runs["shop/web"].clear()
    assert again("two") == 0
    [kept] = cache.values()
    assert len(kept.answers) == 2, "the jobs of a run that is over are not kept"  # type: ignore[attr-defined]


def test_an_app_gets_a_token_for_its_installation_and_keeps_it(github: GitHub) -> None:
    github.add("shop/web", ("queued", OURS))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    pem = key.private_bytes(*form).decode()
    asked: list[str] = []
    answer = github.answer

    def with_tokens(handler: Any) -> None:
        if handler.path != "/app/installations/77/access_tokens":
            answer(handler)
            return
        assert handler.command == "POST"
        # The test's clock is moved, and this library's is not.
        ignored = {"verify_iat": False, "verify_exp": False}
        signed = handler.headers["Authorization"].split()[1]
        claims = jwt.decode(signed, key.public_key(), algorithms=["RS256"], options=ignored)
        asked.append(claims["iss"])
        expires = datetime.now(UTC) + timedelta(hours=1)
        token = {**API["token"]["example"], "token": f"ghs_{len(asked)}", "expires_at": f"{expires:%Y-%m-%dT%H:%M:%SZ}"}
        jsonschema.validate(token, API["token"]["schema"])
        _send(handler, 201, token, {})

    github.server.pages = _Everything(with_tokens)
    app = GithubApp(id="12", installation=77, key_env="KEY")
    made = source(github, "shop/web", token_env=None, app=app)
    cache: dict[object, object] = {}
    environ = {"KEY": pem.replace("\n", "\\n")}
    for later, tokens in ((0, 1), (30, 1), (56, 2)):
        moment = datetime.now(UTC) + timedelta(minutes=later)
        request = MetricRead(5, moment, environ, Path("/"), SystemClock(), cache=cache)
        assert read(made, request).number == 1
        assert asked == ["12"] * tokens, f"after {later} minutes"
    assert set(github.tokens) == {"Bearer ghs_1", "Bearer ghs_2"}
    assert refusal(made, KEY="no key") == "KEY holds no private key"


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (401, {}, "GitHub refuses the credentials (HTTP 401)"),
        (404, {}, "GitHub does not show /repos/shop/web/actions/runs: the name is wrong, or the credentials may not"),
        (403, {}, "GitHub does not show /repos/shop/web/actions/runs: the name is wrong, or the credentials may not"),
        (
            403,
            {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767225600"},
            "GitHub's rate limit is reached: it begins anew at 00:00 UTC",
        ),
        (429, {"Retry-After": "60"}, "GitHub's rate limit is reached: it asks to wait for 60s"),
        (502, {}, "HTTP 502 of /repos/shop/web/actions/runs"),
    ],
)
def test_what_github_refuses(github: GitHub, status: int, headers: dict[str, str], words: str) -> None:
    github.server.pages = _Everything(lambda handler: _send(handler, status, {"message": "no"}, headers))
    assert words in refusal(source(github, "shop/web"), GITHUB_TOKEN="s3cret")


def test_something_else_than_github(github: GitHub) -> None:
    github.server.pages = _Everything(lambda handler: _send(handler, 200, {"hello": "world"}, {}))
    words = "the answer is not one of GitHub's API: look at `api`"
    assert refusal(source(github, "shop/web"), GITHUB_TOKEN="one") == words
    assert refusal(source(github, organization="shop"), GITHUB_TOKEN="one") == words


def test_a_page_of_another_host_is_not_followed(github: GitHub) -> None:
    github.add("shop/web", ("queued", OURS))
    document = {**API["runs"]["example"], "workflow_runs": []}
    headers = {"Link": '<http://169.254.169.254/latest>; rel="next"'}
    github.server.pages = _Everything(lambda handler: _send(handler, 200, document, headers))
    assert refusal(source(github, "shop/web"), GITHUB_TOKEN="one") == "the next page is of another API"
