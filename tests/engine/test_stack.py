"""The stack through the real engine: what it plans, does, saves, and refuses."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Mapping, Sequence

import pytest

from scaler.clouds import CloudError, QuotaError
from scaler.engine import binary
from scaler.model import Applied, Declaration, Machine, Permits, Server
from scaler.model.lifecycle import Status
from scaler.simulator import EmbeddedCloud
from tests.engine.stack_project import Project, names

pytestmark = pytest.mark.engine


def changes(served: EmbeddedCloud) -> list[str]:
    return [f"{entry.method} {entry.path}" for entry in served.world.log() if entry.method != "GET"]


def saved(project: Project) -> tuple[object, ...]:
    """What a run must leave alone when it does nothing. A secret is encrypted anew each time that it is saved."""
    checkpoint = project.checkpoint()
    return re.sub(r"v1:[^']+", "…", repr(checkpoint.resources)), checkpoint.outputs, checkpoint.pending


def test_preview_changes_nothing(either: Project, served: EmbeddedCloud) -> None:
    planned = either.stack.preview(either.change(names(2))).operations
    assert planned == dict.fromkeys(names(2), "create")
    assert (changes(served), either.held(), either.machines()) == ([], {}, {})


def test_up_down_and_up_again(either: Project, served: EmbeddedCloud) -> None:
    first = either.scale(names(3))
    assert first == Applied(accepted=either.machines())
    assert either.held() == either.machines() == dict(first.accepted)
    assert sorted(first.accepted) == names(3)

    shrinking = either.change(names(1))
    gone = {name: number for name, number in either.held().items() if name not in names(1)}
    assert either.stack.preview(shrinking).operations == dict.fromkeys(gone, "delete")
    assert either.stack.apply(shrinking) == Applied(deleted=gone)
    assert sorted(either.held()) == names(1)

    served.world.clear_log()
    assert either.stack.preview(either.change(names(1))).operations == {}
    assert either.scale(names(1)) == Applied()
    assert changes(served) == []
    assert either.checkpoint().pending == ()


def test_record_saves_what_is_there_as_plain_values(project: Project, served: EmbeddedCloud) -> None:
    project.scale(names(2))
    served.world.clear_log()
    recorded = project.record()
    assert project.stack.read().outputs == recorded
    assert {name: server.id for name, server in recorded.items()} == project.machines()
    assert {server.status for server in recorded.values()} == {Status.RUNNING}
    assert {entry.method for entry in served.world.log()} == {"GET"}
    lists = [entry for entry in served.world.log() if entry.path in ("/v1/servers", "/v2/droplets")]
    assert len(lists) == 2  # one of them by `machines` above


def test_record_renews_the_status(either: Project, served: EmbeddedCloud) -> None:
    served.world.set_knobs(None, boot_s=1000)
    either.scale(names(1))
    (before,) = either.checkpoint().resources
    served.world.advance(5000)
    either.record()
    (after,) = either.checkpoint().resources
    assert (before.outputs["status"], after.outputs["status"]) in {("initializing", "running"), ("new", "active")}
    assert {**after.outputs, "userData": ""}.keys() == {**before.outputs, "userData": ""}.keys()


def test_record_after_a_machine_vanished(project: Project, served: EmbeddedCloud) -> None:
    project.scale(names(2))
    project.record()
    served.world.vanish(project.cloud_name, int(project.machines()[names(1)[0]]))
    recorded = project.record()
    assert sorted(recorded) == sorted(project.checkpoint().outputs) == ["demo-worker-2"]
    project.record()
    assert changes(served).count("POST /v1/servers") + changes(served).count("POST /v2/droplets") == 2


def test_record_keeps_a_machine_that_the_cloud_denies(either: Project, served: EmbeddedCloud) -> None:
    """The records say that it is there: no list and no 404 of one moment takes it out of the stack."""
    either.scale(names(2))
    recorded = dict(either.record())
    held = either.held()
    hidden = recorded["demo-worker-1"].id
    path = f"(servers|droplets)/{hidden}$"
    served.world.add_fault("list_misses", method="GET", path="(servers|droplets)$", ids=[int(hidden or 0)], times=None)
    served.world.add_fault("respond", method="GET", path=path, status=404, code="not_found", times=None)
    either.stack.record(lambda machines: recorded)
    assert either.held() == held
    # Once the records have no more of it, the stack has not either.
    either.record()
    assert either.held() == {"demo-worker-2": held["demo-worker-2"]}


def test_up_with_refresh_makes_a_vanished_machine_again(either: Project, served: EmbeddedCloud) -> None:
    either.scale(names(2))
    old = either.held()
    served.world.vanish(either.cloud_name, int(old["demo-worker-1"]))
    change = either.change(names(2), refresh=True)
    assert either.stack.preview(change).operations == {"demo-worker-1": "create"}
    applied = either.stack.apply(change)
    assert list(applied.accepted) == ["demo-worker-1"]
    assert either.held() == either.machines()
    assert either.held()["demo-worker-2"] == old["demo-worker-2"]


def test_what_the_plan_does_not_name_stays(project: Project, served: EmbeddedCloud) -> None:
    project.scale(names(3))
    before = project.held()
    served.world.clear_log()
    applied = project.scale(names(1), permits=Permits(delete={"demo-worker-2": before["demo-worker-2"]}))
    assert applied.deleted == {"demo-worker-2": before["demo-worker-2"]}
    assert "the plan does not say to delete demo-worker-3" in str(applied.failure)
    assert sorted(project.held()) == sorted(project.machines()) == ["demo-worker-1", "demo-worker-3"]
    assert len(changes(served)) == 1


def test_a_create_that_the_plan_does_not_name(project: Project, served: EmbeddedCloud) -> None:
    applied = project.scale(names(2), permits=Permits(create=frozenset(names(1))))
    assert list(applied.accepted) == names(1)
    assert "the plan does not say to create demo-worker-2" in str(applied.failure)
    assert sorted(project.held()) == sorted(project.machines()) == names(1)


def test_a_replace_by_the_engine_neither_adopts_nor_deletes(either: Project, served: EmbeddedCloud) -> None:
    """Another image for a server that is declared as if it were new: the engine wants to replace it."""
    either.scale(names(1))
    before = either.held()
    served.world.clear_log()
    change = either.change(names(1), Permits())
    replacing = dataclasses.replace(
        change,
        declared=tuple(
            dataclasses.replace(item, exists=False, request=either.request(item.name, image="debian-12"))
            for item in change.declared
        ),
    )
    applied = either.stack.apply(replacing)
    assert "the plan does not say to" in str(applied.failure)
    assert either.held() == either.machines() == before
    assert changes(served) == []


def test_existing_servers_keep_what_the_spec_changed(project: Project, served: EmbeddedCloud) -> None:
    project.scale(names(2))
    served.world.clear_log()
    changed = project.request("demo-worker-1", image="999", type="other", location="other", user_data="new")
    change = project.change(names(2), requests={"demo-worker-1": changed})
    assert project.stack.preview(change).operations == {}
    assert project.stack.apply(change) == Applied()
    assert changes(served) == []


def test_labels_are_changed_in_place_where_the_plan_says_so(either: Project) -> None:
    either.scale(names(2))
    labels = {**either.spec.owner.group_labels("worker", "abc"), "role": "web"}
    requests = {name: either.request(name, labels=labels) for name in names(2)}
    change = either.change(names(2), Permits(update=frozenset(names(1))), requests=requests)
    assert either.stack.preview(change).operations == dict.fromkeys(names(2), "update")
    applied = either.stack.apply(change)
    assert "the plan does not say to update demo-worker-2" in str(applied.failure)
    found = {machine.name: machine.labels.get("role") for machine in either.cloud.list_owned(either.spec.owner)}
    assert found == {"demo-worker-1": "web", "demo-worker-2": None}


def test_adopting_an_orphan_and_then_deleting_it(either: Project, served: EmbeddedCloud) -> None:
    orphan = either.cloud.create(either.request("demo-worker-1")).id
    served.world.clear_log()
    applied = either.scale(names(1), permits=Permits(adopt={"demo-worker-1": orphan}))
    assert applied == Applied(accepted={"demo-worker-1": orphan})
    assert (either.held(), changes(served)) == ({"demo-worker-1": orphan}, [])
    assert either.scale([]) == Applied(deleted={"demo-worker-1": orphan})
    assert either.machines() == {}


@pytest.mark.parametrize("refresh", [False, True])
def test_forgetting_drops_from_the_state_and_asks_nothing(
    either: Project, served: EmbeddedCloud, refresh: bool
) -> None:
    either.scale(names(2))
    taken = either.held()["demo-worker-1"]
    either.cloud.set_labels(taken, {"whose": "others"})
    served.world.clear_log()
    permits = Permits(forget={"demo-worker-1": taken})
    applied = either.scale(["demo-worker-2"], permits=permits, refresh=refresh)
    assert (applied.failure, applied.deleted) == (None, {})
    assert list(either.held()) == ["demo-worker-2"]
    assert (changes(served), either.cloud.get(taken).name) == ([], "demo-worker-1")


def test_a_machine_deleted_by_hand_is_deleted_without_an_error(project: Project, served: EmbeddedCloud) -> None:
    project.scale(names(2))
    vanished = project.held()["demo-worker-2"]
    served.world.vanish(project.cloud_name, int(vanished))
    assert project.scale(names(1)) == Applied(deleted={"demo-worker-2": vanished})
    assert list(project.held()) == names(1)


def test_some_fail_and_the_others_are_made(project: Project, served: EmbeddedCloud) -> None:
    served.world.add_fault("respond", method="POST", body={"name": "demo-worker-2"}, status=403, times=None)
    applied = project.scale(names(4))
    made = ["demo-worker-1", "demo-worker-3", "demo-worker-4"]
    assert sorted(applied.accepted) == sorted(project.held()) == sorted(project.machines()) == made
    assert list(applied.errors) == ["demo-worker-2"]
    assert isinstance(applied.errors["demo-worker-2"], CloudError)
    assert applied.failure
    # The sentinel of a resource that failed must not reach the outputs.
    assert sorted(project.record()) == sorted(project.checkpoint().outputs) == made


def test_the_clouds_own_error_comes_back(project: Project, served: EmbeddedCloud) -> None:
    served.world.set_quota("hetzner", servers=1)
    applied = project.scale(names(2))
    (error,) = applied.errors.values()
    assert isinstance(error, QuotaError)
    assert len(project.held()) == len(project.machines()) == 1


@pytest.mark.parametrize("what", ["one more", "one less", "another instead"])
def test_a_world_that_moved_is_not_touched(project: Project, served: EmbeddedCloud, what: str) -> None:
    project.scale(names(2))
    project.record()
    before, change = saved(project), project.change(names(4))
    if what != "one less":
        project.cloud.create(project.request("demo-worker-9"))
    if what != "one more":
        served.world.vanish(project.cloud_name, int(project.held()["demo-worker-1"]))
    served.world.clear_log()
    assert project.stack.apply(change) == Applied(moved=True)
    assert (saved(project), changes(served), project.backend.locks()) == (before, [], [])


def test_a_list_that_fails_stops_before_anything_is_registered(project: Project, served: EmbeddedCloud) -> None:
    project.scale(names(2))
    project.record()
    before, change = saved(project), project.change(names(3))
    served.world.add_fault("respond", method="GET", path="(servers|droplets)$", status=403, times=None)
    with pytest.raises(CloudError):
        project.stack.apply(change)
    with pytest.raises(CloudError):
        project.record()
    assert (saved(project), project.backend.locks()) == (before, [])


def test_a_program_that_fails_leaves_everything(project: Project) -> None:
    project.scale(names(2))
    project.record()
    before = saved(project)

    def fail() -> Declaration:
        raise ValueError("the program is broken")

    with project.serving() as port:
        endings = (
            project.engine.up(fail, port, refresh=False),
            project.engine.refresh(fail, port),
            project.engine.preview(fail, port, refresh=False),
        )
    for ran in endings:
        assert "the program is broken" in str(ran.error)
    assert (saved(project), project.backend.locks()) == (before, [])


def test_describing_that_fails_leaves_the_outputs(project: Project) -> None:
    project.scale(names(1))
    project.record()
    before = saved(project)

    def broken(machines: Sequence[Machine]) -> Mapping[str, Server]:
        raise ValueError("cannot describe")

    with pytest.raises(Exception, match="could not be recorded"):
        project.stack.record(broken)
    assert saved(project) == before


def test_each_operation_starts_one_process(project: Project) -> None:
    """One to make the stack, once; then one per operation: no `select`, `output` or `history`."""
    assert project.stack.processes == 0
    project.stack.read()
    assert project.stack.processes == 0
    change = project.change(names(1))
    project.stack.preview(change)
    assert project.stack.processes == 2
    project.stack.apply(change)
    project.record()
    assert project.stack.processes == 4
    assert Project(project.directory, project.endpoint).engine.checkpoint() == project.checkpoint()


def test_two_hundred_servers(project: Project, served: EmbeddedCloud) -> None:
    served.world.set_quota("hetzner", servers=500)
    served.world.set_rate_limit("hetzner", limit=100_000)
    applied = project.scale(names(200))
    assert (applied.failure, len(applied.accepted)) == (None, 200)
    recorded = project.record()
    assert len(recorded) == len(project.held()) == len(project.checkpoint().outputs) == 200
    assert project.held() == project.machines()


def test_pulumi_by_hand_reads_the_servers(either: Project) -> None:
    either.scale(names(2))
    recorded = either.record()
    shown = subprocess.run(
        [str(binary.find(either.environ)), "stack", "output", "--json", "--stack", "demo"],
        cwd=either.directory,
        env={
            **either.environ,
            "PULUMI_BACKEND_URL": either.backend_url,
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_HOME": str(either.directory / "home"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    outputs = json.loads(shown.stdout)
    assert {name: (output["id"], output["status"]) for name, output in outputs.items()} == {
        name: (server.id, "running") for name, server in recorded.items()
    }
