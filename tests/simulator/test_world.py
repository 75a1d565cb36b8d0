"""The world's clock, its file, and what is kept between processes."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import hcloud
import pytest

from scaler.errors import StateError
from scaler.simulator import EmbeddedCloud, SimulatedWorld
from scaler.simulator.clock import WorldClock, timestamp
from scaler.simulator.profiles import PROFILES
from scaler.simulator.world import LOG_ROWS
from tests.support.sim_http import Http


def test_a_clock_at_speed_zero_moves_only_when_told() -> None:
    clock = WorldClock.started().at_speed(0)
    before = clock.now()
    assert clock.now() == before
    assert clock.advanced(60).now() == before + 60


def test_changing_the_speed_does_not_make_time_jump() -> None:
    clock = WorldClock(real=0.0, world=1000.0, speed=0)
    faster = clock.at_speed(1e-9)
    assert faster.now() == pytest.approx(1000.0, abs=1e-3)


def test_timestamps_are_rfc_3339() -> None:
    assert timestamp(1_795_000_000.9) == "2026-11-18T11:06:40Z"


def test_boot_times_differ_by_server_and_never_by_run() -> None:
    knobs = PROFILES["fast"]["hetzner"]
    times = [knobs.boot_of(f"web-{n}", from_snapshot=False) for n in range(50)]
    assert times == [knobs.boot_of(f"web-{n}", from_snapshot=False) for n in range(50)]
    assert len(set(times)) > 40
    assert all(2 <= seconds <= 4 for seconds in times)


def test_a_new_world_is_ready_for_a_demo(tmp_path: Path) -> None:
    world = SimulatedWorld(tmp_path / "deep" / "world.db")
    (snapshot,) = world.things("hetzner", "snapshot")
    assert (snapshot.name, snapshot.body["labels"], snapshot.body["disk"]) == ("worker-golden", {"role": "worker"}, 40)
    assert [key.name for key in world.things("hetzner", "ssh_key")] == ["deploy"]
    assert [image.name for image in world.things("digitalocean", "snapshot")] == ["worker-golden"]


def test_a_world_outlives_its_server(tmp_path: Path) -> None:
    path = tmp_path / "world.db"
    with EmbeddedCloud(path, profile="instant") as cloud, Http(cloud.url) as http:
        http.create().raise_for_status()
        rule = cloud.world.add_fault("respond", path="/servers$", status=503)
        cloud.world.set_quota("hetzner", servers=1)
    with EmbeddedCloud(path) as cloud, Http(cloud.url) as http:
        assert cloud.world.profile == "instant"
        assert http.get("/v1/servers").status_code == 503
        assert cloud.world.fired(rule) == 1
        assert [server["name"] for server in http.get("/v1/servers").json()["servers"]] == ["web-1"]
        assert http.create(name="web-2").json()["error"]["code"] == "resource_limit_exceeded"


SERVE_AND_CREATE = """
import sys, pathlib
sys.path.insert(0, sys.argv[3])
from tests.support.sim_http import Http
from scaler.simulator import EmbeddedCloud
with EmbeddedCloud(pathlib.Path(sys.argv[1])) as cloud, Http(cloud.url) as http:
    for n in range(10):
        print(http.create(name=f"web-{n}").status_code, http.create(name=f"own-{sys.argv[2]}-{n}").status_code)
"""


def test_several_processes_serve_one_world(tmp_path: Path) -> None:
    path = tmp_path / "world.db"
    command = [sys.executable, "-c", SERVE_AND_CREATE, str(path)]
    here = str(Path(__file__).parents[2])
    children = [
        subprocess.Popen([*command, str(number), here], stdout=subprocess.PIPE, text=True) for number in range(4)
    ]
    answers = [child.communicate(timeout=60)[0].split() for child in children]
    assert all(child.returncode == 0 for child in children)
    contested = [code for lines in answers for code in lines[::2]]
    own = [code for lines in answers for code in lines[1::2]]
    assert sorted(contested) == ["201"] * 10 + ["409"] * 30, "each name goes to exactly one of the processes"
    assert own == ["201"] * 40
    world = SimulatedWorld(path)
    names = [server.name for server in world.servers()]
    assert len(names) == len(set(names)) == 50
    assert len(world.log()) == 80


ADD_AND_LEAVE = """
import sys
from pathlib import Path
from scaler.simulator import SimulatedWorld
world = SimulatedWorld(Path(sys.argv[1]))
world.add_server("hetzner", sys.argv[2])
print(*sorted(server.name for server in world.servers()))
world.close()
"""


def test_a_process_may_open_one_world_twice_beside_others(tmp_path: Path) -> None:
    """A POSIX lock ends for the whole process when any descriptor of its file is closed."""
    path = tmp_path / "world.db"

    def elsewhere(name: str) -> list[str]:
        command = [sys.executable, "-c", ADD_AND_LEAVE, str(path), name]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()

    first = SimulatedWorld(path)
    first.add_server("hetzner", "first")
    second = SimulatedWorld(path)
    # Without the lock of ours, the last one who leaves removes the log that we write to.
    assert elsewhere("other") == ["first", "other"]
    first.add_server("hetzner", "late")
    assert elsewhere("last") == ["first", "last", "late", "other"]
    assert len(second.servers()) == len(first.servers()) == 4


def test_threads_share_one_handle(world: SimulatedWorld) -> None:
    def add(prefix: str) -> None:
        for number in range(20):
            world.add_server("hetzner", f"{prefix}-{number}")

    threads = [threading.Thread(target=add, args=(prefix,)) for prefix in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.count("hetzner", "server") == 80


def test_a_refused_request_leaves_nothing_behind(world: SimulatedWorld, http: Http) -> None:
    world.set_capacity("hetzner", "cx23", "fsn1", 1)
    assert http.create(ssh_keys=["nobody"]).status_code == 404
    assert http.create(labels={"-": ""}).status_code == 422
    assert http.create().status_code == 201, "the capacity was not used up by the requests that failed"
    assert http.create(name="web-2").json()["error"]["code"] == "resource_unavailable"


def test_the_log_is_bounded(world: SimulatedWorld) -> None:
    with world.transaction():
        for number in range(LOG_ROWS + 600):
            world.record("hetzner", "GET", f"/v1/{number}", status=200)
    log = world.log()
    assert LOG_ROWS <= len(log) < LOG_ROWS + 256
    assert log[-1].path == f"/v1/{LOG_ROWS + 599}"


def test_the_log_never_holds_the_token(world: SimulatedWorld, http: Http) -> None:
    secret = "s3cr3t" + "x" * 58
    http.headers["Authorization"] = f"Bearer {secret}"
    http.create(user_data=f"export TOKEN={secret}").raise_for_status()
    http.get(f"/v1/servers?name={secret}")
    create, listing = world.log()
    assert "[token]" in (create.body or "")
    assert "[token]" in listing.query
    assert secret not in repr(world.log())


def test_reset_makes_a_new_world(world: SimulatedWorld, http: Http) -> None:
    http.create().raise_for_status()
    world.add_fault("respond", status=500)
    world.reset()
    assert world.servers() == []
    assert world.faults() == []
    assert [image.name for image in world.things("hetzner", "snapshot")] == ["worker-golden"]


@pytest.mark.parametrize("content", [b"this is not a database, and long enough to be taken for one" * 20])
def test_a_file_that_is_no_world(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StateError) as raised:
        SimulatedWorld(path)
    assert "notes.txt" in raised.value.what
    assert raised.value.fix
    assert path.read_bytes() == content


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE customers (name TEXT)")
    other.close()
    with pytest.raises(StateError):
        SimulatedWorld(path)
    with closing(sqlite3.connect(path)) as again:
        tables = again.execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == [("customers",)]


def test_a_full_disk_is_named_and_the_world_stays_whole(cloud: EmbeddedCloud, hetzner: hcloud.Client) -> None:
    """In the answer to a client too: all that a run sees of an embedded cloud's disk."""
    store, world = cloud.world, cloud.world
    before = world.servers("hetzner")
    [pages] = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    try:
        with pytest.raises(StateError, match="database or disk is full") as caught:
            for number in range(1000):
                world.set(f"ballast-{number}", "x" * 1000)
        assert "Do not remove it" in caught.value.fix
        with pytest.raises(hcloud.APIException, match=r"world\.db.*database or disk is full"):
            hetzner.ssh_keys.create(name="k" * 60, public_key="ssh-ed25519 " + "A" * 20_000)
    finally:
        store._db.execute("PRAGMA max_page_count = 100000")
    assert world.servers("hetzner") == before
    assert "k" * 60 not in {key.name for key in hetzner.ssh_keys.get_all()}


def test_a_limit_of_file_sizes_is_no_reason_to_remove_a_world(tmp_path: Path) -> None:
    path = tmp_path / "world.db"
    SimulatedWorld(path).close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(StateError, match="cannot use its world") as caught:
            SimulatedWorld(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "ulimit -f" in caught.value.fix
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StateError) as caught:
        SimulatedWorld(path)
    assert "remove this one" in caught.value.fix


def test_a_server_that_has_ended_by_itself_can_be_stopped(tmp_path: Path) -> None:
    """Else that would hide why it has ended: without a descriptor left, a run told of the event loop."""
    cloud = EmbeddedCloud(tmp_path / "world.db").start()
    serving = cloud._serving
    assert serving is not None
    cloud.stop()
    serving.stop(within_s=1)
