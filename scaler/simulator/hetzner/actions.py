"""Actions: what takes a while, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scaler.simulator.bodies import digits
from scaler.simulator.call import ApiError, Call, Handler, Reply
from scaler.simulator.hetzner.replies import filter_values, get, in_order, missing, page, shapes
from scaler.simulator.hetzner.shapes import Json
from scaler.simulator.profiles import Knobs
from scaler.simulator.things import FOREVER, Thing

_MAY_FAIL = frozenset({"start_server", "stop_server", "reboot_server", "reset_server"})


def act(
    call: Call,
    command: str,
    seconds: float,
    *,
    server: Thing | None = None,
    others: Sequence[Json] = (),
) -> Thing:
    """An action that takes `seconds`, or longer by a fault; the fault `action_error` makes it fail in the end."""
    resources = [{"id": server.id, "type": "server"}] if server else []
    fault = call.effect("action_error")
    error = None
    if fault is not None and fault.get("command", command) == command:
        error = {"code": fault.get("code", "action_failed"), "message": fault.get("message", "Action failed")}
    elif call.world.chance(_failing(call.knobs, command)):
        error = {"code": "action_failed", "message": "Action failed"}
    body = {"finishes": call.now + call.takes(seconds), "resources": [*resources, *others], "error": error}
    return call.world.add("hetzner", "action", command, body, parent=server.id if server else None)


def succeeds(action: Thing) -> bool:
    """Whether an action ends, and well: one that fails, or is stuck, changes nothing."""
    return not action.body["error"] and action.body["finishes"] != FOREVER


def settle(call: Call, action: Thing, *changed: Thing) -> Thing:
    """Save what an action changes, if it comes about."""
    if succeeds(action):
        for thing in changed:
            call.world.save(thing)
    return action


def _failing(knobs: Knobs, command: str) -> float:
    """The share of actions of a kind that fail. A deletion is not among them: what is deleted is gone at once."""
    if command == "create_server":
        return knobs.failing_creates
    return knobs.failing_actions if command in _MAY_FAIL else 0.0


def visible(call: Call, actions: Iterable[Thing]) -> list[Thing]:
    """The actions that can be found by now (`action_lag_s`)."""
    return [action for action in actions if action.created + call.knobs.action_lag_s <= call.now]


def list_actions(call: Call) -> Reply:
    """Actions by their ids: Hetzner lists no others any more."""
    ids = call.query.getlist("id")
    if not ids:
        details = {"announcement": "https://docs.hetzner.cloud/changelog#2025-01-30-listing-all-actions-removed"}
        raise ApiError(410, "deprecated_api_endpoint", "listing all actions is not supported", details)
    wanted = [number for text in ids if (number := digits(text)) is not None]
    found = [action for number in wanted if (action := call.world.get("hetzner", "action", number))]
    reply = _page(call, found)
    # Alone of all lists, the one of all kinds' actions has no pages: it is never longer than the question.
    return Reply({"actions": reply.body["actions"]}) if call.path == "/v1/actions" else reply


def _page(call: Call, actions: Iterable[Thing]) -> Reply:
    """A page of those that are visible, by `status`, in the order that `sort` asks for."""
    view, statuses = shapes(call), filter_values(call, "status", ("running", "success", "error"))
    rows = [view.action(action) for action in visible(call, actions)]
    wanted = [row for row in rows if not statuses or row["status"] in statuses]
    ordered = in_order(call, wanted, ("id", "command", "status", "progress", "started", "finished"))
    return page(call, "actions", ordered, lambda row: row)


def get_action(call: Call) -> Reply:
    """One action, also of a server that is gone; under a thing's own path, only that thing's."""
    action = get(call, "action", call.params.get("action", call.params.get("id")))
    owners = [resource["id"] for resource in action.body["resources"]]
    if not visible(call, [action]) or ("action" in call.params and call.params["id"] not in owners):
        raise missing("action", action.id)
    return Reply({"action": shapes(call).action(action)})


def list_server_actions(call: Call) -> Reply:
    """The actions of one server."""
    return _page(call, call.world.children(get(call, "server").id, "action"))


def list_actions_of(kind: str) -> Handler:
    """The actions of one thing of a kind."""

    def handler(call: Call) -> Reply:
        resource = {"id": get(call, kind).id, "type": "image" if kind == "snapshot" else kind}
        actions = [each for each in call.world.things("hetzner", "action") if resource in each.body["resources"]]
        return _page(call, actions)

    return handler
