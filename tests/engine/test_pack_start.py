"""A policy pack that does not start holds nothing up, and does not outlive what asked for it."""

from __future__ import annotations

import _thread
import threading
from pathlib import Path

import pytest

import scaler
from scaler.engine import process
from scaler.engine.policy_packs import PolicyPackError
from scaler.model import PolicyPack
from tests.engine.stack_project import Project
from tests.support.processes import is_alive, script, wait_until

pytestmark = pytest.mark.engine


def test_a_pack_that_does_not_start_is_named_and_ended(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "pids"
    # It writes no line; its child is in a group of its own, as the engine's own children are.
    script(tmp_path, "hangs", f"printf 12\ntimeout 600 sleep 600 &\necho $$ $! >> {started}\nexec sleep 600")
    good = PolicyPack(path=Path(scaler.__file__).parents[1] / "policies")
    packs = [good, PolicyPack(path=tmp_path / "hangs")]
    change = project.change(["demo-worker-1"])

    def pids() -> list[int]:
        return [int(pid) for pid in started.read_text().split()]

    monkeypatch.setattr(process, "PACKS_START_S", 1.0)
    with pytest.raises(PolicyPackError) as refused:
        project.stack.preview(change, packs)
    assert refused.value.what == f"The policy pack {tmp_path / 'hangs'} did not start; nothing was changed."
    wait_until(lambda: not any(map(is_alive, pids())), "the end of the pack")

    # An interrupt ends the wait, the engine, which obeys none while it waits for a pack, and the pack.
    started.unlink()
    monkeypatch.setattr(process, "PACKS_START_S", 600.0)

    def interrupt() -> None:
        wait_until(started.exists, "the pack")
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        project.stack.preview(change, packs)
    assert project.engine.pid is not None
    assert not is_alive(project.engine.pid)
    wait_until(lambda: not any(map(is_alive, pids())), "the end of the pack")
    assert project.machines() == {}
