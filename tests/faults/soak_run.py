"""The soak: thousands of random operations on one stack, most of them in one process, with time sped up and jumping.

Operation n of a seed is always the same, as far as the world before it is: it has its own random numbers.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, get_args

from scaler.api import TIMEOUT, Scaler
from scaler.errors import ScalerError, UsageError
from scaler.model import Outcome, Result
from scaler.model.ownership import GROUP, Owner
from scaler.simulator.world import Thing
from tests.faults.gate import Moment
from tests.faults.growth import Size, check_growth, growth_table
from tests.faults.kills import VICTIMS, Kill, RequestPoint, strike
from tests.faults.stage import RETRIED, RUNS, SPARE, Operation, Scene, Theatre, ViolationError, demand
from tests.faults.troubles import SUCCESS, TROUBLES, Trouble, mend
from tests.support.project import Vendor, wait_until

SPEED = 20
"""How much faster than real the cloud's time and that of the long-lived process go."""

LIMIT = 30
"""Servers that the spec allows; no operation asks for as many."""

GROUPS = ("worker", "web")

STRANGERS = 8
"""Servers of others, beyond which they leave again."""

SAMPLE_EVERY = 100
"""Operations between two measurements of what is taken up."""

WARM_UP = 10
"""Operations at least, after which nothing may grow any more; else a tenth of them."""

_OURS, _OTHER = Owner("scaler", "demo"), Owner("scaler", "other")
_REACHED = (Outcome.CONVERGED, Outcome.UNCHANGED)


class JumpingClock:
    """`Clock`, faster than real; what the wall clock shows can be moved, as an administrator may."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began = time.monotonic()
        self._shown = datetime.now(UTC)

    def now(self) -> datetime:
        return self._shown + timedelta(seconds=(time.monotonic() - self._began) * self._speed)

    def monotonic(self) -> float:
        return time.monotonic() * self._speed

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self._speed)

    def jump(self, seconds: float) -> None:
        """Move what `now` shows."""
        self._shown += timedelta(seconds=seconds)


@dataclass
class Tally:
    """What was done so far."""

    operations: Counter[str] = field(default_factory=Counter)
    worlds: int = 0
    """Worlds in which everything was checked."""
    kills: int = 0
    faults: int = 0
    """Requests that a fault has hit."""
    spoiled: int = 0
    """Runs that a hostile cloud has spoiled, so that the next one was to mend it."""
    refusals: int = 0
    """Operations that could not be: on a server that was just meddled with, say."""


class Soak:
    """One stack at one cloud, what is known of it, and the checks after each operation."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.seed = seed
        self.tally = Tally()
        self.told = ""
        """The operation under way, in words."""
        self.settled: Counter[str] | None = None
        """Servers by group, since everything was found to be right and until somebody meddles."""
        self.clock = JumpingClock(SPEED)
        self._groups: tuple[str, ...] = GROUPS[:1]
        self._peak = 0
        self.most = 0
        """Servers that there may be at any moment of this operation."""
        scene.gate.witness = self._look
        scene.world.set_speed(SPEED)
        if scene.is_calm:
            scene.world.set_knobs(boot_s=3, boot_spread=0.5, power_s=1, delete_s=1, visible_after_delete_s=1)
        self._allow_many_requests()
        self.stack = self.library()
        self.describe()

    @property
    def owner(self) -> Owner:
        """Whose our servers are, with the stack's id."""
        return _OURS.with_id(self.scene.project.state["identity"]["id"])

    # -- one operation -------------------------------------------------------------------------

    def play(self, number: int) -> None:
        """Carry out operation `number` and check what came of it; raises AssertionError for a broken promise."""
        draw = Random(f"{self.seed}/{number}")
        (act,) = draw.choices(ACTS, [each.weight for each in ACTS])
        self.told = act.name
        self._begin()
        try:
            act.play(self, draw)
        except ScalerError as error:
            self._forgive(error)
        self.check()
        self.tally.operations[act.name] += 1

    def _forgive(self, error: ScalerError) -> None:
        """A hostile cloud may spoil a run, and nobody knows then what has come of it; a calm one may not."""
        if self.scene.is_calm or error.exit_code not in RETRIED:
            raise error
        self._spoil(str(error))

    def forgive(self, result: Result) -> None:
        """The same of a run that has not reached what it was to."""
        told = f"{result.outcome}: {result.failures}"
        demand(not self.scene.is_calm and result.outcome is not Outcome.REFUSED, told)
        self._spoil(told)

    def _spoil(self, told: str) -> None:
        self.told += f" (spoiled: {told})"
        self.tally.spoiled += 1
        self.settled = None

    def _begin(self) -> None:
        self.scene.world.clear_log()
        self.scene.gate.testimony.clear()
        (self.scene.project.folder / "engine.log").unlink(missing_ok=True)
        (self.scene.project.folder / "engine.log.environ").unlink(missing_ok=True)
        self.allow()

    def allow(self, counts: Mapping[str, int] | None = None, *, spare: int = 0) -> None:
        """From now on each group may have so many servers, or as many as it has.

        One more for each that is not well and may be replaced, and `spare` for those that are asked to be.
        """
        ours = self.ours()
        groups = Counter(self._label(machine, GROUP) for machine in ours)
        running = {record["id"] for record in self.scene.project.records.values() if record["status"] == "running"}
        now = self.scene.world.now
        frail = [
            machine
            for machine in ours
            if str(machine.id) not in running or machine.status(now) not in ("running", "active")
        ]
        self.most = (groups | Counter(counts or {})).total() + len(frail) + spare
        self.most += 0 if self.scene.is_calm else SPARE
        self._peak = 0

    def _look(self) -> None:
        """At each request: how many servers there are that nobody has deleted."""
        self._peak = max(self._peak, len(self.ours()))

    def check(self) -> None:
        """What holds after each operation, whatever it was; and everything, if everything should be right."""
        self._look()
        demand(self._peak <= self.most, f"{self._peak} servers at a time, {self.most} at most")
        self.scene.check_foreign()
        self.scene.check_processes()
        if self.settled is not None:
            self._check_settled(self.settled)

    def _check_settled(self, counts: Counter[str]) -> None:
        # What is deleted stays in lists for a moment.
        wait_until(lambda: len(self.scene.owned()) == len(self.ours()), "the end of what was deleted")
        kept = self.kept()
        self.scene.check_settled(counts.total(), kept)
        self.tally.worlds += 1
        demand({record["group"] for record in kept.values()} <= self._keeping(), f"kept: {kept}")
        records = Counter(record["group"] for record in self.scene.project.records.values())
        labels = Counter(self._label(machine, GROUP) for machine in self.ours())
        wanted = counts + Counter(record["group"] for record in kept.values())
        demand(wanted == records == labels, f"wanted {wanted}, state file {records}, labels {labels}")

    # -- runs ----------------------------------------------------------------------------------

    def library(self, environ: Mapping[str, str] | None = None) -> Scaler:
        """The stack as a program has it."""
        project = self.scene.project
        stack = Scaler(project.folder, environ={**project.environ, **(environ or {})})
        # The library has no parameter for time, and a program needs none.
        stack._clock = self.clock  # type: ignore[assignment]
        return stack

    def ensure(self, counts: Mapping[str, int], stack: Scaler | None = None, timeout: timedelta = TIMEOUT) -> Result:
        """Make it so; it must succeed, and then everything must be right."""
        self.told += f" ensure {_words(counts)}"
        self.allow(counts)
        result = (stack or self.stack).ensure(counts, allow_zero=True, timeout=timeout)
        self.expect(result, counts)
        return result

    def expect(self, result: Result, counts: Mapping[str, int]) -> None:
        """The run has reached these counts."""
        if result.outcome in _REACHED and not result.failures:
            self.settled = Counter(counts)
        else:
            self.forgive(result)

    def heal(self, counts: Mapping[str, int]) -> None:
        """One plain `ensure` after a trouble, and everything must be right."""
        self.check()
        for _ in range(1 if self.scene.is_calm else RUNS):
            try:
                self.ensure(counts)
            except ScalerError as error:
                self._forgive(error)
            if self.settled is not None:
                return
        raise ViolationError(f"{_words(counts)} was not reached in {RUNS} runs: {self.told}")

    def attempt(self, run: Callable[[], Result]) -> Result | None:
        """A run that may be refused when somebody has meddled; None if it was."""
        try:
            return run()
        except UsageError as error:
            demand(self.settled is None, f"nobody has meddled, and yet: {error}")
            self.told += f" (refused: {error})"
            self.tally.refusals += 1
            return None

    def conclude(self, result: Result | None, wanted: Counter[str] | None) -> bool:
        """Check a run that was not refused, if it is known what must have come of it; whether it was checked."""
        if result is None or wanted is None:
            self.settled = None
            return False
        self.expect(result, wanted)
        return True

    # -- the world -----------------------------------------------------------------------------

    def ours(self) -> list[Thing]:
        """Our machines that nobody has deleted, in order of their ids."""
        vendor = self.scene.vendor
        machines = self.scene.world.servers(vendor.name)
        return [thing for thing in machines if thing.gone is None and _OURS.owns(vendor.labels_of(thing))]

    def others(self) -> list[Thing]:
        """Machines of others."""
        vendor = self.scene.vendor
        return [thing for thing in self.scene.world.servers(vendor.name) if not _OURS.owns(vendor.labels_of(thing))]

    def meddle(self) -> None:
        """Somebody has done something by hand: what belongs to others now is to stay as it is."""
        self.scene.foreign = self.scene._foreign()
        self.settled = None
        # What a hostile cloud's lists do not show yet, no run can know.
        time.sleep(self.scene.lag_s / SPEED)
        self.allow()

    def mend(self) -> None:
        """The trouble is over."""
        mend(self.scene)
        self._allow_many_requests()

    def _allow_many_requests(self) -> None:
        most, cloud = 1_000_000, self.scene.vendor.name
        per_minute = {} if cloud == "hetzner" else {"per_minute": most}
        self.scene.world.set_rate_limit(cloud, per_hour=most, **per_minute)

    def _label(self, machine: Thing, name: str) -> str:
        return self.scene.vendor.labels_of(machine)[name]

    def free_name(self, number: int) -> str | None:
        """The name that a worker could have, if nobody has it."""
        name = f"demo-worker-{number}"
        return None if self.scene.world.find(self.scene.vendor.name, "server", name) else name

    # -- what is wanted ------------------------------------------------------------------------

    def describe(self, *, groups: int = 1) -> None:
        """Write the spec, with so many groups."""
        self._groups = GROUPS[:groups]
        keeping = {"keep_paid": True}
        # Somebody who deletes most servers by hand means it here.
        self.scene.project.describe(
            groups={name: keeping if name in self._keeping() else {} for name in self._groups},
            limit=LIMIT,
            accept_loss="always",
        )

    def _keeping(self) -> set[str]:
        """The groups whose servers stay, off, while their hour is paid."""
        return set(self._groups[1:]) if self.scene.vendor.name == "hetzner" else set()

    @property
    def groups(self) -> int:
        """How many groups the spec has."""
        return len(self._groups)

    def counts(self, draw: Random) -> dict[str, int]:
        """Numbers by group: mostly few, rarely many, and never more than twenty in all."""
        return {
            name: 20 // self.groups if draw.random() < 0.01 else draw.randint(0, 8 // self.groups)
            for name in self._groups
        }

    def kept(self) -> dict[str, dict[str, Any]]:
        """The records of servers that are off."""
        return {name: record for name, record in self.scene.project.records.items() if record["status"] == "stopped"}

    def present(self) -> dict[str, int]:
        """The servers that the last run has recorded, but for those that are off, by group of the spec."""
        counted = Counter(
            record["group"] for record in self.scene.project.records.values() if record["status"] != "stopped"
        )
        return {name: counted[name] for name in self._groups}

    def some(self, draw: Random, most: int) -> list[str]:
        """Names of recorded servers that are not off."""
        names = sorted(self.scene.project.records.keys() - self.kept().keys())
        return draw.sample(names, min(len(names), draw.randint(1, most)))

    def name(self, draw: Random) -> list[str]:
        """One or two recorded servers for this operation, which is told with their names; none if there are none."""
        names = self.some(draw, 2)
        if names:
            self.told += f" {' '.join(names)}"
        return names


@dataclass(frozen=True)
class Act:
    """One kind of operation, and how often it comes."""

    name: str
    weight: float
    play: Callable[[Soak, Random], None]


# ---------------------------------------------------------------------------------------------
# Runs


def _ensure(soak: Soak, draw: Random) -> None:
    soak.ensure(soak.counts(draw))


def _ensure_same(soak: Soak, draw: Random) -> None:
    before, kept = soak.settled, soak.kept()
    paused = soak.scene.project.state["orders"]["pause"]
    result = soak.ensure(soak.present())
    if kept:
        # Time passes: the hour of one that is kept may be over.
        demand({report.step.server for report in result.steps} <= kept.keys() or before is None, f"{result.steps}")
    elif paused is None and before is not None and before == soak.settled:
        # It would end the pause that a destroy begins, which the stack records.
        demand(result.outcome is Outcome.UNCHANGED, f"nothing was to be done: {result}")
        demand(not soak.scene.project.changes, f"a change was asked for: {soak.scene.project.changes}")
        demand(not soak.scene.project.engine_runs, "an engine was started")


def _ensure_no_wait(soak: Soak, draw: Random) -> None:
    counts = soak.counts(draw)
    soak.told += f" {_words(counts)}"
    soak.allow(counts)
    result = soak.stack.ensure(counts, allow_zero=True, wait=False)
    soak.settled = None
    if result.failures:
        soak.forgive(result)


def _step(soak: Soak, draw: Random) -> None:
    up, by, group = draw.random() < 0.5, draw.randint(1, 3), draw.choice(GROUPS[: soak.groups])
    before = None if soak.settled is None else Counter(soak.settled)
    soak.told += f" {'in' if up else 'de'}crease {group} by {by}"
    if up and len(soak.ours()) + by > LIMIT:
        return
    soak.allow(spare=by if up else 0)
    run = soak.stack.increase if up else soak.stack.decrease
    result = run(by, group)
    if before is not None:
        after = {**before, group: max(0, before[group] + (by if up else -by))}
        soak.expect(result, {name: after.get(name, 0) for name in GROUPS})


def _stop(soak: Soak, draw: Random) -> None:
    if not (names := soak.name(draw)):
        return
    before = soak.settled
    gone = Counter(soak.scene.project.records[name]["group"] for name in names)
    soak.conclude(soak.attempt(lambda: soak.stack.stop(*names)), None if before is None else before - gone)


def _replace(soak: Soak, draw: Random) -> None:
    if not (names := soak.name(draw)):
        return
    before = soak.settled
    old = {soak.scene.project.records[name]["id"] for name in names}
    soak.allow(spare=len(names))
    if soak.conclude(soak.attempt(lambda: soak.stack.replace(*names)), before):
        left = {str(machine.id) for machine in soak.ours()} & old
        demand(not left, f"servers that were to be replaced are there: {left}")


def _reboot(soak: Soak, draw: Random) -> None:
    if not (names := soak.name(draw)):
        return
    before = soak.settled
    soak.conclude(soak.attempt(lambda: soak.stack.reboot(*names)), before)


def _destroy(soak: Soak, draw: Random) -> None:
    soak.expect(soak.stack.destroy(), {})


def _look(soak: Soak, draw: Random) -> None:
    how = draw.choice(("plan", "status", "status --refresh", "refresh"))
    soak.told += f" {how}"
    match how:
        case "plan":
            soak.stack.plan(soak.counts(draw))
        case "refresh":
            result = soak.stack.refresh()
            if result.failures:
                soak.forgive(result)
        case _:
            soak.stack.status(refresh=how != "status")
    demand(not soak.scene.project.changes, f"a change was asked for: {soak.scene.project.changes}")


def _prune(soak: Soak, draw: Random) -> None:
    ran = soak.scene.run("prune", "--older-than", "1s")
    demand(ran.code == 0, f"prune ended with {ran.code}:\n{ran.stderr}")


# ---------------------------------------------------------------------------------------------
# People, and time


def _by_hand(soak: Soak, draw: Random) -> None:
    hand = draw.choice(HANDS)
    soak.told += f" {hand.__name__.removeprefix('_')}"
    hand(soak, draw)
    if len(soak.others()) > STRANGERS:
        for thing in soak.others()[2:]:
            soak.scene.world.vanish(soak.scene.vendor.name, thing.id)
    soak.meddle()


def _delete(soak: Soak, draw: Random) -> None:
    for machine in _victims(soak, draw, 3):
        soak.scene.world.vanish(soak.scene.vendor.name, machine.id)


def _switch_off(soak: Soak, draw: Random) -> None:
    for machine in _victims(soak, draw, 2):
        soak.scene.world.power_off(soak.scene.vendor.name, machine.id)


def _rename(soak: Soak, draw: Random) -> None:
    for machine in _victims(soak, draw, 1):
        soak.scene.world.rename(soak.scene.vendor.name, machine.id, f"renamed-{draw.randrange(10**6)}")


def _give_away(soak: Soak, draw: Random) -> None:
    for machine in _victims(soak, draw, 1):
        labels = soak.scene.vendor.owned(_OTHER.group_labels("worker", "0"))
        soak.scene.world.relabel(soak.scene.vendor.name, machine.id, **labels)


def _give_back(soak: Soak, draw: Random) -> None:
    """A server that others have had becomes ours, or ours again."""
    for machine in draw.sample(soak.others()[2:], min(1, len(soak.others()[2:]))):
        labels = soak.scene.vendor.owned(soak.owner.group_labels("worker", "0"))
        soak.scene.world.relabel(soak.scene.vendor.name, machine.id, **labels)
        soak.scene.given_back.add(machine.id)


def _take_name(soak: Soak, draw: Random) -> None:
    """A stranger's server gets a name that we would use."""
    if name := soak.free_name(draw.randint(1, 9)):
        soak.scene.world.add_server(soak.scene.vendor.name, name)


def _make_orphan(soak: Soak, draw: Random) -> None:
    """Somebody makes a server with our labels."""
    if name := soak.free_name(draw.randint(1, 9)):
        labels = soak.scene.vendor.owned(soak.owner.group_labels("worker", "0"))
        soak.scene.world.add_server(soak.scene.vendor.name, name, **labels)


def _write_spec(soak: Soak, draw: Random) -> None:
    """The spec gets a second group, or loses it."""
    soak.describe(groups=3 - soak.groups)


HANDS = (
    _delete,
    _delete,
    _switch_off,
    _switch_off,
    _rename,
    _give_away,
    _give_back,
    _take_name,
    _make_orphan,
    _write_spec,
)


def _victims(soak: Soak, draw: Random, most: int) -> list[Thing]:
    return draw.sample(soak.ours(), min(len(soak.ours()), draw.randint(1, most)))


def _jump(soak: Soak, draw: Random) -> None:
    """Both clocks, or one of them, move on; ours may also go back a little."""
    whose = draw.choice(("both", "both", "the cloud's", "ours", "ours, back"))
    seconds = draw.uniform(60, 3 * 86_400 if whose == "both" else 3 * 3_600)
    if whose == "ours, back":
        seconds = draw.uniform(1, 600)
    soak.told += f" {whose} by {timedelta(seconds=round(seconds))}"
    if whose != "the cloud's":
        soak.clock.jump(-seconds if whose == "ours, back" else seconds)
    if whose in ("both", "the cloud's"):
        soak.scene.world.advance(seconds)


# ---------------------------------------------------------------------------------------------
# Faults and kills

_TOO_SLOW = ("lists hang for ever",)
_BACK_IN_TIME = ("the cloud's clock is three hours behind",)
"""What was deleted within those hours would be there again; a jump of our own clock does the same here."""

_OF_A_FIXED_STACK = ("the first place is full", "one was deleted by hand", "one was switched off")
"""They write the spec, or are about a certain server; a hand does the same here."""

FAULTS = [
    trouble
    for trouble in TROUBLES
    if trouble.name not in (*_TOO_SLOW, *_BACK_IN_TIME, *_OF_A_FIXED_STACK) and not trouble.name.startswith("disk")
]


def _fault(soak: Soak, draw: Random) -> None:
    trouble, counts = draw.choice(FAULTS), soak.counts(draw)
    soak.told += f" {trouble.name!r}: ensure {_words(counts)}"
    soak.settled = None
    # What hangs or fails to be made may be replaced in the same run.
    soak.allow(counts, spare=sum(counts.values()) if trouble.name.startswith("one ") else 0)
    with trouble.disturb(soak.scene) or nullcontext():
        _disturbed(soak, trouble, counts)
    soak.tally.faults += sum(report.fired for report in soak.scene.world.faults())
    soak.mend()
    soak.heal(counts)


def _disturbed(soak: Soak, trouble: Trouble, counts: Mapping[str, int]) -> None:
    timeout = timedelta(minutes=2) if trouble.options else TIMEOUT
    try:
        result = soak.library(trouble.environ).ensure(counts, allow_zero=True, timeout=timeout)
    except ScalerError as error:
        demand(trouble.codes != SUCCESS, f"it was to be ridden out: {error}")
        return
    if trouble.codes == SUCCESS:
        soak.expect(result, counts)
    elif result.outcome in _REACHED:
        soak.settled = Counter(counts)


def _kill(soak: Soak, draw: Random) -> None:
    command, counts = _killed(soak, draw)
    point = RequestPoint(draw.randint(1, 14), draw.choice(get_args(Moment)), changes_only=draw.random() < 0.5)
    kill = Kill(soak.scene.vendor, Operation(command[0], command, 0, 0, 0), point, draw.choice(VICTIMS))
    soak.told += f" {kill.victim} at {point} of {' '.join(command)}"
    soak.settled = None
    soak.allow(counts if command[0] == "ensure" else {}, spare=len(command) - 2 if command[0] == "replace" else 0)
    soak.tally.kills += strike(kill, soak.scene)
    soak.scene.gate.stop_at = None
    soak.heal(counts)


def _killed(soak: Soak, draw: Random) -> tuple[tuple[str, ...], dict[str, int]]:
    """The command to be killed, and what is wanted afterwards."""
    counts = {name: max(1, count) for name, count in soak.counts(draw).items()}
    servers = soak.some(draw, 2)
    match draw.choice(("ensure", "ensure", "ensure", "replace", "reboot", "destroy")):
        case "destroy":
            return ("destroy", "--yes"), counts
        case ("replace" | "reboot") as name if servers:
            return (name, *servers, "--yes"), counts
    return ("ensure", *(f"{group}={count}" for group, count in counts.items()), "--yes"), counts


ACTS = (
    Act("ensure", 18, _ensure),
    Act("ensure the same", 18, _ensure_same),
    Act("ensure, not waiting", 3, _ensure_no_wait),
    Act("step", 5, _step),
    Act("stop", 3, _stop),
    Act("replace", 3, _replace),
    Act("reboot", 4, _reboot),
    Act("destroy", 2, _destroy),
    Act("look", 13, _look),
    Act("by hand", 18, _by_hand),
    Act("jump", 9, _jump),
    Act("fault", 6, _fault),
    Act("kill", 2.5, _kill),
    Act("prune", 1, _prune),
)


def _words(counts: Mapping[str, int]) -> str:
    return " ".join(f"{name}={count}" for name, count in counts.items())


# ---------------------------------------------------------------------------------------------
# All of them


@dataclass(frozen=True)
class Report:
    """What came of a soak."""

    tally: Tally
    start: Size
    warm: Size
    end: Size
    elapsed_s: float

    def __str__(self) -> str:
        tally, done = self.tally, self.tally.operations.total()
        lines = [f"{name:20}  {count:>5}" for name, count in tally.operations.most_common()]
        lines.append(
            f"{done} operations in {self.elapsed_s:.0f} s, {tally.worlds} worlds checked in full, "
            f"{tally.kills} kills, {tally.faults} requests hit by faults, {tally.refusals} refused, "
            f"{tally.spoiled} runs spoiled by the cloud and mended by the next"
        )
        return "\n".join((*lines, growth_table(self.start, self.warm, self.end)))


class SoakError(AssertionError):
    """A promise that was not kept, by which operation, and how to see it again."""


def soak(
    theatre: Theatre, vendor: Vendor, *, seed: int, operations: int, tell: Callable[[str], None] = lambda text: None
) -> Report:
    """Play operations 1 to `operations` of a seed; SoakError for the first promise that was not kept."""
    with theatre.scene(vendor) as scene, _temporary_folder(scene):
        began = time.monotonic()
        playing = Soak(scene, seed)
        start = warm = end = Size.now(scene)
        warm_up = max(WARM_UP, operations // 10)
        for number in range(1, operations + 1):
            try:
                playing.play(number)
                if number == warm_up:
                    warm = Size.now(scene)
                if number >= warm_up and (number % SAMPLE_EVERY == 0 or number == operations):
                    end = _measured(scene, warm)
                    tell(f"{number} done, {time.monotonic() - began:.0f} s, {end}")
            except Exception as error:
                raise SoakError(
                    f"operation {number} of seed {seed}: {playing.told}\n{error!r}\nreproduce: make soak "
                    f'ARGS="--seed {seed} --operations {number} --cloud {vendor.name} --profile {theatre.profile}"'
                ) from error
            tell(f"{number:>5}  {playing.told}")
    return Report(playing.tally, start, warm, end, time.monotonic() - began)


def _measured(scene: Scene, warm: Size) -> Size:
    size = Size.now(scene)
    check_growth(warm, size)
    return size


@contextmanager
def _temporary_folder(scene: Scene) -> Iterator[None]:
    """A folder of the scene's own for temporary files, of this process and of those that it starts."""
    folder = scene.project.folder / "tmp"
    folder.mkdir()
    scene.project.environ["TMPDIR"] = str(folder)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
