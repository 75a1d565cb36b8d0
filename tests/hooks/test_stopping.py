"""Bringing servers to rest: real drain processes, and the embedded cloud through its real clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scaler.clouds import Cloud, GoneError
from scaler.clouds.deadlines import Deadlines
from scaler.clouds.registry import open_cloud
from scaler.hooks.stopping import ServerStopper, StoppingServer
from scaler.model import Server, StopPolicy
from scaler.model.lifecycle import Phase, Status
from scaler.model.ownership import Owner, encode_tags
from scaler.simulator import EmbeddedCloud, SimulatedWorld
from scaler.simulator.profiles import CLOUDS, CloudName
from scaler.support.clock import SystemClock
from tests.support.processes import NOW, HandClock, is_alive, script, wait_until

pytestmark = pytest.mark.server

LABELS = Owner("scaler", "demo").group_labels("worker", "0")
TOKEN = "t0ken" + "x" * 59


@dataclass
class Place:
    """A cloud with servers, the stopping of them, and a clock that only the test moves."""

    vendor: CloudName
    world: SimulatedWorld
    cloud: Cloud
    folder: Path
    clock: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        self.stopping = ServerStopper(self.cloud, self.clock, self.folder)

    def server(self, name: str = "demo-worker-1") -> Server:
        owned: dict[str, Any] = {"labels": LABELS} if self.vendor == "hetzner" else {"tags": encode_tags(LABELS)}
        thing = self.world.add_server(self.vendor, name, **owned)
        return Server(name=name, group="worker", id=str(thing.id), status=Status.RUNNING, since=NOW, ipv4="127.0.0.9")

    def begin(self, policy: StopPolicy, name: str = "demo-worker-1") -> Server:
        server = self.server(name)
        self.stopping.begin(server, policy)
        return server

    def phase(self, server: Server) -> Phase | None:
        try:
            return self.cloud.get(server.id or "").phase
        except GoneError:
            return None

    def look(self, server: Server) -> StoppingServer:
        """What a run does once a second, but for the second."""
        return self.stopping.advance(server, self.phase(server))

    def wait(self, server: Server) -> StoppingServer:
        """Observe until the server is stopped or kept, without any time going by."""
        stopped: StoppingServer = wait_until(
            lambda: (stop := self.look(server)).is_stopped + stop.kept and stop, f"{server.name} stopped"
        )
        return stopped

    @property
    def asked(self) -> list[str]:
        """The power requests that the cloud carried out, in order."""
        done = [request for request in self.world.log() if request.method == "POST" and (request.status or 500) < 300]
        words = [json.loads(request.body or "{}").get("type") or request.path.rpartition("/")[2] for request in done]
        return [word.replace("power_off", "poweroff") for word in words]


@pytest.fixture(params=CLOUDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with EmbeddedCloud(tmp_path / "world.db") as embedded:
        embedded.world.set_profile("instant")
        endpoint = embedded.hetzner_endpoint if request.param == "hetzner" else embedded.digitalocean_endpoint
        cloud = open_cloud(
            request.param,
            endpoint=endpoint,
            environ={"HCLOUD_TOKEN": TOKEN, "DIGITALOCEAN_TOKEN": TOKEN},
            clock=SystemClock(),
            deadlines=Deadlines(connect=2, read=0.5),
        )
        folder = tmp_path / "project"
        folder.mkdir()
        place = Place(request.param, embedded.world, cloud, folder)
        yield place
        place.stopping.close()
        cloud.close()


def drain(place: Place, text: str, **fields: Any) -> StopPolicy:
    return StopPolicy(drain=(script(place.folder, "drain.sh", text), "{name}", "{ip}"), **fields)


MINUTE = timedelta(minutes=1)

# ---------------------------------------------------------------------------------------------
# Drain


def test_a_drain_runs_in_the_project_folder_with_the_servers_name_and_address(place: Place) -> None:
    server = place.begin(drain(place, 'echo "$PWD $@" > drained'))
    stop = place.wait(server)
    assert (stop.is_stopped, stop.kept, stop.notes) == (True, False, [])
    assert (place.folder / "drained").read_text() == f"{place.folder} demo-worker-1 127.0.0.9\n"
    assert place.asked == []


def test_a_server_is_stopped_when_its_drain_has_ended_and_not_before(place: Place) -> None:
    server = place.begin(drain(place, "while [ ! -e done ]; do sleep 0.02; done"))
    for _ in range(5):
        assert not place.look(server).is_stopped
    assert place.stopping.busy == {"demo-worker-1"}
    (place.folder / "done").touch()
    assert place.wait(server).is_stopped
    assert place.stopping.busy == frozenset()


def test_begin_starts_one_drain_per_machine(place: Place) -> None:
    policy = drain(place, "echo once >> drained")
    server = place.begin(policy)
    place.stopping.begin(server, policy)
    place.wait(server)
    place.stopping.begin(server, policy)
    assert place.look(server).is_stopped
    assert (place.folder / "drained").read_text() == "once\n"
    place.world.vanish(place.vendor, int(server.id or ""))
    place.wait(place.begin(policy))
    assert (place.folder / "drained").read_text() == "once\n" * 2


FAILURES = [
    ("echo 3 jobs left; exit 7", "the drain command ended with 7: 3 jobs left"),
    ("echo out; echo err >&2; kill -11 $$", "the drain command was ended by signal 11: out err"),
    ("exit 1", "the drain command ended with 1"),
]


@pytest.mark.acceptance("S10")
@pytest.mark.parametrize(("text", "note"), FAILURES)
def test_a_failed_drain_is_noted_and_the_server_removed(place: Place, text: str, note: str) -> None:
    stop = place.wait(place.begin(drain(place, text)))
    assert (stop.is_stopped, stop.kept, stop.notes) == (True, False, [note])


@pytest.mark.acceptance("S10")
@pytest.mark.parametrize(("text", "note"), FAILURES)
def test_a_failed_drain_keeps_the_server_if_the_spec_says_so(place: Place, text: str, note: str) -> None:
    policy = drain(place, text, on_drain_failure="keep", shutdown_within=MINUTE)
    server = place.begin(policy)
    stop = place.wait(server)
    assert (stop.is_stopped, stop.kept, stop.notes) == (False, True, [note])
    assert place.stopping.kept == {"demo-worker-1"}
    assert place.stopping.busy == frozenset()
    for _ in range(3):
        assert place.look(server).kept
    assert place.phase(server) is Phase.RUNNING
    assert place.asked == []


@pytest.mark.parametrize("keep", [True, False])
def test_a_drain_that_cannot_be_started_is_a_failed_one(place: Place, keep: bool) -> None:
    (place.folder / "plain").write_text("no program")
    words = {
        "./absent": "the drain command cannot be run: No such file or directory",
        "./plain": "the drain command cannot be run: Permission denied",
        "no-such-program": "the drain command cannot be run: No such file or directory",
        "a\0b": "the drain command cannot be run: embedded null byte",
    }
    for number, (program, note) in enumerate(words.items(), start=1):
        policy = StopPolicy(drain=(program,), on_drain_failure="keep" if keep else "remove")
        stop = place.look(place.begin(policy, f"demo-worker-{number}"))
        assert (stop.is_stopped, stop.kept, stop.notes) == (not keep, keep, [note])


def test_a_drain_that_never_ends_is_killed_at_its_deadline_with_its_children(place: Place) -> None:
    text = "trap '' TERM INT HUP; (trap '' TERM; sleep 1000) & echo $! > child; echo waiting for jobs; wait; sleep 1000"
    server = place.begin(drain(place, text, drain_within=5 * MINUTE))
    child = int(wait_until(lambda: (path := place.folder / "child").exists() and path.read_text(), "the child"))
    place.clock.sleep(299)
    assert not place.look(server).is_stopped
    assert is_alive(child)
    place.clock.sleep(1)
    stop = place.look(server)
    assert stop.is_stopped
    assert stop.notes == ["the drain command did not end within 5m: waiting for jobs"]
    wait_until(lambda: not is_alive(child), "the child's end")


@pytest.mark.acceptance("S10")
def test_a_drain_that_never_ends_delays_no_other(place: Place) -> None:
    stuck = place.begin(drain(place, "sleep 1000"), "demo-worker-1")
    others = [place.begin(drain(place, "exit 0"), f"demo-worker-{number}") for number in range(2, 6)]
    assert all(place.wait(other).is_stopped for other in others)
    assert place.stopping.busy == {stuck.name}


def test_only_the_end_of_a_drains_output_is_reported(place: Place) -> None:
    stop = place.wait(place.begin(drain(place, "head -c 5000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1")))
    (note,) = stop.notes
    assert note.startswith("the drain command ended with 1: …x")
    assert note.endswith("x the end")
    assert len(note) < 600


def test_a_drain_that_leaves_a_child_behind_has_ended_and_so_does_the_child(place: Place) -> None:
    stop = place.wait(place.begin(drain(place, "sleep 1000 & echo $! > child")))
    child = int((place.folder / "child").read_text())
    assert (stop.is_stopped, stop.notes) == (True, [])
    wait_until(lambda: not is_alive(child), "the child's end")


def test_a_drain_has_an_empty_standard_input(place: Place) -> None:
    stop = place.wait(place.begin(drain(place, "read line && exit 9; exit 0")))
    assert (stop.is_stopped, stop.notes) == (True, [])


def test_close_kills_running_drains(place: Place) -> None:
    server = place.begin(drain(place, "echo $$ > pid; sleep 1000"))
    pid = int(wait_until(lambda: (path := place.folder / "pid").exists() and path.read_text(), "the drain"))
    place.stopping.close()
    wait_until(lambda: not is_alive(pid), "the drain's end")
    assert place.phase(server) is Phase.RUNNING
    place.stopping.close()


def test_the_drain_of_a_server_that_vanishes_is_killed(place: Place) -> None:
    server = place.begin(drain(place, "echo $$ > pid; sleep 1000", on_drain_failure="keep", shutdown_within=MINUTE))
    pid = int(wait_until(lambda: (path := place.folder / "pid").exists() and path.read_text(), "the drain"))
    place.world.vanish(place.vendor, int(server.id or ""))
    stop = place.look(server)
    assert (stop.is_stopped, stop.kept, stop.notes) == (True, False, [])
    wait_until(lambda: not is_alive(pid), "the drain's end")
    assert place.asked == []


# ---------------------------------------------------------------------------------------------
# Shutdown and power


def test_after_the_drain_the_system_is_shut_down(place: Place) -> None:
    server = place.begin(drain(place, "exit 0", shutdown_within=MINUTE))
    stop = place.wait(server)
    assert (stop.notes, place.phase(server), place.asked) == ([], Phase.OFF, ["shutdown"])


def test_without_a_drain_the_system_is_shut_down_at_once(place: Place) -> None:
    server = place.begin(StopPolicy(shutdown_within=MINUTE))
    stop = place.wait(server)
    assert (stop.notes, place.phase(server), place.asked) == ([], Phase.OFF, ["shutdown"])


def test_a_failed_drain_is_followed_by_the_shutdown(place: Place) -> None:
    server = place.begin(drain(place, "exit 4", shutdown_within=MINUTE))
    stop = place.wait(server)
    assert (stop.notes, place.asked) == (["the drain command ended with 4"], ["shutdown"])


def test_an_ignored_shutdown_is_followed_by_the_power_cut(place: Place) -> None:
    place.world.add_fault("shutdown_ignored", method="POST", times=None)
    server = place.begin(StopPolicy(shutdown_within=MINUTE))
    for _ in range(3):
        assert not place.look(server).is_stopped
    place.clock.sleep(59)
    assert not place.look(server).is_stopped
    assert place.asked == ["shutdown"]
    place.clock.sleep(1)
    stop = place.wait(server)
    assert stop.notes == ["did not shut down within 1m"]
    assert (place.phase(server), place.asked) == (Phase.OFF, ["shutdown", "poweroff"])


def test_a_server_whose_drain_powers_it_off_gets_no_request(place: Place) -> None:
    policy = drain(place, "while [ ! -e off ]; do sleep 0.02; done", shutdown_within=MINUTE)
    server = place.begin(policy)
    place.world.power_off(place.vendor, int(server.id or ""))
    (place.folder / "off").touch()
    stop = place.wait(server)
    assert (stop.is_stopped, stop.notes, place.asked) == (True, [], [])


def test_a_refused_shutdown_cuts_the_power(place: Place) -> None:
    place.world.add_fault(
        "respond", method="POST", path="actions", status=422, code="invalid_input", message="not for this one"
    )
    server = place.begin(StopPolicy(shutdown_within=MINUTE))
    stop = place.wait(server)
    (note,) = stop.notes
    assert "not for this one" in note
    assert (place.phase(server), place.asked) == (Phase.OFF, ["poweroff"])


def test_a_server_whose_power_cut_is_refused_may_still_be_deleted(place: Place) -> None:
    place.world.add_fault("respond", method="POST", path="actions", times=None, status=422, code="invalid_input")
    server = place.begin(StopPolicy(shutdown_within=MINUTE))
    stop = place.wait(server)
    assert (stop.is_stopped, len(stop.notes), place.phase(server)) == (True, 2, Phase.RUNNING)


def test_a_server_whose_power_cut_does_nothing_may_still_be_deleted(place: Place) -> None:
    place.world.add_fault("shutdown_ignored", method="POST")
    place.world.set_knobs(power_s=10_000)
    server = place.begin(StopPolicy(shutdown_within=MINUTE))
    place.look(server)
    place.clock.sleep(60)
    assert not place.look(server).is_stopped
    place.clock.sleep(60)
    stop = place.look(server)
    assert stop.is_stopped
    assert stop.notes == ["did not shut down within 1m", "the power could not be cut in time"]


def test_a_shutdown_is_requested_again_after_a_temporary_error(place: Place) -> None:
    busy: dict[str, Any] = (
        {"status": 423, "code": "locked"} if place.vendor == "hetzner" else {"status": 422, "code": "x"}
    )
    message = "Droplet already has a pending event." if place.vendor == "digitalocean" else "locked"
    fault = place.world.add_fault("respond", method="POST", path="actions", message=message, times=2, **busy)
    server = place.begin(StopPolicy(shutdown_within=MINUTE))
    stop = place.wait(server)
    assert place.world.fired(fault) == 2
    assert (stop.notes, place.phase(server), place.asked) == ([], Phase.OFF, ["shutdown"])


def test_a_shutdown_whose_answer_is_lost_is_not_requested_twice(place: Place) -> None:
    fault = place.world.add_fault("accept_then_drop", method="POST", path="actions")
    server = place.begin(StopPolicy(shutdown_within=MINUTE))
    stop = place.wait(server)
    assert place.world.fired(fault) == 1
    assert (stop.notes, place.phase(server)) == ([], Phase.OFF)
    assert len([request for request in place.world.log() if request.method == "POST"]) == 1


def test_a_server_that_is_deleted_before_its_shutdown_is_stopped(place: Place) -> None:
    server = place.begin(StopPolicy(shutdown_within=MINUTE))
    place.world.vanish(place.vendor, int(server.id or ""))
    # The last look was before.
    stop = place.stopping.advance(server, Phase.RUNNING)
    assert (stop.is_stopped, stop.notes) == (True, [])


def test_without_drain_and_shutdown_a_server_counts_as_stopped_at_once(place: Place) -> None:
    server = place.begin(StopPolicy())
    assert place.stopping.busy == frozenset()
    assert place.look(server).is_stopped
    assert place.asked == []
