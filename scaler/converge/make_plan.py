"""Making a plan that can be carried out: what must be looked up for it, and what must not be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from scaler.clouds import Catalogue, CloudError, InvalidError, NoCapacityError
from scaler.converge.observe import PASSING
from scaler.converge.references import current_image, find_parts
from scaler.converge.report import cost_of, servers_after
from scaler.converge.run import Run, tell_place
from scaler.errors import LimitError
from scaler.model import LEAVING, Action, Group, Plan, Spec, Step, StepResult
from scaler.planning.guards import (
    Quota,
    check_budget,
    check_change,
    check_expectation,
    check_plan,
    check_quota,
    check_zero,
    shrinking_alone,
)
from scaler.planning.placements import placements
from scaler.planning.plan import plan
from scaler.records.shortages import QUOTA_FOR


class Planner:
    """Plans for one run, and learns from the cloud what a plan needs to know."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def plan(self) -> Plan:
        """A plan that creates servers only where they can be had, and no more than the account allows."""
        spec = _holding_nothing(self._run.spec) if self._run.options.everything else self._run.spec
        made = plan(spec, self._run.world, self._run.wanted, self._run.advice)
        while self._learns(made):
            made = plan(spec, self._run.world, self._run.wanted, self._run.advice)
        for name in made.short:
            self._require_fit(spec.groups[name])
        if made.phases and (self._run.options.approve or not self._run.options.apply):
            self._read_prices()
        return replace(made, cost=cost_of(self._run, self._run.world.servers.values(), servers_after(self._run, made)))

    def _learns(self, made: Plan) -> bool:
        """Look up what a plan needs to know; whether that calls for another plan."""
        return self._learns_images(made) or self._learns_placements(made)

    def _learns_images(self, made: Plan) -> bool:
        """Outdated servers go first: where only some of a group go, its image must be known."""
        choosing = {
            step.group
            for step in made.steps
            if step.action in LEAVING
            and self._run.world.servers[step.server].counts
            and self._run.wanted.get(step.group)
        } - self._run.advice.images.keys()
        if not choosing:
            return False
        found = {name: self._image_names(self._run.spec.groups[name]) for name in choosing}
        self._run.advice = replace(self._run.advice, images={**self._run.advice.images, **found})
        return True

    def _image_names(self, group: Group) -> frozenset[str]:
        """What a group's image goes by; nothing if the cloud cannot tell, for a count must go down all the same."""
        try:
            image = current_image(group, self._run.around.cloud, self._sold())
        except (InvalidError, *PASSING) as error:
            self._run.progress.note(f"which servers of {group.name} are outdated is not known: {error}")
            return frozenset()
        return frozenset({image.id, image.name})

    def _learns_placements(self, made: Plan) -> bool:
        creates = [step for step in made.steps if step.action is Action.CREATE]
        if not creates:
            return False
        before = self._run.advice
        self._look_up(creates)
        if self._run.advice == before:
            self._heed_quota(made)
        return self._run.advice != before

    def _look_up(self, creates: Sequence[Step]) -> None:
        """What the names in the spec mean, for every placement that servers are to be created at."""
        catalogue = self._sold()
        found = find_parts(
            self._run.spec, creates, self._run.around.cloud, catalogue, self._run.templates, self._run.clock.now()
        )
        for _, kind, location in found.templates.by_placement.keys() - self._run.templates.by_placement.keys():
            offer = catalogue.offer(kind, location)
            if offer and offer.deprecated_after:
                self._run.progress.warn(
                    f"{kind} can be ordered in {location} until {offer.deprecated_after:%Y-%m-%d} only"
                )
        self._run.templates = found.templates
        for place, full in found.unavailable.items():
            self._run.pass_over(place, full)
        for (group, place), unfit in found.unfit.items():
            self._run.passed_over[group, place] = unfit
            self._run.progress.note(f"{group} passes over {tell_place(place)}: {unfit}")
        self._run.advice = replace(self._run.advice, unfit=self._run.advice.unfit | found.unfit.keys())

    def _sold(self) -> Catalogue:
        """The cloud's catalogue, read once; what had no capacity a moment ago is not tried again."""
        if self._run.observer.catalogue is None:
            self._run.observer.catalogue = self._run.around.cloud.catalogue()
            for place, at in self._run.around.shortages.full(self._run.clock.now()).items():
                self._run.pass_over(place, f"there was none at {at:%H:%M} UTC")
        return self._run.observer.catalogue

    def _read_prices(self) -> None:
        """For whoever looks at the plan; it can be carried out without them."""
        try:
            self._sold()
        except CloudError as error:
            self._run.progress.note(f"the prices cannot be read: {error}")

    def _heed_quota(self, made: Plan) -> None:
        """Refuse what the account does not allow; what other groups only lose goes on without it."""
        if self._quota is None:
            return
        if self._run.advice.most != self._quota.most:
            # Another plan may fit: what is only paid for makes room.
            self._run.advice = replace(self._run.advice, most=self._quota.most)
            return
        try:
            check_quota(self._run.world, made, self._quota)
        except LimitError as error:
            if not self._run.steps and not shrinking_alone(made):
                raise
            self._run.failures.append(error)
            self._run.advice = replace(self._run.advice, withheld=True)

    @cached_property
    def _quota(self) -> Quota | None:
        """What the account lets this stack have: as the cloud tells, or as it was found out within the hour."""
        learned = self._run.around.shortages.quota(self._run.clock.now())
        if learned:
            most, at = learned
            return Quota(
                most,
                why=f"it refused more at {at:%H:%M} UTC, and is not asked again before {at + QUOTA_FOR:%H:%M}",
                fix=f"Have the account's limit raised and remove {self._run.around.shortages.name}, or ask for fewer.",
            )
        try:
            limits = self._run.around.cloud.limits()
        except CloudError as error:
            self._run.progress.note(f"the account's limit cannot be read: {error}")
            return None
        if limits.servers is None:
            return None
        others = max(0, (limits.in_use or 0) - len(self._run.world.machines))
        return Quota(
            limits.servers - others,
            why=f"the account's limit is {limits.servers}, and {others} of its servers are not of this stack",
            fix="Have the account's limit raised, or ask for fewer.",
        )

    def _require_fit(self, group: Group) -> None:
        """InvalidError if there is no placement at which servers of the group can be."""
        errors = [self._run.passed_over.get((group.name, place)) for place in placements(group)]
        invalid = {str(error): error for error in errors if isinstance(error, InvalidError)}
        if len(invalid) == 1 and all(isinstance(error, InvalidError) for error in errors):
            raise next(iter(invalid.values()))
        if all(isinstance(error, InvalidError) for error in errors):
            raise InvalidError(
                f"There is no type and location at which servers of {group.name} can be.",
                why="; ".join(invalid),
                fix=f"Change groups.{group.name}.type, location or image in {self._run.spec.path}.",
            )

    def note_shortages(self) -> None:
        """What is missing because there was no capacity is a failure of the run, whatever else was done."""
        if not self._run.advice.withheld:
            self._run.failures += [self.shortage(name, count) for name, count in self._run.plan.short.items()]

    def shortage(self, name: str, count: int) -> NoCapacityError:
        """The error for servers that there is no capacity for."""
        tried = (
            f"{tell_place(place)}: {self._run.passed_over.get((name, place), 'not tried')}"
            for place in placements(self._run.spec.groups[name])
        )
        return NoCapacityError(
            f"There is no capacity for {count} more of {name}.",
            why="; ".join(tried),
            fix=f"Name more types or locations in groups.{name}, or try again in a few minutes.",
        )

    def check(self) -> None:
        """All guards, before anything is changed."""
        everything = self._run.options.everything
        check_plan(self._run.spec, self._run.world, self._run.plan, ignore_protection=everything)
        check_expectation(self._run.plan, self._run.options.expect_current)
        if self._run.demand.counts is not None and not everything:
            check_zero(self._run.world, self._run.plan, allowed=self._run.options.allow_zero)
        self.check_sums()

    def check_sums(self) -> None:
        """The guards that hold for all rounds of the run together."""
        done = {
            (report.step.action, report.step.server) for report in self._run.steps if report.result is StepResult.DONE
        }
        check_change(self._run.plan, self._run.options.max_change, done)
        check_budget(self._run.spec, self._run.plan, self._run.plan.cost)


def _holding_nothing(spec: Spec) -> Spec:
    """The spec of a stack that is to be destroyed: no server stays, protected or paid for."""
    groups = {name: replace(group, protect=frozenset(), keep_paid=False) for name, group in spec.groups.items()}
    return replace(spec, groups=groups)
