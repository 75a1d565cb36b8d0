"""A clock that was ahead and was set back, and a metric that is dated in the future, from the command line."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.project import Project

FUTURE = "2100-01-01T00:00:00Z"
STAMP = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z")


def sample(at: str) -> dict[str, object]:
    """Thirty jobs, as measured at this moment."""
    document = json.dumps({"jobs": 30, "at": at})
    return {
        "metrics": {"jobs": {"command": {"run": ["echo", document], "pointer": "/jobs", "time_pointer": "/at"}}},
        "rules": [{"backlog": {"metric": "jobs", "per_server": 10}}],
        "up": {"cooldown": "0s"},
    }


def set_ahead(text: str) -> str:
    """Date everything a day later, as a clock that is ahead does."""

    def later(found: re.Match[str]) -> str:
        moment = datetime.fromisoformat(found[0]) + timedelta(days=1)
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    return STAMP.sub(later, text)


@pytest.mark.acceptance("T14")
def test_w12_what_is_dated_in_the_future(hetzner: Project) -> None:
    hetzner.describe(groups={"worker": {"count": 1, "max": 5, "autoscale": sample(FUTURE)}})
    hetzner.ensure("1")
    tick = ("autoscale", "--yes", "--wait", "-o", "json")
    held = hetzner.run(*tick).document["decisions"]["worker"]
    assert (held["from"], held["to"]) == (1, 1)
    assert "in the future" in json.dumps(held)

    # Everything that was recorded until now is of a clock that was a day ahead; then the metric is right again.
    for path in (hetzner.state_path, hetzner.state_dir / "demo.autoscale.json"):
        path.write_text(set_ahead(path.read_text(encoding="utf-8")), encoding="utf-8")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    hetzner.describe(groups={"worker": {"count": 1, "max": 5, "autoscale": sample(now)}})
    ran = hetzner.run(*tick)
    decided = ran.document["decisions"]["worker"]
    assert (decided["from"], decided["to"]) == (1, 3), decided["reason"]
    assert ran.stderr.count("in the future") == 1
    assert len(hetzner.agreed()) == 3
    written = (hetzner.state_path.read_text(encoding="utf-8"), hetzner.run("status", "-o", "json").stdout)
    soon = datetime.now(UTC) + timedelta(hours=1)
    stamps = [stamp for text in written for stamp in STAMP.findall(text)]
    assert [stamp for stamp in stamps if datetime.fromisoformat(stamp) > soon] == []
    assert "in the future" not in hetzner.run(*tick).stderr
