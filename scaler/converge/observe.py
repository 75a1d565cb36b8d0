"""Observe: the cloud's list, the engine's state and our records become one `Knowledge`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

from scaler.clouds import (
    PASSING,
    CloudError,
    GoneError,
)
from scaler.converge.failed_actions import note_failed
from scaler.converge.knowledge import Knowledge
from scaler.converge.late_lists import await_creations, with_deletions
from scaler.converge.ports import Ports
from scaler.converge.recognise import identity_here, identity_or_new, is_known, recognise_place, recorded_identity
from scaler.errors import TimeUpError, UnrecognisedError
from scaler.model import Machine, Server, Spec, World
from scaler.model.identity import Identity
from scaler.model.lifecycle import Phase, Status
from scaler.model.orders import Orders, newest
from scaler.planning.absence import MASS_PROOF_S, PROOF_S, is_accepted, is_meant, proof_s, remembered
from scaler.planning.assess import Findings, assess, known, none_after
from scaler.planning.claims import Claim, sort_out
from scaler.planning.deadlines import learn_deadline
from scaler.planning.names import natural
from scaler.planning.prices import existing, price_of
from scaler.planning.recognition import check_foreign, check_missing, check_tainted, check_unclaimed
from scaler.support.clock import future_notice, not_after

_ASKED_AT_ONCE = 32
"""Requests for single machines at a time; the cloud's budget is kept elsewhere."""

_PAUSE_S = 2.0


def observe(
    spec: Spec,
    ports: Ports,
    *,
    rebuild: bool = False,
    accept_loss: bool = False,
    claim: Claim | None = None,
    is_shown: bool = True,
    patient: bool = True,
) -> Knowledge:
    """Read the stack and the records, and list the cloud's machines.

    `rebuild` goes on without records that cannot be read; `claim` says what is done about unclaimed
    servers, and changes nothing yet. Not `patient`: what is missing is not waited for; the records remember
    since when it is, and a later observation decides.
    Raises what the cloud, the engine's backend or the state file raises.
    """
    if is_shown:
        ports.progress.phase("observing")
    unseen = read_records(spec, ports, rebuild=rebuild)
    identity = recorded_identity(unseen.stack, ports)
    claim = claim or Claim()
    if spec.adopt == "always" and not is_known(identity):
        claim = replace(claim, everything=True)
    moved = _moved(unseen, identity, claim, ports)
    check_foreign(spec, unseen.stack.foreign)
    check_tainted(spec, unseen.stack.entries)
    working = identity_or_new(identity, ports)
    is_proven = moved is None and (not is_known(identity) or working.is_proven(ports.place))
    if moved:
        # Its servers may carry the names of before; those that are missing refuse the run below.
        working = replace(working, account="", tokens=()).claiming(_expected(unseen))
    unseen = replace(unseen, identity=working, had_id=is_known(identity))
    prove = prove_absences if patient else _leave_open
    began = ports.clock.monotonic()
    try:
        seen = _look_for_all(unseen, ports, claim, prove, is_proven=is_proven, accept_loss=accept_loss)
    except UnrecognisedError as refusal:
        # What is missing at another place is no loss, however well the token is known.
        raise moved if moved and refusal.code != "unclaimed_servers" else refusal from None
    seen = await_creations(
        unseen.records, seen, lambda known: observe_again(known, ports), ports, until=began + PROOF_S
    )
    if moved and not _expected(unseen).keys() <= {machine.id for machine in seen.world.machines.values()}:
        raise moved
    assert seen.identity is not None  # noqa: S101 - an observation keeps it
    return replace(seen, first=seen.world, identity=identity_here(seen.identity, seen.claimed, ports))


def _moved(unseen: Knowledge, identity: Identity | None, claim: Claim, ports: Ports) -> UnrecognisedError | None:
    """Refuse a place other than the recorded one; return the refusal where the run is told to record the place."""
    if not _expected(unseen):
        return None
    try:
        recognise_place(unseen.spec, identity, ports)
    except UnrecognisedError as refusal:
        if not claim.moves:
            raise
        return refusal
    return None


def read_records(spec: Spec, ports: Ports, *, rebuild: bool) -> Knowledge:
    """Know what the stack and the records say, and nothing of the cloud yet."""
    stack = ports.stack.read()
    own = ports.records.orders()
    if stack.orders and own and own.serial < stack.orders.serial:
        ports.progress.note("another machine has changed the stack since this one's state file: its outputs count")
    # Whole seconds, as in the records.
    now = ports.clock.now().replace(microsecond=0)
    records, was_ahead = _none_after(now, known(stack, ports.records.load(set_aside_damaged=rebuild)), ports)
    times = ports.records.boot_times()
    deadlines = {
        name: deadline
        for name, group in spec.groups.items()
        if (deadline := learn_deadline(times.get(name, ()), group.start_within))
    }
    nothing = World(at=now, owner=spec.owner, machines={}, entries=stack.entries, servers={})
    return Knowledge(
        orders=_orders(stack.orders, own, now),
        spec=spec,
        stack=stack,
        world=nothing,
        first=nothing,
        records=records,
        was_ahead=was_ahead,
        deadlines=deadlines,
    )


def _orders(shared: Orders | None, own: Orders | None, now: datetime) -> Orders:
    """Return what is asked of the stack, with no times in the future."""
    orders = newest(shared, own)
    replacements = tuple(replace(each, since=not_after(each.since, now)) for each in orders.replacements)
    return replace(orders, pause=orders.pause and orders.pause.none_after(now), replacements=replacements)


def _look_for_all(
    unseen: Knowledge,
    ports: Ports,
    claim: Claim,
    prove: Callable[[Knowledge, Ports], Knowledge],
    *,
    is_proven: bool,
    accept_loss: bool,
) -> Knowledge:
    """Observe until each server that there should be is found or proven to be gone; UnrecognisedError.

    `prove` says how that is proven. `is_proven`: the token has seen all servers of the stack before.
    """
    expected = _expected(unseen)
    held = _held(unseen, expected, ports.clock.now())
    names = {known: server.name if server else known for known, server in expected.items() if known in held}

    def require_presence(absent: Collection[str]) -> None:
        missing = sorted((name for known, name in names.items() if known in absent), key=natural)
        check_missing(unseen.spec, missing, len(names), is_proven=is_proven, accept_loss=accept_loss)

    first = _look_first(unseen, claim, ports)
    if not is_proven:
        # What a token denies that has never seen the servers proves nothing, however long it does.
        require_presence(first.denied)
    if not claim.leave_others:
        check_unclaimed(unseen.spec, first.world.unclaimed, first.world.at)
    seen = prove(first, ports)
    require_presence(seen.gone)
    if not claim.leave_others:
        check_unclaimed(seen.spec, seen.world.unclaimed, seen.world.at)
    # A second observation compares with the first one, and no longer reports what the first found.
    drift = dict.fromkeys((*first.world.drift, *seen.world.drift))
    return replace(seen, world=replace(seen.world, drift=tuple(drift)))


def _look_first(unseen: Knowledge, claim: Claim, ports: Ports) -> Knowledge:
    """Observe for the first time, with the servers that the run is told to claim among its own."""
    listed = ports.cloud.list_owned(unseen.spec.owner)
    first = take_in(unseen, listed, ports)
    chosen = claim.chosen(first.world.unclaimed)
    if not chosen or unseen.identity is None:
        return first
    return take_in(replace(unseen, identity=unseen.identity.claiming(chosen)), listed, ports)


def _none_after(now: datetime, records: Mapping[str, Server], ports: Ports) -> tuple[dict[str, Server], bool]:
    """The records without times in the future, and whether there were any worth a notice."""
    notice = future_notice((server.since for server in records.values()), now)
    if notice:
        ports.progress.warn(notice)
    return none_after(records, now), notice is not None


def read_stack(knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Read what the engine saved last."""
    return replace(knowledge, stack=ports.stack.read())


def obey_others(knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Read the stack again, and take over what others asked of it since: orders, and marks of `scaler protect`."""
    before = knowledge.stack.orders
    knowledge = read_stack(knowledge, ports)
    shared, outputs = knowledge.stack.orders, knowledge.stack.outputs
    marked = [
        replace(server, protected=outputs[name].protected)
        for name, server in knowledge.world.servers.items()
        if name in outputs and outputs[name].id == server.id and outputs[name].protected is not server.protected
    ]
    for server in marked:
        knowledge = knowledge.amend(server)
    if shared is None or shared in (before, knowledge.orders):
        return replace(knowledge, is_overruled=knowledge.is_overruled or bool(marked))
    return replace(knowledge, orders=shared, is_overruled=True)


def observe_again(knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Observe again: one list call per page, and one request for each known machine that the list lacks."""
    return take_in(knowledge, ports.cloud.list_owned(knowledge.spec.owner), ports)


def observe_patiently(knowledge: Knowledge, ports: Ports, deadline: float) -> Knowledge:
    """Observe again, however often it takes until `deadline` (of `clock.monotonic`)."""
    while True:
        try:
            return observe_again(knowledge, ports)
        except PASSING as error:
            if ports.clock.monotonic() >= deadline:
                raise
            ports.progress.note(f"the cloud did not answer, asking again: {error}")
            ports.clock.sleep(min(_PAUSE_S, deadline - ports.clock.monotonic()))


def take_in(knowledge: Knowledge, machines: Sequence[Machine], ports: Ports) -> Knowledge:
    """Make a world of a list that was read just now; a machine that it lacks is asked for by its id."""
    spec = knowledge.spec
    recorded = _expected(knowledge).keys()
    knowledge, unlisted = _ask_for_missing(knowledge, machines, ports)
    claims = frozenset(knowledge.identity.claims if knowledge.identity else ())
    found = sort_out([*machines, *unlisted], recorded, knowledge.owner, claims)
    rebooting = {server.id for server in knowledge.records.values() if server.status is Status.REBOOTING}
    seen = [_with_lock(machine, ports) if machine.id in rebooting else machine for machine in found.ours]
    seen = with_deletions(knowledge, seen, ports)
    knowledge = note_failed(knowledge, seen, ports)
    findings = Findings(
        is_ready=lambda server: _is_ready(spec, server, ports),
        trouble=ports.readiness.trouble,
        probe=ports.readiness.probe,
        relabelled=found.relabelled,
        unclaimed=found.unclaimed,
        owner=knowledge.owner,
        deadlines=knowledge.deadlines,
        undeleted=frozenset(knowledge.undeleted),
    )
    world = assess(spec, seen, knowledge.stack, knowledge.records, ports.clock.now(), findings)
    servers = {
        name: _since_missing(knowledge, _priced(knowledge, server), ports) for name, server in world.servers.items()
    }
    return replace(
        knowledge,
        world=replace(world, servers=servers),
        records={**world.past, **servers},
        claimed=found.claimed,
    )


def _ask_for_missing(
    knowledge: Knowledge, machines: Sequence[Machine], ports: Ports
) -> tuple[Knowledge, list[Machine]]:
    """Ask for each known machine that a list lacks; those that are there, or not proven to be gone."""
    expected = _expected(knowledge)
    missed = sorted(expected.keys() - knowledge.gone - {machine.id for machine in machines})
    began = ports.clock.now()
    removed = _prove_gone([missing for missing in missed if is_meant(expected[missing], began)], ports)
    missed = [missing for missing in missed if missing not in removed]
    answers = dict(zip(missed, _find_all(missed, ports), strict=True))
    silent = [missing for missing, machine in answers.items() if machine is None]
    now, moment = ports.clock.now(), ports.clock.monotonic()
    young = {missing for missing in silent if is_accepted(expected[missing], now)}
    held = _held(knowledge, expected, now)
    denied = {
        missing: knowledge.denied.get(missing, moment - _missing_s(expected[missing], now))
        for missing in silent
        if missing in held - young
    }
    within_s = proof_s(len(denied), len(held))
    proven = {missing for missing, since in denied.items() if moment - since >= within_s}
    gone = proven | removed | {missing for missing in silent if missing not in held | young}
    entries = {entry.id: entry for entry in knowledge.stack.entries.values()}
    found = [
        machine or remembered(missing, expected[missing], entries.get(missing), knowledge.owner, now)
        for missing, machine in answers.items()
        if missing not in gone
    ]
    waiting = {missing: since for missing, since in denied.items() if missing not in proven}
    return replace(knowledge, gone=knowledge.gone | gone, denied=waiting), found


def _missing_s(record: Server | None, now: datetime) -> float:
    """Return for how many seconds a machine has been denied, by its record."""
    since = record.missing_since if record else None
    return max(0.0, (now - since).total_seconds()) if since else 0.0


def _since_missing(knowledge: Knowledge, server: Server, ports: Ports) -> Server:
    """Return the record with since when the machine is denied without proof; None for one that was seen."""
    denied = knowledge.denied.get(server.id or "")
    if denied is None:
        return replace(server, missing_since=None)
    if server.missing_since:
        return server
    passed = timedelta(seconds=ports.clock.monotonic() - denied)
    return replace(server, missing_since=(ports.clock.now() - passed).replace(microsecond=0))


def _expected(knowledge: Knowledge) -> dict[str, Server | None]:
    """Return the machines that records or the engine's state know of, by id, each with its record if it has one."""
    records = {server.id: server for server in knowledge.records.values() if server.id}
    live = {known: server for known, server in records.items() if not server.finished}
    return {**{entry.id: records.get(entry.id) for entry in knowledge.stack.entries.values()}, **live}


def _held(knowledge: Knowledge, expected: Mapping[str, Server | None], now: datetime) -> set[str]:
    """Return the machines that there should be, by id: what the stack holds, but for those whose absence was meant.

    Where the engine has saved nothing, what the records have. A record of this machine alone proves
    nothing beside a stack: another machine's run may have removed the server since (contract 7.4).
    """
    in_stack = {entry.id for entry in knowledge.stack.entries.values()}
    return {
        known_id
        for known_id, server in expected.items()
        if not is_meant(server, now) and (known_id in in_stack or not knowledge.stack.is_known)
    }


def _prove_gone(deleted: Sequence[str], ports: Ports) -> frozenset[str]:
    """Return those of the deleted machines whose end the cloud can tell in bulk: asking for each costs its budget."""
    prove_gone: Callable[[Collection[str]], frozenset[str]] | None = getattr(ports.cloud, "prove_gone", None)
    if prove_gone is None or not deleted:
        return frozenset()
    try:
        return prove_gone(deleted)
    except CloudError:  # each is asked for by its own address then
        return frozenset()


def _find_all(missing: Sequence[str], ports: Ports) -> list[Machine | None]:
    """Return each machine by its own address, side by side: after a large scale-down the list lacks hundreds."""
    if not missing:
        return []
    with ThreadPoolExecutor(max_workers=min(len(missing), _ASKED_AT_ONCE)) as pool:
        return list(pool.map(lambda each: _find(each, ports), missing))


def _find(missing: str, ports: Ports) -> Machine | None:
    """Return a machine by its own address; None if the cloud denies it."""
    try:
        return ports.cloud.get(missing)
    except GoneError:
        return None


def prove_absences(knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Look again until each machine that the cloud denies is there again, or is proven to be gone."""
    while knowledge.denied:
        recorded = len(_held(knowledge, _expected(knowledge), ports.clock.now()))
        until = min(knowledge.denied.values()) + proof_s(len(knowledge.denied), recorded)
        pause_s = max(until - ports.clock.monotonic(), _PAUSE_S)
        missing = f"{len(knowledge.denied)} of {recorded} servers are missing"
        if pause_s >= ports.limit.left:
            raise TimeUpError(
                f"{missing}, and the run has no time to find out whether they are gone.",
                why=f"a cloud's lists can lag: what they lack for {pause_s:.0f} s more is gone",
                fix=f"Run the same command again with more time than --timeout {ports.limit}.",
            )
        ports.progress.note(f"{missing}: looking again in {pause_s:.0f} s, since a cloud's lists can lag")
        ports.clock.sleep(pause_s)
        knowledge = observe_patiently(knowledge, ports, ports.clock.monotonic() + ports.limit.cut(MASS_PROOF_S))
    return knowledge


def _leave_open(knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Wait for nothing: what is missing counts as it was recorded, until a later observation has the proof."""
    if knowledge.denied:
        recorded = len(_held(knowledge, _expected(knowledge), ports.clock.now()))
        ports.progress.note(f"{len(knowledge.denied)} of {recorded} servers are missing: a later tick decides")
    return knowledge


def _with_lock(machine: Machine, ports: Ports) -> Machine:
    """Return the machine, locked while a reboot goes on that only its actions show, as at DigitalOcean."""
    is_busy: Callable[[str], bool] | None = getattr(ports.cloud, "is_busy", None)
    if is_busy is None or machine.locked or machine.phase is not Phase.RUNNING:
        return machine
    try:
        return replace(machine, locked=is_busy(machine.id))
    except GoneError:
        return machine


def _is_ready(spec: Spec, server: Server, ports: Ports) -> bool:
    group = spec.groups.get(server.group)
    return group is None or ports.readiness.is_ready(group.ready, server)


def _priced(knowledge: Knowledge, server: Server) -> Server:
    catalogue = knowledge.catalogue
    if catalogue is None or (catalogue.keeps_prices and _has_its_price(knowledge, server, catalogue.currency)):
        return server
    return replace(server, price=price_of(catalogue, existing(server)) or server.price)


def _has_its_price(knowledge: Knowledge, server: Server, currency: str) -> bool:
    """Return whether the price in a server's record is still the right one; one of another type has none there."""
    known = knowledge.records.get(server.name)
    is_same = known is not None and (known.id, known.ipv4 is None) == (server.id, server.ipv4 is None)
    return is_same and server.price is not None and server.price.currency == currency


def learn_prices(knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Read the prices, if a server's is not known; if they cannot be read, go on without them."""
    if all(server.price for server in knowledge.world.servers.values()):
        return knowledge
    try:
        learned = replace(knowledge, catalogue=ports.cloud.catalogue())
    except CloudError as error:
        ports.progress.note(f"the prices cannot be read: {error}")
        return knowledge
    for server in knowledge.world.servers.values():
        learned = learned.amend(_priced(learned, server))
    return learned
