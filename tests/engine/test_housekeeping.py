"""Old files of the engine: which are removed, and which copies stay."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scaler.engine.backend import LocalBackend
from scaler.engine.housekeeping import leftovers, remove, surplus


def write(path: Path, *, days_old: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x", encoding="utf-8")
    then = datetime.now(UTC).timestamp() - days_old * 86_400
    os.utime(path, (then, then))
    return path


def test_what_is_old_is_left_over_and_the_last_copy_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    history = tmp_path / ".pulumi" / "history" / "scaler" / "prod"
    old = [write(history / f"prod-1.{kind}.json", days_old=9) for kind in ("history", "checkpoint")]
    # One operation's files go together or not at all.
    write(history / "prod-2.history.json", days_old=9)
    write(history / "prod-2.checkpoint.json", days_old=1)
    write(history / "prod-3.history.json", days_old=9)
    write(history.parent / "other" / "other-1.history.json", days_old=9)
    logs = [write(tmp_path / "engine" / "logs" / "old.log", days_old=9)]
    write(tmp_path / "engine" / "logs" / "new.log", days_old=1)
    temporary = [write(tmp_path / "tmp" / "automation-logs-up-a" / "eventlog.txt", days_old=9)]
    write(tmp_path / "tmp" / "somebody" / "eventlog.txt", days_old=9)

    backend = LocalBackend(tmp_path / ".pulumi", "scaler", "prod")
    found = leftovers(tmp_path / "engine", backend, datetime.now(UTC) - timedelta(days=7))
    assert {leftover.path for leftover in found} == {*old, *logs, *temporary}
    assert sum(leftover.size for leftover in found) == 4
    remove(found)
    remove(found)
    assert not any(path.exists() for path in (*old, *logs, temporary[0].parent))
    assert leftovers(tmp_path / "engine", None, datetime.now(UTC) - timedelta(days=7)) == []


def test_all_but_the_newest_copies_and_logs_are_surplus(tmp_path: Path) -> None:
    history = tmp_path / ".pulumi" / "history" / "scaler" / "prod"
    copies = [
        [write(history / f"prod-{number}.{kind}.json", days_old=0) for kind in ("history", "checkpoint")]
        for number in range(5)
    ]
    logs = [write(tmp_path / "engine" / "logs" / f"{number}.log", days_old=5 - number) for number in range(5)]
    write(history.parent / "other" / "other-1.history.json", days_old=9)

    backend = LocalBackend(tmp_path / ".pulumi", "scaler", "prod")
    found = surplus(tmp_path / "engine", backend, keep=3)
    assert {leftover.path for leftover in found} == {*copies[0], *copies[1], *logs[:2]}
    remove(found)
    assert surplus(tmp_path / "engine", backend, keep=3) == []
    assert surplus(tmp_path / "nothing", None) == []
