"""The nouns: what is wanted, what exists, what to do about it, and what came of it. Frozen values, no I/O."""

from __future__ import annotations

from scaler.model.autoscaling import Policy
from scaler.model.change import Applied, Change, Declaration, Declared, Permits, Preview, Violation
from scaler.model.drain import Drain, DrainFinding, DrainStage, DrainState
from scaler.model.health import CheckReport, Health, Held, Replacement
from scaler.model.lifecycle import IN_SERVICE, SUPPLY, Phase, Status, check_transition
from scaler.model.machine import Machine, MachineRequest, Placement
from scaler.model.ownership import Owner
from scaler.model.plan import LEAVING, Action, Plan, PlanPhase, Step
from scaler.model.prices import Cost, Price
from scaler.model.result import GroupReport, Outcome, RateWait, Requests, Result, StepReport, StepResult
from scaler.model.server import Server
from scaler.model.spec import (
    PLACED_TOGETHER,
    CheckResult,
    Extension,
    Group,
    HealthPolicy,
    ImageRef,
    NotifyTarget,
    PolicyPack,
    Readiness,
    Spec,
    StopPolicy,
)
from scaler.model.world import StackEntry, StackState, World

__all__ = [
    "IN_SERVICE",
    "LEAVING",
    "PLACED_TOGETHER",
    "SUPPLY",
    "Action",
    "Applied",
    "Change",
    "CheckReport",
    "CheckResult",
    "Cost",
    "Declaration",
    "Declared",
    "Drain",
    "DrainFinding",
    "DrainStage",
    "DrainState",
    "Extension",
    "Group",
    "GroupReport",
    "Health",
    "HealthPolicy",
    "Held",
    "ImageRef",
    "Machine",
    "MachineRequest",
    "NotifyTarget",
    "Outcome",
    "Owner",
    "Permits",
    "Phase",
    "Placement",
    "Plan",
    "PlanPhase",
    "Policy",
    "PolicyPack",
    "Preview",
    "Price",
    "RateWait",
    "Readiness",
    "Replacement",
    "Requests",
    "Result",
    "Server",
    "Spec",
    "StackEntry",
    "StackState",
    "Status",
    "Step",
    "StepReport",
    "StepResult",
    "StopPolicy",
    "Violation",
    "World",
    "check_transition",
]
