"""The stack's id in the backend, and what the engine is not to be run beside."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.errors import UnrecognisedError
from scaler.model.identity import Identity
from scaler.simulator import EmbeddedCloud
from tests.engine.stack_project import STACK, Project, names
from tests.support.foreign import VOLUME, add_foreign_volume

pytestmark = pytest.mark.engine

OURS = Identity(id="aaaa1111", project="scaler", cloud="hetzner", endpoint="embedded", tokens=("0",))


def test_an_id_is_saved_once_and_keeps_what_the_stack_holds(project: Project) -> None:
    project.stack.establish(OURS)
    assert project.stack.read().identity == OURS
    project.stack.apply(replace(project.change(names(1)), identity=OURS))
    project.stack.establish(replace(OURS, id="bbbb2222"))
    saved = project.stack.read()
    assert (saved.identity, set(saved.entries), set(saved.outputs)) == (OURS, set(names(1)), set(names(1)))
    # The same id with more to say replaces what was said.
    project.stack.establish(OURS.claiming(["7"]))
    assert project.stack.read().identity == OURS.claiming(["7"])


@pytest.mark.acceptance("T05")
def test_a_resource_that_comes_after_the_plan_is_noticed_under_the_lock(
    project: Project, served: EmbeddedCloud
) -> None:
    project.scale(names(1))
    change = project.change(names(2))
    (path,) = (project.backend.root / "stacks").rglob(f"{STACK}.json")
    add_foreign_volume(path)
    served.world.clear_log()
    with pytest.raises(UnrecognisedError) as refusal:
        project.stack.apply(change)
    assert (refusal.value.code, VOLUME in refusal.value.why) == ("foreign_resources", True)
    assert [entry.method for entry in served.world.log() if entry.method != "GET"] == []
    assert project.checkpoint().foreign == (VOLUME,)
