"""Drains that outlive the run that began them: real processes, found by another run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scaler.hooks.drains import DrainProcesses
from scaler.hooks.lasting import LastingCommands
from scaler.model import Drain, DrainFinding, DrainState, Server, StopPolicy
from scaler.model.lifecycle import Status
from scaler.support.sessions import boot_id, isolated, started
from tests.support.processes import NOW, HandClock, is_alive, script, wait_until
from tests.support.processes import server as named

pytestmark = pytest.mark.server

MINUTE = timedelta(minutes=1)
DONE = DrainFinding(DrainState.DONE)
WORKING = DrainFinding(DrainState.WORKING)
LOST = DrainFinding(DrainState.LOST)
ELSEWHERE = DrainFinding(DrainState.ELSEWHERE)


class Place:
    """A project folder and a state folder; each run opens them anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self.state = folder / "state" / "prod.drains"
        self.clock = HandClock()

    @property
    def run(self) -> DrainProcesses:
        return DrainProcesses(self.state, self.folder, self.clock, end_within_s=0.5)

    def drain(self, text: str, **fields: Any) -> StopPolicy:
        return StopPolicy(drain=(script(self.folder, "drain.sh", text), "{name}", "{ip}"), **fields)

    def begin(self, policy: StopPolicy, server: Server | None = None) -> Server:
        server = server or draining(policy.drain_within)
        self.run.announce([server])
        assert self.run.start([(server, policy)]) == {}
        return server

    def wait(self, server: Server, policy: StopPolicy) -> DrainFinding:
        """What a later run finds when the drain has ended."""
        found: DrainFinding = wait_until(
            lambda: (seen := self.run.find(server, policy)).state is not DrainState.WORKING and seen, "the drain's end"
        )
        return found

    def number(self, name: str) -> int:
        """The number that a script wrote into a file."""
        path = self.folder / name
        return int(wait_until(lambda: path.exists() and path.read_text().strip(), f"{name} written"))

    def watcher(self, server: Server) -> int:
        """The process that watches a drain: the parent of its command."""
        record = wait_until(lambda: "group" in (one := self.record(server)) and one, "the drain's process")
        stat = Path(f"/proc/{record['group']}/stat").read_text(encoding="utf-8")
        return int(stat.rpartition(")")[2].split()[1])

    def record(self, server: Server) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.state / f"{server.id}.json").read_text(encoding="utf-8"))
        return document


def draining(within: timedelta = 5 * MINUTE, **fields: Any) -> Server:
    drain = Drain(since=NOW, until=NOW + within)
    return named(**{"status": Status.STOPPING, "ipv4": "127.0.0.9", "drain": drain, **fields})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.run.keep_only(())


ENDS = [
    ("exit 0", DONE),
    ("echo 3 jobs left; exit 7", DrainFinding(DrainState.FAILED, "ended with 7: 3 jobs left")),
    ("echo out; echo err >&2; kill -11 $$", DrainFinding(DrainState.FAILED, "was ended by signal 11: out err")),
    ("exit 1", DrainFinding(DrainState.FAILED, "ended with 1")),
    ("read line && exit 9; exit 0", DONE),
]


@pytest.mark.acceptance("S10")
@pytest.mark.parametrize(("text", "found"), ENDS)
def test_a_later_run_finds_how_a_drain_ended(place: Place, text: str, found: DrainFinding) -> None:
    policy = place.drain(text)
    assert place.wait(place.begin(policy), policy) == found


@pytest.mark.acceptance("T09")
def test_a_drain_runs_in_the_project_folder_and_in_a_session_of_its_own(place: Place) -> None:
    policy = place.drain(
        'echo "$PWD $@" > drained; ps -o sid= -p $$ > session; while [ ! -e done ]; do sleep 0.05; done'
    )
    server = place.begin(policy)
    assert place.number("session") != os.getsid(0)
    assert (place.folder / "drained").read_text() == f"{place.folder} prod-worker-1 127.0.0.9\n"
    assert place.run.find(server, policy) == WORKING
    # The run that began it is over, its terminal closed; nobody but init is its watcher's parent.
    os.kill(place.watcher(server), signal.SIGHUP)
    assert place.run.find(server, policy) == WORKING
    (place.folder / "done").touch()
    assert place.wait(server, policy) == DONE


def test_a_drain_that_lives_is_not_started_a_second_time(place: Place) -> None:
    policy = place.drain("echo once >> drained; while [ ! -e done ]; do sleep 0.05; done")
    server = place.begin(policy)
    assert place.run.start([(server, policy)]) == {}
    (place.folder / "done").touch()
    assert place.wait(server, policy) == DONE
    assert (place.folder / "drained").read_text() == "once\n"


def test_what_was_announced_and_not_started_is_lost_and_what_was_not_announced_is_elsewhere(place: Place) -> None:
    server, policy = draining(), place.drain("exit 0")
    assert place.run.find(server, policy) == ELSEWHERE
    place.run.announce([server])
    assert place.run.find(server, policy) == LOST
    # A file of an earlier drain of the server tells nothing of this one.
    later = replace(server, drain=Drain(since=NOW + MINUTE, until=NOW + 2 * MINUTE))
    assert place.run.find(later, policy) == ELSEWHERE


@pytest.mark.parametrize("victims", ["watcher", "command", "both"])
def test_a_killed_drain_is_repeated_once_and_leaves_no_process(place: Place, victims: str) -> None:
    policy = place.drain("echo $$ >> pids; sleep 1000 & echo $! > child; wait")
    server = place.begin(policy)
    child, watcher = place.number("child"), place.watcher(server)
    command = place.record(server)["group"]
    for pid in {"watcher": [watcher], "command": [command], "both": [watcher, command]}[victims]:
        os.kill(pid, signal.SIGKILL)
    found = place.wait(server, policy)
    if victims == "command":
        # Somebody ended the command: it said nothing of the server's work, and has failed.
        assert found == DrainFinding(DrainState.FAILED, "was ended by signal 9")
    else:
        assert found == LOST
        place.run.start([(server, policy)])
        wait_until(lambda: len((place.folder / "pids").read_text().split()) == 2, "its repetition")
    wait_until(lambda: not is_alive(child), "the child's end")
    assert not is_alive(command)


def test_a_machine_that_shuts_down_fails_no_drain(place: Place) -> None:
    policy = place.drain("echo $$ > pid; sleep 1000")
    server = place.begin(policy)
    command, watcher = place.number("pid"), place.watcher(server)
    os.kill(command, signal.SIGTERM)
    os.kill(watcher, signal.SIGTERM)
    assert place.wait(server, policy) == LOST


def test_after_another_boot_no_process_of_an_old_id_is_killed(place: Place) -> None:
    policy = place.drain("echo $$ > pid; sleep 1000")
    server = place.begin(policy)
    watcher, command = place.watcher(server), place.record(server)["group"]
    os.kill(watcher, signal.SIGKILL)
    wait_until(lambda: not is_alive(watcher), "its end")
    record = place.record(server)
    file = place.state / f"{server.id}.json"
    file.write_text(json.dumps({**record, "boot": "another"}), encoding="utf-8")
    assert place.run.find(server, policy) == LOST
    place.run.keep_only(())
    assert is_alive(command)
    os.killpg(command, signal.SIGKILL)


def test_a_drain_that_ignores_sigterm_is_killed_after_its_deadline_with_its_children(place: Place) -> None:
    text = "trap '' TERM INT HUP; (trap '' TERM; sleep 1000) & echo $! > child; echo waiting for jobs; wait; sleep 1000"
    policy = place.drain(text, drain_within=timedelta(seconds=1))
    server = place.begin(policy)
    child = place.number("child")
    assert place.wait(server, policy) == DrainFinding(DrainState.FAILED, "did not end within 1s: waiting for jobs")
    wait_until(lambda: not is_alive(child), "the child's end")


def test_a_drain_that_ended_with_0_leaves_no_child_behind(place: Place) -> None:
    policy = place.drain("sleep 1000 & echo $! > child")
    server = place.begin(policy)
    assert place.wait(server, policy) == DONE
    child = place.number("child")
    wait_until(lambda: not is_alive(child), "the child's end")


def test_only_the_end_of_a_drains_output_is_kept(place: Place) -> None:
    policy = place.drain("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1")
    server = place.begin(policy)
    why = place.wait(server, policy).why
    assert why.startswith("ended with 1: …x") and why.endswith("x the end")
    assert (place.state / f"{server.id}.json").stat().st_size < 5000


def test_a_drain_that_cannot_be_started_is_a_failed_one(place: Place) -> None:
    (place.folder / "plain").write_text("no program")
    words = {"./absent": "No such file or directory", "./plain": "Permission denied"}
    for number, (program, why) in enumerate(words.items()):
        policy = StopPolicy(drain=(program,))
        server = place.begin(policy, draining(id=str(number)))
        assert place.wait(server, policy) == DrainFinding(DrainState.FAILED, f"cannot be run: {why}")


def test_the_drain_of_a_server_that_drains_no_more_is_killed_and_forgotten(place: Place) -> None:
    policy = place.drain("echo $$ > $1.pid; sleep 1000")
    one = place.begin(policy, draining(id="1", name="prod-worker-1"))
    two = place.begin(policy, draining(id="2", name="prod-worker-2"))
    first, second = place.number("prod-worker-1.pid"), place.number("prod-worker-2.pid")
    place.run.keep_only({"2"})
    wait_until(lambda: not is_alive(first), "the first one's end")
    assert is_alive(second)
    assert (place.run.find(one, policy), place.run.find(two, policy)) == (ELSEWHERE, WORKING)
    assert sorted(file.name for file in place.state.iterdir()) == ["2.json", "2.json.lock"]


@pytest.mark.acceptance("T10")
def test_one_that_is_taken_back_drains_no_more(place: Place) -> None:
    resume = (script(place.folder, "resume.sh", 'echo "$1" > resumed; [ ! -e busy ]'), "{name}")
    policy = place.drain("echo $$ > pid; sleep 1000", resume=resume)
    server = place.begin(policy)
    command = place.number("pid")
    assert place.run.resume(server, policy) == DONE
    assert (place.folder / "resumed").read_text() == "prod-worker-1\n"
    assert not is_alive(command)
    # Until that is recorded, its drain is one to repeat; and so it is if it cannot be taken back.
    assert place.run.find(server, policy) == LOST
    (place.folder / "busy").touch()
    assert place.run.resume(server, policy) == DrainFinding(DrainState.FAILED, "ended with 1")


def test_with_a_check_the_drain_command_only_begins_it_and_no_process_is_left(place: Place) -> None:
    drained = (script(place.folder, "drained.sh", "echo 2 jobs left; test -e done"), "{name}")
    policy = place.drain("echo begun >> begun; [ -e able ]", drained=drained)
    server, run = draining(), place.run
    assert run.find(server, policy) == LOST
    assert run.start([(server, policy)]) == {"prod-worker-1": DrainFinding(DrainState.FAILED, "ended with 1")}
    (place.folder / "able").touch()
    assert run.start([(server, policy)]) == {"prod-worker-1": DONE}
    assert server.drain is not None
    begun = replace(server, drain=replace(server.drain, asked=True))
    busy = DrainFinding(DrainState.WORKING, "ended with 1: 2 jobs left")
    assert run.find(begun, policy) == busy
    (place.folder / "done").touch()
    assert run.find(begun, policy) == busy, "it is asked again after a pause only"
    place.clock.sleep(2)
    assert run.find(begun, policy) == DONE
    # Another machine asks the same.
    assert DrainProcesses(place.state / "other", place.folder, place.clock).find(begun, policy) == DONE
    assert not place.state.exists()


def test_checks_of_drains_are_asked_side_by_side(place: Place) -> None:
    """Each ends only when all have begun, and is killed before long."""
    script_ = script(
        place.folder, "all.sh", 'touch "begun-$1"; while [ $(ls begun-* | wc -l) -lt 4 ]; do sleep 0.05; done'
    )
    policy = place.drain("exit 0", drained=(script_, "{name}"))
    drain = Drain(since=NOW, until=NOW + MINUTE, asked=True)
    asked = [
        (replace(draining(), name=f"prod-worker-{number}", id=str(number), drain=drain), policy) for number in range(4)
    ]
    place.run.look(asked)
    assert [place.run.find(server, policy) for server, _ in asked] == [DONE] * 4


def test_commands_that_hang_hold_up_no_tick_and_are_begun_once(place: Place) -> None:
    """What the ticks of a watch do: each has the result of what an earlier one began."""
    commands = LastingCommands(share_s=0.2)

    def tick() -> DrainProcesses:
        return DrainProcesses(place.state, place.folder, place.clock, commands=commands)

    text = 'echo $1 >> asked; while [ ! -e "$1-ends" ]; do sleep 0.05; done; [ "$1" != fails ]'
    program = script(place.folder, "slow.sh", text)
    policy = StopPolicy(drain=(program, "begins"), drained=(program, "checked"), resume=(program, "fails"))

    def asked() -> list[str]:
        return (place.folder / "asked").read_text().split()

    server = draining()
    assert [tick().start([(server, policy)]) for _ in range(2)] == [{}, {}]
    # It must have ended before the server is taken back: its drain would go on otherwise.
    assert tick().resume(server, policy) == WORKING
    assert asked() == ["begins"]
    (place.folder / "begins-ends").touch()
    wait_until(lambda: not commands.is_busy(server.id or ""), "the end of the command that begins the drain")
    assert tick().start([(server, policy)]) == {"prod-worker-1": DONE}

    assert server.drain is not None
    begun = replace(server, drain=replace(server.drain, asked=True))
    assert [tick().find(begun, policy) for _ in range(2)] == [WORKING] * 2
    (place.folder / "checked-ends").touch()
    wait_until(lambda: tick().find(begun, policy) == DONE, "the check's end")

    assert [tick().resume(begun, policy) for _ in range(2)] == [WORKING] * 2
    (place.folder / "fails-ends").touch()
    failed = DrainFinding(DrainState.FAILED, "ended with 1")
    wait_until(lambda: tick().resume(begun, policy) == failed, "the end of the command that takes it back")
    assert asked() == ["begins", "checked", "fails"]


def test_a_drain_does_not_start_while_its_server_is_being_taken_back(place: Place) -> None:
    commands = LastingCommands(share_s=0.2)
    run = DrainProcesses(place.state, place.folder, place.clock, commands=commands)
    resume = (script(place.folder, "resume.sh", "while [ ! -e over ]; do sleep 0.05; done"),)
    policy = place.drain("echo >> begun; sleep 1000", resume=resume)
    server = place.begin(policy)
    wait_until((place.folder / "begun").exists, "the drain")
    assert run.resume(server, policy) == WORKING
    assert run.start([(server, policy)]) == {}
    assert run.find(server, policy) == LOST
    (place.folder / "over").touch()
    wait_until(lambda: run.resume(server, policy) == DONE, "the end of the command that takes it back")
    assert (place.folder / "begun").read_text() == "\n"


@pytest.mark.parametrize("planted", ["[" * 200_000, " " * (1 << 20) + "{}", '{"group": 1, "started": "long ago"}'])
def test_a_file_that_somebody_else_put_there_stops_no_run(place: Place, planted: str) -> None:
    place.state.mkdir(parents=True)
    boot = boot_id()
    (place.state / "1.json").write_text(planted.replace("}", f', "boot": "{boot}"}}'), encoding="utf-8")
    place.run.keep_only(())
    assert list(place.state.iterdir()) == []


def test_a_pipe_or_a_folder_in_the_place_of_a_drains_file_holds_nothing_up(place: Place) -> None:
    place.state.mkdir(parents=True)
    os.mkfifo(place.state / "1.json")
    (place.state / "2.json").mkdir()
    place.run.keep_only(())
    assert [path.name for path in place.state.iterdir()] == ["2.json"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives a file to another user")
@pytest.mark.parametrize("owner", [0, 12345], ids=["this user", "somebody else"])
def test_a_file_of_somebody_else_ends_no_process(place: Place, owner: int) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as innocent:
        pid = innocent.pid
        record = {"group": pid, "started": started(pid), "boot": boot_id()}
        place.state.mkdir(parents=True)
        file = place.state / "1.json"
        file.write_text(json.dumps(record), encoding="utf-8")
        os.chown(file, owner, -1)
        place.run.keep_only(())
        time.sleep(0.1)
        assert (innocent.poll() is None) == (owner != 0)
        innocent.kill()


def test_a_drain_that_cannot_be_noted_is_ended(place: Place) -> None:
    """On a full disk: no later run would know of the command that goes on, and it would start another one."""
    server = draining()
    place.run.announce([server])
    command = script(place.folder, "drain.sh", "sleep 60")
    job = {
        "words": [command],
        "directory": str(place.folder),
        "within_s": 60,
        "end_within_s": 0.5,
        "file": str(place.state / f"{server.id}.json"),
        "record": place.record(server),
    }
    subprocess.run(
        ["sh", "-c", 'ulimit -f 0; exec "$0" "$@"', *isolated("scaler.hooks.drain_process")],
        input=json.dumps(job).encode(),
        check=True,
    )
    wait_until(lambda: place.run.find(server, place.drain("sleep 60")) == LOST, "the end of its process")
    # By its folder: another run of these tests may have a drain of the same name.
    wait_until(lambda: not any(map(place.folder.samefile, _folders_of_processes())), "the end of its command")


def _folders_of_processes() -> Iterator[Path]:
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if (folder := link.readlink()).exists():
                yield folder
