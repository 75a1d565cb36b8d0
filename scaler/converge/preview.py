"""Before anything is changed: the engine's own preview must agree with the plan, and the policies with both."""

from __future__ import annotations

from scaler.converge.change import change_of
from scaler.converge.run import Run
from scaler.errors import EngineError, RefusedError
from scaler.model import Action, Plan, Preview, Step


class Judge:
    """What says no to a plan, besides the guards."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def cross_check(self, made: Plan) -> None:
        """The engine's own preview must show the plan's operations, and no others."""
        if not made.phases:
            return
        self._run.progress.phase("previewing")
        change = change_of(self._run, made.phases[-1], made.steps)
        preview = self._run.around.stack.preview(change, self._run.packs)
        if self._is_refused(made, preview):
            return
        shown = preview.operations
        declared = set(made.phases[-1].declared)
        # Reversed: what is adopted first and changed later is new to the engine.
        planned = {
            step.server: _ENGINE_WORDS[step.action]
            for step in reversed(made.steps)
            if step.action in _ENGINE_WORDS
            and (step.server in declared) != (step.action is Action.DELETE)
            and (step.action is not Action.DELETE or step.server in self._run.world.entries)
        }
        if dict(shown) != planned:
            odd = {
                name: f"{planned.get(name)} planned, {shown.get(name)} shown" for name in shown.keys() ^ planned.keys()
            }
            raise EngineError(
                "The engine would do something else than the plan says; nothing was changed.",
                why="; ".join(f"{name}: {text}" for name, text in sorted(odd.items())) or f"{shown} for {planned}",
                fix="Run `scaler refresh`, and try again.",
            )

    def _is_refused(self, made: Plan, preview: Preview) -> bool:
        """Note what the policies say of a plan; whether one of them forbids it."""
        self._run.violations = preview.violations
        self._run.judged |= set(map(_deed, made.steps))
        for violation in preview.violations if self._run.options.apply else ():
            if not violation.forbids:
                self._run.progress.warn(f"policy: {violation}")
        return any(violation.forbids for violation in preview.violations)

    def judge_again(self) -> None:
        """A plan made on the way, such as for another location, must pass the policies as the first one did."""
        if not self._run.packs or set(map(_deed, self._run.plan.steps)) <= self._run.judged:
            return
        self.cross_check(self._run.plan)
        if forbidding := [violation for violation in self._run.violations if violation.forbids]:
            raise RefusedError(
                f"A policy refuses what {self._run.spec.stack} needs now.",
                why="; ".join(map(str, forbidding)),
                fix="Change the spec or the policy.",
                code="policy",
            )


def _deed(step: Step) -> tuple[Action, str, str | None, str | None]:
    """What policies judge of a step."""
    return step.action, step.server, step.type, step.location


_ENGINE_WORDS = {
    Action.CREATE: "create",
    Action.ADOPT: "create",
    Action.UPDATE: "update",
    Action.DELETE: "delete",
}
"""A step's action as the engine's preview names it."""
