"""What a run must not do, whatever it is asked for. Pure; checked before the first changing request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from scaler.errors import LimitError, RefusedError
from scaler.model import LEAVING, PLACED_TOGETHER, Action, Cost, Group, Plan, Server, Spec, World
from scaler.model.ownership import GROUP
from scaler.planning.names import in_order
from scaler.planning.protection import Protection, is_protected_at_cloud, is_protected_in_stack, protection_of
from scaler.support.values import dataclass

Change = tuple[Action, str]
"""An action, and the server that it is done to."""


@dataclass(frozen=True)
class Quota:
    """How many machines the account lets this stack hold, and how that is known."""

    most: int
    why: str
    fix: str


def check_wanted(spec: Spec, wanted: Mapping[str, int], have: Mapping[str, int] | None = None) -> None:
    """Refuse counts outside a group's bounds or above the stack's limit.

    With `have`, the present counts, a count passes that is not farther outside than the present one:
    a stack that has too many servers can always be made smaller.
    """
    for name, count in wanted.items():
        _check_bounds(spec, spec.groups[name], count, None if have is None else have[name])
    _check_placement_groups(spec, wanted, have)
    total = sum(wanted.values())
    if spec.limit is not None and total > spec.limit and (have is None or total > sum(have.values())):
        raise LimitError(
            f"{spec.stack} is asked to have {total} servers, {total - spec.limit} above its limit of {spec.limit}.",
            why=f"limit is {spec.limit} in {spec.path}",
            fix=f"Raise limit, or ask for at most {spec.limit}.",
            code="above_limit",
        )


def overfull(spec: Spec, wanted: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the placement groups that are to have more servers than fit, each with the groups that name it."""
    members: dict[str, list[str]] = {}
    for name in wanted:
        if placement_group := spec.groups[name].placement_group:
            members.setdefault(placement_group, []).append(name)
    return {
        name: groups
        for name, groups in sorted(members.items())
        if sum(wanted[each] for each in groups) > PLACED_TOGETHER
    }


def _check_placement_groups(spec: Spec, wanted: Mapping[str, int], have: Mapping[str, int] | None) -> None:
    """Refuse more servers in one placement group than fit: the cloud would refuse the eleventh, with ten created."""
    for name, members in overfull(spec, wanted).items():
        total = sum(wanted[member] for member in members)
        if have is None or total > sum(have[member] for member in members):
            raise LimitError(
                f"{', '.join(members)}: {total} servers are too many for the placement group {name}.",
                why=f"a placement group at Hetzner Cloud has at most {PLACED_TOGETHER} servers",
                fix="Ask for fewer, or make another group with a placement group of its own.",
                code="placement_group_full",
            )


def _check_bounds(spec: Spec, group: Group, count: int, have: int | None) -> None:
    if group.max is not None and count > group.max and (have is None or count > have):
        raise LimitError(
            f"{group.name} is asked to have {count} servers, more than its max of {group.max}.",
            why=f"groups.{group.name}.max is {group.max} in {spec.path}",
            fix=f"Raise max, or ask for at most {group.max}.",
            code="above_max",
        )
    if count < group.min and (have is None or count < have):
        raise LimitError(
            f"{group.name} is asked to have {count} servers, fewer than its min of {group.min}.",
            why=f"groups.{group.name}.min is {group.min} in {spec.path}",
            fix=f"Lower min, or ask for at least {group.min}. `scaler destroy` removes everything.",
            code="below_min",
        )


def check_unprotected(spec: Spec, world: World, server: Server) -> None:
    """Refuse to remove or replace a protected server, even if it was named."""
    if protection := protection_of(spec, world, server):
        raise RefusedError(f"{server.name} is protected.", why=protection.why, fix=protection.fix, code="protected")


def check_replaceable(spec: Spec, server: Server) -> None:
    """Refuse to replace a server of a group that the spec no longer has: nothing would come in its place."""
    if server.group not in spec.groups:
        raise RefusedError(
            f"{server.name} cannot be replaced: the spec has no group {server.group} any more.",
            why="nothing says how a server of that group is made",
            fix=f"Put groups.{server.group} back into {spec.path}, or remove it with `scaler stop {server.name}`.",
            code="removed_group",
        )


def check_not_set_aside(world: World, server: Server) -> None:
    """Refuse to change a server whose group label somebody changed at the cloud."""
    if server.set_aside:
        label = world.machines[server.name].labels.get(GROUP, "")
        fix = f"Give it the label {GROUP}={server.group} again" if server.group else f"Give it the label {GROUP}"
        why = f"its group label was changed at the cloud to {label!r}"
        if label and label == server.group:
            fix, why = f"Give it the label {GROUP} of a group", f"the spec has no group {label!r}, as its label says"
        raise RefusedError(
            f"{server.name} is set aside and left alone.",
            why=why,
            fix=f"{fix}, or delete it in the cloud's console.",
            code="set_aside",
        )


def check_deletable(world: World) -> None:
    """Refuse to destroy a stack while servers are set aside, or the cloud or the engine refuses to delete some."""
    for server in in_order(world.servers.values()):
        check_not_set_aside(world, server)
    if protected := [
        server.name for server in in_order(world.servers.values()) if is_protected_at_cloud(world, server.name)
    ]:
        raise RefusedError(
            f"{', '.join(protected)}: delete protection is on at the cloud.",
            why="the cloud refuses to delete them, and nobody but their owner may turn that off",
            fix="Turn their delete protection off in the cloud's console, and run this again.",
            code="protected",
        )
    if protected := [
        server.name for server in in_order(world.servers.values()) if is_protected_in_stack(world, server.name)
    ]:
        raise RefusedError(
            f"{', '.join(protected)}: protected in the stack.",
            why="somebody ran `pulumi state protect`, and the engine refuses to delete them",
            fix=f"Run `pulumi state unprotect --all --stack {world.owner.stack}`, and run this again.",
            code="protected",
        )


def check_expectation(world: World, plan: Plan, expected: int | None) -> None:
    """Refuse if the whole stack's supply is not what the caller expects (`--expect-current`)."""
    have = sum(server.counts for server in world.servers.values())
    if expected is not None and have != expected:
        raise RefusedError(
            f"{plan.stack} has {have} servers, not the expected {expected}.",
            why=f"--expect-current {expected}",
            fix="Look at `scaler status --refresh`, and ask again.",
            code="unexpected_count",
        )


def check_plan(
    spec: Spec, world: World, plan: Plan, *, ignore_protection: bool = False, left_alone: Collection[str] = ()
) -> None:
    """Refuse a plan that exceeds the limit or cannot reach the wanted count without protected servers.

    Servers that are `left_alone` are no reason to refuse: their drain failed, or the run is not about them.
    """
    total = plan.machines_after(world)
    if plan.count(Action.CREATE) and spec.limit is not None and total > spec.limit:
        raise LimitError(
            f"{plan.stack} would hold {total} servers, {total - spec.limit} above its limit of {spec.limit}.",
            why=f"limit is {spec.limit} in {spec.path}; servers that are set aside count, and those that"
            " are being deleted until they are gone",
            fix="Raise limit, or ask for fewer.",
            code="above_limit",
        )
    if not ignore_protection:
        check_protection(spec, world, plan, left_alone)


def check_protection(spec: Spec, world: World, plan: Plan, left_alone: Collection[str] = ()) -> None:
    """Refuse a plan that cannot reach the wanted count without protected servers."""
    aside = plan.later.union(left_alone)
    have = Counter(server.group for server in world.servers.values() if server.counts and server.name not in aside)
    for name in sorted({*plan.wanted, *have}):
        _check_protection(spec, world, plan, name, have[name])


def _check_protection(spec: Spec, world: World, plan: Plan, group: str, have: int) -> None:
    """Refuse if a group, also one that the spec no longer has, can only lose servers that are protected."""
    wanted = plan.wanted.get(group, 0)
    leaving = [step.server for step in plan.steps if step.group == group and step.action in LEAVING]
    if have - wanted > sum(world.servers[name].counts for name in leaving):
        protected = _protected_of(spec, world, group)
        if group not in spec.groups:
            raise _protected_of_removed(spec, plan, group, protected)
        raise RefusedError(
            f"{group} cannot go down to {wanted}: protected servers are in the way.",
            why="; ".join(f"{name}: {protection.why}" for name, protection in protected.items()),
            fix=" ".join(dict.fromkeys(protection.fix for protection in protected.values())) + " Or ask for more.",
            code="protected",
        )


def _protected_of(spec: Spec, world: World, group: str) -> dict[str, Protection]:
    """Return the servers of a group that count and may not be removed, each with what protects it."""
    members = [server for server in in_order(world.servers.values()) if server.group == group and server.counts]
    return {server.name: found for server in members if (found := protection_of(spec, world, server))}


def _protected_of_removed(spec: Spec, plan: Plan, group: str, protected: Mapping[str, Protection]) -> RefusedError:
    """Return the refusal to remove protected servers of a group that the spec no longer has."""
    renamed = f" ({plan.renamed[group]} looks like its new name)" if group in plan.renamed else ""
    return RefusedError(
        f"{', '.join(protected)} cannot be removed: protected, of {group}, which the spec no longer has{renamed}.",
        why="; ".join(f"{name}: {protection.why}" for name, protection in protected.items()),
        fix=f"Put groups.{group} back into {spec.path}. Or: "
        + " ".join(dict.fromkeys(protection.fix for protection in protected.values())),
        code="protected",
    )


def check_zero(world: World, plan: Plan, *, allowed: bool) -> None:
    """Refuse to remove the last servers of a whole stack, unless `allowed` says that it is intended.

    Servers of groups that the spec no longer has count too.
    """
    have = sum(server.counts for server in world.servers.values())
    if not allowed and have and not sum(plan.wanted.values()) and world.machines:
        raise RefusedError(
            f"{plan.stack} would lose all its servers: {have} now, 0 wanted.",
            why="the run asks for no confirmation here, and a count can be 0 by mistake",
            fix="If you intend that, add --allow-zero to `scaler ensure`; `scaler destroy` removes everything.",
            code="to_zero",
        )


def check_change(plan: Plan, most: int | None, done: Collection[Change] = ()) -> None:
    """Refuse more creates and deletes together than `--max-change` allows; those that were done count."""
    if most is None:
        return
    changes = {(step.action, step.server) for step in plan.steps} | set(done)
    creates = sum(1 for action, _ in changes if action is Action.CREATE)
    deletes = len({server for action, server in changes if action in LEAVING})
    if creates + deletes > most:
        raise RefusedError(
            f"{plan.stack} would change by {creates + deletes} servers, {creates + deletes - most} too many:"
            f" --max-change is {most}.",
            why=f"{creates} to create, {deletes} to delete or power off",
            fix="Look at `scaler preview`, then ask for less, or raise --max-change.",
            code="max_change",
        )


def check_quota(world: World, plan: Plan, quota: Quota | None) -> None:
    """Refuse a plan that creates servers beyond what the account may have."""
    total = plan.machines_after(world)
    if quota and plan.count(Action.CREATE) and total > quota.most:
        raise LimitError(
            f"{plan.stack} would hold {total} servers, {total - quota.most} too many: the account allows {quota.most}.",
            why=quota.why,
            fix=quota.fix,
            code="quota",
        )


def without_addresses(spec: Spec, plan: Plan, left: int) -> frozenset[str]:
    """Return the groups whose new servers would take more public addresses than are left.

    Groups whose servers take few of them are served first.
    """
    each = {step.server: spec.groups[step.group].addresses for step in plan.steps if step.group in spec.groups}
    left += sum(each.get(step.server, 0) for step in plan.steps if step.action is Action.DELETE)
    needed: Counter[str] = Counter()
    for step in plan.steps:
        if step.action is Action.CREATE:
            needed[step.group] += each[step.server]
    refused = set()
    for name, addresses in sorted(needed.items(), key=lambda item: (spec.groups[item[0]].addresses, item[0])):
        if addresses > left and addresses > 0:
            refused.add(name)
        else:
            left -= addresses
    return frozenset(refused)


def check_budget(spec: Spec, plan: Plan, cost: Cost | None, unpriced: Sequence[str] = ()) -> None:
    """Refuse a plan that creates servers and costs more than the budget; one that costs less than before passes.

    `unpriced`: the types of servers after the plan whose price is not known. No sum with them can be compared.
    """
    if spec.budget is None or cost is None or not plan.count(Action.CREATE):
        return
    if unpriced:
        raise LimitError(
            f"What {plan.stack} would cost is not known, so it cannot be held against its budget.",
            why=f"the cloud's price list has no price for {', '.join(unpriced)}, and no record of these servers"
            f" has one; budget.per_month in {spec.path}",
            fix="Name other types and replace servers of these with `scaler replace`, or remove the budget.",
            code="price_unknown",
        )
    budget, sum_after = float(spec.budget), cost.per_month_after
    if sum_after > budget and sum_after > cost.per_month_before:
        raise LimitError(
            f"{plan.stack} would cost {cost.currency} {sum_after:.2f} a month,"
            f" {cost.currency} {sum_after - budget:.2f} above its budget of {cost.currency} {budget:.2f}.",
            why=f"budget.per_month in {spec.path}; list prices, net, of a whole month;"
            f" {cost.currency} {cost.per_month_before:.2f} now",
            fix="Raise the budget, ask for fewer, or name cheaper types.",
            code="above_budget",
        )


def shrinking_alone(plan: Plan) -> frozenset[str]:
    """Return the groups that only lose servers: a failure to create servers of other groups does not stop them."""
    growing = {step.group for step in plan.steps if step.action is Action.CREATE} | set(plan.short)
    return frozenset(step.group for step in plan.steps if step.action in LEAVING) - growing
