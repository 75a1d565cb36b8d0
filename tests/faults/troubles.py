"""The fault matrix: everything that a cloud, an account or a disk may do wrong, in every operation, at both clouds."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from tests.faults.stage import OPERATIONS, RETRIED, Operation, Scene, Theatre, demand
from tests.support.project import VENDORS, Ran, Vendor

CHANGE = "POST|PUT|DELETE"
ALL = tuple(OPERATIONS)
CREATING = ("scale-up", "replace")
REMOVING = ("scale-down", "replace", "destroy")

SUCCESS = frozenset({0})
"""The run rides it out."""
FAILURE = frozenset({1})
REFUSAL = frozenset({1, 3})
UNREACHABLE = frozenset({69})
CREDENTIALS = frozenset({77})

Disturb = Callable[[Scene], AbstractContextManager[object] | None]
"""Makes the trouble; a context that it returns lasts as long as the operation."""


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong, in which operations, and how these must end."""

    name: str
    disturb: Disturb
    codes: frozenset[int] = SUCCESS
    words: str = ""
    """What a run that did not succeed must say (a regular expression)."""
    operations: tuple[str, ...] = ALL
    environ: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    group: Mapping[str, Any] = field(default_factory=dict)
    """What the spec says of the group beside the usual."""
    changes_nothing: bool = False
    """No request that changes anything may have been carried out."""


@dataclass(frozen=True)
class TroubledOperation:
    """One cell of the matrix."""

    vendor: Vendor
    operation: Operation
    trouble: Trouble

    @property
    def id(self) -> str:
        return f"fault/{self.vendor.name}/{self.operation.name}/{self.trouble.name}"

    @property
    def row(self) -> str:
        """Its row in the table."""
        return f"fault {self.trouble.name}"

    def play(self, theatre: Theatre) -> bool:
        """Disturb the operation, check its end and its world, mend the trouble, and check one `ensure`."""
        operation, trouble = self.operation, self.trouble
        with theatre.scene(self.vendor) as scene:
            if trouble.group:
                scene.project.describe(groups={"worker": trouble.group})
            with trouble.disturb(scene) or nullcontext():
                ran = scene.run(*operation.command, *trouble.options, environ=trouble.environ)
            told = f"exit {ran.code}:\n{ran.stdout}\n{ran.stderr}"
            scene.check_end(ran, trouble.codes)
            _check_words(scene, ran, trouble, told)
            scene.check_most(operation.most, ran)
            scene.check_foreign()
            scene.check_processes()
            if ran.code == 0:
                scene.check_settled(operation.after)
            elif trouble.changes_nothing:
                demand(set(scene.first.values()) == set(map(str, scene.owned())), f"servers came or went, {told}")
            mend(scene)
            scene.settle(operation.wanted)
        return True


def _check_words(scene: Scene, ran: Ran, trouble: Trouble, told: str) -> None:
    demand("internal error" not in ran.stderr and "Traceback" not in ran.stderr, f"an error of our own, {told}")
    is_own = not scene.is_calm and ran.code in RETRIED
    said = ran.code == 0 or is_own or re.search(trouble.words, ran.stdout + ran.stderr, re.IGNORECASE)
    demand(said, f"nothing was said of {trouble.words!r}, {told}")


def mend(scene: Scene) -> None:
    """What a person mends before the next run."""
    world, vendor = scene.world, scene.vendor.name
    world.clear_faults()
    world.set_tokens(vendor)
    world.set_quota(vendor, **{"servers" if vendor == "hetzner" else "droplets": 100})
    world.set_capacity(vendor, "*", "*", None)
    world.set("deprecated", {})
    world.set_rate_limit(vendor)
    # What the cloud had none of is not to be waited for.
    scene.project.state_path.with_name("demo.shortages.json").unlink(missing_ok=True)
    for server in world.servers(vendor):
        server.body["busy_until"] = min(server.body["busy_until"], world.now)
        world.save(server)
    # What the account refused is remembered for a while; the error says which file to remove when that is mended.
    (scene.project.state_dir / "demo.shortages.json").unlink(missing_ok=True)
    if not world.things(vendor, "snapshot"):
        world.add_snapshot(vendor, "worker-golden", labels={"role": "worker"}, disk=25)


def troubles(theatre: Theatre, only: str) -> Iterator[TroubledOperation]:
    """The matrix."""
    for trouble, vendor in product(TROUBLES, VENDORS):
        for name in trouble.operations:
            yield TroubledOperation(vendor, OPERATIONS[name], trouble)


# ---------------------------------------------------------------------------------------------
# Kinds of trouble


def change(effect: str, **more: Any) -> Disturb:
    """A fault of requests that change something."""
    return lambda scene: _add(scene, effect, CHANGE, "/v[12]/", more)


def creation(effect: str, **more: Any) -> Disturb:
    """A fault of requests that create a server."""
    return lambda scene: _add(scene, effect, "POST", f"{scene.vendor.collection}$", more)


def listing(effect: str, **more: Any) -> Disturb:
    """A fault of requests that list servers."""
    return lambda scene: _add(scene, effect, "GET", f"{scene.vendor.collection}$", more)


def reading(effect: str, **more: Any) -> Disturb:
    """A fault of every kind of request that only reads."""
    return lambda scene: _add(scene, effect, "GET", "/v[12]/", more)


def _add(scene: Scene, effect: str, method: str, path: str, more: Mapping[str, Any]) -> None:
    scene.world.add_fault(effect, method=method, path=path, **more)


def _any(effect: str, **more: Any) -> Disturb:
    return lambda scene: _add(scene, effect, ".*", "/v[12]/", more)


def _quota(scene: Scene) -> None:
    scene.world.set_quota(scene.vendor.name, **{"servers" if scene.vendor.name == "hetzner" else "droplets": 5})


def _no_capacity(scene: Scene) -> None:
    scene.world.set_capacity(scene.vendor.name, "*", "*", 0)


def _one_place_full(scene: Scene) -> None:
    scene.project.describe(groups={"worker": {"location": [scene.vendor.location, _elsewhere(scene)]}})
    scene.world.set_capacity(scene.vendor.name, "*", scene.vendor.location, 0)


def _elsewhere(scene: Scene) -> str:
    return "nbg1" if scene.vendor.name == "hetzner" else "ams3"


def _withdrawn(scene: Scene) -> None:
    scene.world.deprecate(scene.vendor.name, scene.vendor.type)


def _no_snapshot(scene: Scene) -> None:
    for thing in scene.world.things(scene.vendor.name, "snapshot"):
        scene.world.remove_snapshot(scene.vendor.name, thing.id)


def _cloud_ahead(scene: Scene) -> None:
    scene.world.advance(3 * 3600)


def _cloud_behind(scene: Scene) -> None:
    """Everything in the world, and its time, was three hours earlier."""
    world = scene.world
    with world.transaction():
        for kind in ("server", "snapshot", "ssh_key"):
            for thing in world.things(scene.vendor.name, kind):
                thing.created -= 3 * 3600
                if thing.id not in scene.foreign:
                    thing.body = _earlier(thing.body)
                world.save(thing)
        world.advance(-3 * 3600)


def _earlier(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _earlier(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_earlier(item) for item in value]
    return value - 3 * 3600 if isinstance(value, float) and value > 1e9 else value


def _few_requests_left(scene: Scene) -> None:
    if scene.vendor.name == "hetzner":
        scene.world.set("bucket", [3.0, scene.world.now])
    else:
        scene.world.set_rate_limit("digitalocean", per_minute=9)


def _vanish(scene: Scene) -> None:
    scene.world.vanish(scene.vendor.name, int(scene.first["demo-worker-1"]))


def _power_off(scene: Scene) -> None:
    scene.world.power_off(scene.vendor.name, int(scene.first["demo-worker-1"]))


def _stuck(scene: Scene) -> None:
    _add(scene, scene.vendor.stuck, "POST", f"{scene.vendor.collection}$", {})


def _lost_from_lists(scene: Scene) -> None:
    _add(scene, "list_misses", "GET", f"{scene.vendor.collection}$", {"names": ["demo-worker-2"], "times": None})


# -- the machine that scaler runs on ------------------------------------------------------------


def _file_in_the_way(scene: Scene) -> AbstractContextManager[object]:
    """The state folder cannot be written: a file is where its lock would be made."""

    @contextmanager
    def moved() -> Iterator[None]:
        aside = scene.project.state_dir.rename(scene.project.folder / "aside")
        scene.project.state_dir.write_text("in the way")
        yield
        scene.project.state_dir.unlink()
        aside.rename(scene.project.state_dir)

    return moved()


def _folder_for_state_file(scene: Scene) -> AbstractContextManager[object]:
    """The state file cannot be read or replaced: a folder has its name."""

    @contextmanager
    def moved() -> Iterator[None]:
        aside = scene.project.state_path.rename(scene.project.folder / "aside.json")
        scene.project.state_path.mkdir()
        (scene.project.state_path / "x").touch()
        yield
        (scene.project.state_path / "x").unlink()
        scene.project.state_path.rmdir()
        aside.rename(scene.project.state_path)

    return moved()


def full_disk(scene: Scene, *, left: int) -> AbstractContextManager[object]:
    """The state folder is on a disk with `left` bytes left."""

    @contextmanager
    def mounted() -> Iterator[None]:
        state, aside = scene.project.state_dir, scene.project.folder / "aside"
        state.rename(aside)
        state.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(state)], check=True)
        try:
            subprocess.run(["cp", "-a", f"{aside}/.", str(state)], check=True)
            _fill(state / "ballast", left)
            yield
            (state / "ballast").unlink()
            subprocess.run(["rm", "-rf", str(aside)], check=True)
            subprocess.run(["cp", "-a", f"{state}/.", str(aside)], check=True)
        finally:
            subprocess.run(["umount", "-l", str(state)], check=True)
        state.rmdir()
        aside.rename(state)

    return mounted()


def _fill(ballast: Path, left: int) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            file.truncate(max(0, file.tell() - left))


QUICK = {"SCALER_HTTP_TIMEOUT": "1s"}
LOST: dict[str, Any] = {"operations": ("scale-up", "scale-down", "replace", "destroy")}
"""A reboot in doubt is not asked for again: a second one would cost a second outage."""

SOON: dict[str, Any] = {"group": {"start_within": "15s"}}
"""The run after it replaces what never starts."""

TROUBLES = (
    # What is asked for is done, or not, and the answer is of no use.
    Trouble("carried out, connection closed", change("accept_then_drop", times=2), **LOST),
    Trouble("carried out, 502", change("accept_then_status", status=502), **LOST),
    Trouble("carried out, 503", change("accept_then_status", status=503), **LOST),
    Trouble("carried out, 504", change("accept_then_status", status=504), **LOST),
    Trouble("carried out, no answer", change("accept_then_hang"), environ=QUICK, **LOST),
    Trouble("carried out, half an answer", change("truncated_json"), **LOST),
    Trouble("carried out, null ids", change("null_fields", fields=["id"]), **LOST),
    Trouble("not carried out, connection closed", change("drop_before", times=2), **LOST),
    Trouble("not carried out, no answer", change("hang_forever"), environ=QUICK, **LOST),
    Trouble("not carried out, 500", change("respond", status=500), **LOST),
    Trouble("not carried out, 503", change("respond", status=503), **LOST),
    Trouble("not carried out, HTML", change("html_502"), **LOST),
    Trouble(
        "a reboot in doubt", change("accept_then_drop"), frozenset({0, 1}), "may or may not", operations=("reboot",)
    ),
    Trouble("500 for ever", change("respond", status=500, times=None), FAILURE, "500|server.error", **LOST),
    Trouble("429 on changes", change("rate_limit", times=3)),
    Trouble("429 on changes, no JSON", change("rate_limit", times=3, json=False)),
    Trouble("429 on changes, Retry-After", change("rate_limit", times=2, headers={"retry-after": "1"})),
    # Looking fails, or shows what is not so.
    Trouble("lists closed", listing("drop_before", times=2)),
    Trouble("lists hang", listing("hang_forever", times=2), environ=QUICK),
    Trouble("lists 500", listing("respond", status=500, times=3)),
    Trouble("lists HTML", listing("html_502", times=2)),
    Trouble("lists cut off", listing("truncated_json", times=2)),
    Trouble(
        "lists with nulls",
        listing("null_fields", fields=["name", "status"], times=2),
        SUCCESS | UNREACHABLE,
        "null",
        changes_nothing=True,
    ),
    Trouble("lists 429 without JSON", listing("rate_limit", json=False, times=3)),
    Trouble("every fourth read fails", reading("respond", status=502, times=2, skip=3)),
    Trouble(
        "lists 500 for ever",
        listing("respond", status=500, times=None),
        UNREACHABLE,
        "500|server.error",
        changes_nothing=True,
    ),
    Trouble(
        "lists hang for ever",
        listing("hang_forever", times=None),
        UNREACHABLE,
        "timed out",
        environ=QUICK,
        changes_nothing=True,
    ),
    Trouble("lists are ten seconds old", listing("stale_list", seconds=10, times=None)),
    Trouble("lists never show one server", _lost_from_lists),
    Trouble("a list misses the newest", listing("list_misses", newest=1, times=1)),
    Trouble("every second list misses the newest", listing("list_misses", newest=1, skip=1, times=1)),
    # The account.
    Trouble("token revoked", _any("token_revoked"), CREDENTIALS, "unauthorized|authenticate", changes_nothing=True),
    Trouble(
        "token revoked at the third request", _any("token_revoked", skip=2), CREDENTIALS | {1}, "unauthorized|auth"
    ),
    Trouble("token revoked at the change", change("token_revoked"), CREDENTIALS | {1}, "unauthorized|authenticate"),
    Trouble("token revoked after the change", change("token_revoked", skip=1), CREDENTIALS | {1}, "unauthorized|auth"),
    Trouble("token only reads", _any("token_readonly"), CREDENTIALS | {1}, "readonly|forbidden|access|permission"),
    Trouble("quota of five", _quota, REFUSAL, "limit", operations=("scale-up",)),
    Trouble("no capacity", _no_capacity, FAILURE, "placement|not available|capacity", operations=CREATING),
    Trouble("the first place is full", _one_place_full, operations=CREATING),
    Trouble("type withdrawn from sale", _withdrawn, FAILURE, "", operations=CREATING),
    Trouble("snapshot deleted", _no_snapshot, FAILURE, "snapshot|image", operations=CREATING),
    Trouble("few requests left", _few_requests_left, operations=("scale-up", "destroy")),
    Trouble("the cloud's clock is three hours ahead", _cloud_ahead),
    Trouble("the cloud's clock is three hours behind", _cloud_behind),
    # Servers.
    Trouble("one never starts", _stuck, frozenset({4}), "", operations=CREATING, options=("--timeout", "5s"), **SOON),
    Trouble(
        "one is locked for ever",
        creation("stuck_locked"),
        frozenset({0, 4}),
        "",
        operations=CREATING,
        options=("--timeout", "5s"),
        **SOON,
    ),
    Trouble("one fails to be made", creation("action_error"), operations=CREATING),
    Trouble("one is ten times slower", creation("slow", factor=10), operations=CREATING),
    Trouble("one was deleted by hand", _vanish, operations=("scale-up", "scale-down", "destroy")),
    Trouble("one was switched off", _power_off, operations=("scale-up", "scale-down", "destroy")),
    # The machine that scaler runs on.
    Trouble("a file in the state folder's place", _file_in_the_way, FAILURE, "cannot be written", changes_nothing=True),
    Trouble("a folder in the state file's place", _folder_for_state_file, FAILURE, "cannot be", changes_nothing=True),
    *(
        Trouble(f"disk with {left} bytes left", partial(full_disk, left=left), frozenset({0, 1}), "space")
        for left in (0, 4096, 16384, 65536)
    ),
)
