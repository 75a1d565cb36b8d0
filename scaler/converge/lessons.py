"""Lessons: what refusals mean for the next plan. Pure."""

from __future__ import annotations

from dataclasses import replace

from scaler.clouds import (
    PASSING,
    AddressQuotaError,
    BusyError,
    CloudError,
    InvalidError,
    NameTakenError,
    NoCapacityError,
    QuotaError,
)
from scaler.converge.done import Done
from scaler.converge.journal import Journal
from scaler.converge.knowledge import Knowledge
from scaler.converge.rolls import fail_waves
from scaler.model import Action, Placement, Plan, StepResult

POWER_ON_TRIES = 3
"""How many rounds may try again to power on a server after passing troubles."""


def learn(done: Done, plan: Plan, journal: Journal) -> Knowledge:
    """Return what is known after a phase, with the lessons of its refusals; `journal` has the phase in it."""
    adopted = (report for report in done.reports if report.step.action is Action.ADOPT)
    names_taken = frozenset(name for name, error in done.refusals.items() if isinstance(error, NameTakenError))
    known = replace(done.knowledge, are_names_read=done.knowledge.are_names_read and not names_taken)
    learned = known.advise(
        adopted=frozenset(report.step.server for report in adopted if report.result is StepResult.DONE),
        taken=names_taken,
        not_resumed=frozenset(done.resume_refusals),
        power_on_failed=power_on_failed(done, journal),
    )
    learned = learned.pass_over(full_placements(done))
    if no_addresses := address_refusal(done):
        learned = learned.withhold(no_addresses, _needing(addresses_refused(done), learned))
    learned = fail_waves(learned, refused_waves(done, plan))
    refused = quota_refusal(done)
    return learned if refused is None else _meet_quota(learned, plan, refused)


def refused_waves(done: Done, plan: Plan) -> dict[str, Exception]:
    """Return the groups of whose roll the cloud refused a server for good, such as one of a deleted image, and why."""
    return {
        group: error
        for group, names in plan.rolled.items()
        for name in names
        if isinstance(error := done.refusals.get(name), InvalidError)
    }


def full_placements(done: Done) -> dict[Placement, CloudError | str]:
    """Return the placements that the cloud has no capacity at, and its words."""
    return {
        done.placements[name]: error
        for name, error in sorted(done.refusals.items(), key=lambda item: done.placements[item[0]])
        if isinstance(error, NoCapacityError)
    }


def quota_refusal(done: Done) -> QuotaError | None:
    """Return the account's refusal to create more, unless something else ends the run anyway."""
    refused = [error for error in _quota_refusals(done) if not isinstance(error, AddressQuotaError)]
    return refused[0] if refused else None


def address_refusal(done: Done) -> AddressQuotaError | None:
    """Return the account's refusal of more public addresses, unless something else ends the run anyway."""
    return next((error for error in _quota_refusals(done) if isinstance(error, AddressQuotaError)), None)


def addresses_refused(done: Done) -> int:
    """Return how many public addresses the refused servers take each, at least."""
    groups = done.knowledge.spec.groups
    refused = [
        groups[report.step.group].addresses
        for report in done.reports
        if isinstance(done.refusals.get(report.step.server), AddressQuotaError)
    ]
    return min(refused, default=1)


def addresses_held(knowledge: Knowledge) -> int:
    """Return how many public addresses this stack's machines take, by the records and the spec."""
    groups = knowledge.spec.groups
    held = (server for server in knowledge.records.values() if server.id and not server.finished)
    return sum(groups[server.group].addresses if server.group in groups else 0 for server in held)


def _needing(addresses: int, knowledge: Knowledge) -> frozenset[str]:
    """Return the groups whose servers take so many addresses each, or more."""
    return frozenset(name for name, group in knowledge.spec.groups.items() if group.addresses >= addresses)


def _quota_refusals(done: Done) -> list[QuotaError]:
    if any(is_lasting(error) for error in done.refusals.values()):
        return []
    return [error for error in done.refusals.values() if isinstance(error, QuotaError)]


def is_lasting(error: Exception) -> bool:
    """Return whether asking again, elsewhere or under another name, would be no use, and nothing else can go on."""
    return not isinstance(error, (NoCapacityError, QuotaError, NameTakenError, BusyError, *PASSING))


def passing_power_on(done: Done) -> frozenset[str]:
    """Return the servers whose power-on failed by a passing trouble."""
    return frozenset(name for name, error in done.power_on_refusals.items() if isinstance(error, (BusyError, *PASSING)))


def power_on_failed(done: Done, journal: Journal) -> frozenset[str]:
    """Return the servers that are not powered on again: refused for good, or for a passing trouble too often."""
    may_try_again = journal.count("power_on") <= POWER_ON_TRIES
    again = passing_power_on(done) if may_try_again else frozenset()
    return frozenset(done.power_on_refusals) - again


def machines_held(knowledge: Knowledge) -> int:
    """Return how many machines of this stack the account holds, by the records."""
    return sum(1 for server in knowledge.records.values() if server.id and not server.finished)


def _meet_quota(knowledge: Knowledge, plan: Plan, error: QuotaError) -> Knowledge:
    """Learn that the account allows no more: what is only paid for makes room first; else create nothing more."""
    there = machines_held(knowledge)
    if plan.paid_until and knowledge.advice.most != there:
        return knowledge.advise(most=there)
    return knowledge.withhold(error, knowledge.spec.groups)
