"""The promise itself: exactly so many servers, and every record says the same."""

from __future__ import annotations

import pytest

from scaler.model.ownership import ID
from scaler.simulator.world import Thing
from tests.support.project import HETZNER, Project


def foreign_servers(project: Project) -> list[Thing]:
    """Servers of somebody else: one named as ours, one with nearly our labels."""
    add, name = project.world.add_server, project.vendor.name
    nearly = {"managed-by": "scaler", "scaler-project": "scaler", "scaler-stack": "other", "scaler-group": "worker"}
    return [add(name, "demo-worker-1x"), add(name, "other-worker-1", **project.vendor.owned(nearly))]


@pytest.mark.acceptance("P02", "P04", "P05", "P06", "S01", "S03", "Q16")
def test_life_of_a_stack(project: Project) -> None:
    """By absolute counts: the relative commands come to the same."""
    foreign = foreign_servers(project)

    # Nothing → 3: cloud, state file, outputs and resources say the same.
    grown = project.ensure("3")
    assert grown.document["outcome"] == "converged"
    assert grown.named("running") == {f"demo-worker-{number}" for number in range(1, 4)}
    assert grown.document["groups"] == {"worker": {"wanted": 3, "before": 0, "ready": 3}}
    three = project.agreed()
    assert set(three) == grown.named("running")
    assert len(project.asked_for) == 3

    # Again: nothing to do, no engine, one list request and no other.
    engines = len(project.engine_runs)
    project.world.clear_log()
    again = project.ensure("3")
    assert again.document["outcome"] == "unchanged"
    assert again.document["requests"]["total"] == 1
    assert project.requests() == project.lists
    assert len(project.lists) == 1
    assert len(project.engine_runs) == engines
    assert project.agreed() == three

    # A preview says 2, does nothing, and tells the steps that the run after it takes.
    written = project.state_path.read_bytes()
    project.world.clear_log()
    preview = project.run("preview", "5", "--detailed-exitcode", "-o", "json", code=2)
    assert preview.document["outcome"] == "planned"
    assert project.changes == []
    assert project.agreed() == three
    assert project.state_path.read_bytes() == written
    taken = project.ensure("5")
    assert taken.steps == preview.steps
    assert [action for action, _, _ in taken.steps] == ["create", "create"]
    five = project.agreed()
    assert five.items() > three.items()
    assert project.run("preview", "5", "--detailed-exitcode", "-o", "json").document["outcome"] == "unchanged"

    # Down to 2: exactly three gone, and each one's absence proven.
    project.world.clear_log()
    shrunk = project.ensure("2")
    two = project.agreed()
    assert len(two) == 2
    # The newest went first.
    assert two.items() < three.items()
    gone = {five[name] for name in set(five) - set(two)}
    proven = {request.path.rpartition("/")[2] for request in project.requests("GET") if request.status == 404}
    if project.vendor is HETZNER:
        # The actions of the deletions say so, all of them in one request.
        assert (proven, "/v1/actions" in {request.path for request in project.requests("GET")}) == (set(), True)
    else:
        assert proven == gone
    assert {server for action, server, _ in shrunk.steps if action == "delete"} == set(five) - set(two)

    # Destroyed: nothing of ours is left, and nothing of others' was touched.
    project.run("destroy", "--yes")
    assert project.agreed() == {}
    assert project.world.servers(project.vendor.name) == foreign


@pytest.mark.acceptance("P01", "P24", "P26")
def test_names_and_defaults(hetzner: Project) -> None:
    hetzner.describe(groups={"worker": {"count": 1}})
    first = hetzner.ensure().document
    assert first["groups"] == {"worker": {"wanted": 1, "before": 0, "ready": 1}}
    assert [server["group"] for server in first["servers"]] == ["worker"]
    # New servers take the lowest free numbers beside the one that is there.
    hetzner.ensure("3")
    assert set(hetzner.agreed()) == {"demo-worker-1", "demo-worker-2", "demo-worker-3"}


@pytest.mark.acceptance("P07", "P25", "P27", "Q14")
@pytest.mark.one_cloud
def test_groups_do_not_touch_each_other(project: Project) -> None:
    other = {"labels": {"role": "other"}, "user_data_inline": "#cloud-config\nhostname: x\n"}
    project.describe(groups={"worker": {}, "other": other})
    project.ensure()
    six = project.agreed()
    assert sorted(six) == [f"demo-{group}-{number}" for group in ("other", "worker") for number in (1, 2, 3)]
    # Each server carries what its own group's spec says.
    labels = {name: project.vendor.labels_of(project.machine(name)) for name in six}
    assert {name for name, of in labels.items() if of.get("role") == "other"} == {f"demo-other-{n}" for n in (1, 2, 3)}
    assert {of["scaler-group"] for name, of in labels.items() if "other" in name} == {"other"}
    assert len({of["scaler-template"] for of in labels.values()}) == 2

    project.ensure("worker=1", "other=3")
    four = project.agreed()
    assert four.items() < six.items()
    assert sorted(name[:-2] for name in four) == ["demo-other", "demo-other", "demo-other", "demo-worker"]
    project.ensure("worker=1", "other=2")
    left = project.agreed()
    assert left.items() < four.items()
    assert sorted(name[:-2] for name in left) == ["demo-other", "demo-other", "demo-worker"]

    unclear = project.ensure("2", code=64)
    assert "worker" in unclear.error["why"]
    assert "other" in unclear.error["why"]
    assert "other" in project.ensure("othr=2", code=64).error["fix"]


@pytest.mark.calm("it looks at servers within the two seconds of their boot")
@pytest.mark.acceptance("R04", "R05")
@pytest.mark.one_cloud
def test_what_is_not_ready_goes_first(project: Project) -> None:
    project.ensure("3")
    ready = project.agreed()
    # More than a busy machine takes from the request to the record.
    project.world.set_knobs(boot_s=6)
    starting = project.ensure("5", "--no-wait", code=4)
    assert len(starting.named("running")) == 3
    assert len(starting.named("starting")) == 2
    assert len(project.machines) == 5
    # One that was ready before stays: it is never without a ready server.
    project.ensure("1")
    (kept,) = project.agreed().items()
    assert kept in ready.items()

    project.ensure("3", "--no-wait", code=4)
    assert len(project.machines) == 3
    project.ensure("0", "--allow-zero")
    assert project.agreed() == {}


@pytest.mark.calm("a server made by hand must be in the next list")
@pytest.mark.acceptance("P11")
def test_what_counts_as_supply(hetzner: Project) -> None:
    owned = {"managed-by": "scaler", "scaler-project": "scaler", "scaler-stack": "demo", "scaler-group": "worker"}
    supply = ("new", "starting", "running", "rebooting")

    def count() -> int:
        counts = hetzner.run("status", "--refresh", "-o", "json").document["counts"]
        return sum(counts[status] for status in supply)

    counted = [count()]
    owned[ID] = hetzner.state["identity"]["id"]
    for number, status in enumerate(("initializing", "running", "starting", "stopping"), start=1):
        hetzner.world.add_server("hetzner", f"demo-worker-{number}", labels=owned, status=status)
        counted.append(count())
    assert counted == [0, 1, 2, 3, 3]


@pytest.mark.acceptance("R01", "R02")
def test_only_counts_are_counts(hetzner: Project) -> None:
    hetzner.ensure("2")
    two = hetzner.agreed()
    hetzner.world.clear_log()
    for wrong in ("-2", "worker=-2", "two", "2.5", "1e3", "99999999999999999999", "10001", "٣", ""):
        refused = hetzner.ensure(wrong, code=64)
        assert refused.error["fix"], wrong
    above = hetzner.ensure("11", code=3)
    assert "11" in above.error["message"]
    assert "10" in above.error["why"]
    assert hetzner.requests() == []
    assert hetzner.agreed() == two


@pytest.mark.acceptance("R12")
def test_at_the_limit_nothing_is_lost(hetzner: Project) -> None:
    hetzner.describe(limit=3)
    hetzner.ensure("3")
    three = hetzner.agreed()
    hetzner.world.power_off(hetzner.vendor.name, int(three["demo-worker-2"]))
    hetzner.catch_up()
    ran = hetzner.ensure("3")
    assert [(action, server) for action, server, _ in ran.steps] == [("power_on", "demo-worker-2")]
    assert hetzner.agreed() == three
