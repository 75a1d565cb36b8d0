"""Put the `in_service` label on servers, and take it off.

What the cloud answered counts, and no later list: lists can lag. A request without an answer proves
nothing, and is repeated by the next observation, or the next run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace

from scaler.clouds import AmbiguousError, BusyError, CloudError, GoneError, RateLimitedError, TransientError
from scaler.converge.knowledge import Knowledge
from scaler.converge.ports import Ports
from scaler.converge.time_up import fix, is_only_late
from scaler.errors import ScalerError, TimeUpError
from scaler.model import Machine
from scaler.model.ownership import Label, with_label, without_label
from scaler.planning.service import label_of, wrongly_labelled
from scaler.support.values import dataclass

_AT_ONCE = 10
"""How many requests to label servers are under way at a time."""

_TRIES = 3

_PAUSE_S = 2.0

PASSING_OR_LOST = (AmbiguousError, BusyError, RateLimitedError, TransientError)
"""Errors after which the same request is worth repeating."""


@dataclass(frozen=True)
class Switched:
    """What came of it."""

    knowledge: Knowledge
    refused: Mapping[str, CloudError] = field(default_factory=dict)
    """By server: why it is not known to be labelled as it should be."""


def put_right(knowledge: Knowledge, ports: Ports, *, tries: int = 1) -> Switched:
    """Label the servers as they should be; without a wrong label, no request is sent."""
    switched = Switched(knowledge)
    for attempt in range(tries):
        wrong = wrongly_labelled(switched.knowledge.spec, switched.knowledge.world)
        if not wrong:
            return Switched(switched.knowledge)
        if attempt and ports.limit.is_over:
            break
        if attempt:
            ports.clock.sleep(ports.limit.cut(_PAUSE_S))
        switched = switch(switched.knowledge, wrong, ports)
        if not any(isinstance(error, PASSING_OR_LOST) for error in switched.refused.values()):
            break
    return switched


def put_right_at_last(knowledge: Knowledge, ports: Ports, *, patient: bool) -> tuple[Knowledge, list[ScalerError]]:
    """Label the servers as they should be at the end of a run; one error for each that is not."""
    switched = put_right(knowledge, ports, tries=_TRIES if patient else 1)
    return switched.knowledge, [_unlabelled(name, error, ports) for name, error in switched.refused.items()]


def _unlabelled(name: str, error: CloudError, ports: Ports) -> ScalerError:
    what = f"The label that says whether {name} is in service could not be set."
    if is_only_late(error, ports):
        return TimeUpError(what, why=str(error), fix=fix(ports))
    return ScalerError(what, why=str(error), fix="The next run tries again.", code="in_service")


def take_off(knowledge: Knowledge, names: Iterable[str], ports: Ports) -> Switched:
    """Take the label off these servers, whatever was seen of it: from then on nothing new is sent to them."""
    servers = knowledge.world.servers
    return switch(knowledge, {name: False for name in names if label_of(knowledge.spec, servers[name])}, ports)


def switch(knowledge: Knowledge, wanted: Mapping[str, bool], ports: Ports) -> Switched:
    """Put the label on (True) or take it off, in as few requests as the cloud allows."""
    lots: dict[tuple[Label, bool], list[str]] = defaultdict(list)
    for name, on in wanted.items():
        label = label_of(knowledge.spec, knowledge.world.servers[name])
        if label is not None:
            lots[label, on].append(name)
    refused: dict[str, CloudError] = {}
    # Off first: what must not serve is more urgent.
    for (label, on), names in sorted(lots.items(), key=lambda lot: lot[0][1]):
        machines = [knowledge.world.machines[name] for name in names]
        errors = _ask(machines, label, ports, on=on)
        for name, machine in zip(names, machines, strict=True):
            if machine.id in errors:
                refused[name] = errors[machine.id]
                ports.progress.note(f"{name}: its label {'='.join(filter(None, label))}: {errors[machine.id]}")
            else:
                knowledge = _switched(knowledge, name, label, on=on)
    return Switched(knowledge, refused)


def _switched(knowledge: Knowledge, name: str, label: Label, *, on: bool) -> Knowledge:
    """Know a server as it is labelled now."""
    machine = knowledge.world.machines[name]
    labels = with_label(machine.labels, label) if on else without_label(machine.labels, label)
    world = replace(knowledge.world, machines={**knowledge.world.machines, name: replace(machine, labels=labels)})
    server = replace(knowledge.world.servers[name], in_service=on)
    return replace(knowledge, world=world).amend(server)


def _ask(machines: Sequence[Machine], label: Label, ports: Ports, *, on: bool) -> dict[str, CloudError]:
    """Send the requests; errors by id. A machine that is gone carries nothing."""
    label_many: Callable[..., None] | None = getattr(ports.cloud, "label_many", None)
    if label_many is None:
        return _each(machines, lambda one: ports.cloud.set_labels(one.id, _labels(one, label, on=on)), ports)

    def ask(some: Collection[Machine]) -> None:
        label_many([one.id for one in some], label, on=on)

    try:
        ask(machines)
    except GoneError:
        # One of them is, and the request is refused as a whole.
        return _each(machines, lambda one: ask([one]), ports)
    except CloudError as error:
        return dict.fromkeys((one.id for one in machines), error)
    return {}


def _labels(machine: Machine, label: Label, *, on: bool) -> dict[str, str]:
    return with_label(machine.labels, label) if on else without_label(machine.labels, label)


def _each(machines: Sequence[Machine], ask: Callable[[Machine], None], ports: Ports) -> dict[str, CloudError]:
    """Ask for machines one by one, several at a time, as long as the run has time for it."""

    def answer(machine: Machine) -> CloudError | None:
        if ports.limit.is_grace_over:
            return TransientError(
                f"{machine.name} was not labelled.",
                why=f"the run's time ({ports.limit}) is up",
                fix="The next run does it.",
            )
        try:
            ask(machine)
        except GoneError:
            return None
        except CloudError as error:
            return error
        return None

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        answers = list(pool.map(answer, machines))
    return {machine.id: error for machine, error in zip(machines, answers, strict=True) if error}
