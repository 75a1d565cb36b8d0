"""States, servers and events as JSON documents, and back (`contract.md` §5).

Reading ignores unknown fields, so that an older scaler can read what a newer one wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from scaler.errors import StateError
from scaler.model import Health, Price, Replacement, Server, StackState
from scaler.model.drain import Drain, DrainStage
from scaler.model.events import Event
from scaler.model.identity import OWN_OUTPUT, Identity
from scaler.model.lifecycle import Status
from scaler.model.orders import NamedOperation, Orders, Pause
from scaler.records.json_fields import Fields
from scaler.records.roll_codec import rolls_from_json, rolls_to_json
from scaler.records.state import State
from scaler.support.clock import format_time, parse_time

SCHEMA = 1


def to_json(state: State) -> dict[str, object]:
    """Return the document of the state file."""
    return {
        "schema": SCHEMA,
        "stack": state.stack,
        "project": state.project,
        "cloud": state.cloud,
        "serial": state.serial,
        "updated": format_time(state.updated),
        "wanted": dict(state.wanted),
        "servers": [server_to_json(server) for server in state.servers],
        "orders": _orders_to_json(state.orders),
        **({"identity": identity_to_json(state.identity)} if state.identity else {}),
    }


def from_json(document: object) -> State:
    """Return the state that `to_json` wrote.

    StateError if a newer scaler wrote it, ValueError if the document is not a state.
    """
    fields = Fields(document)
    if (schema := fields.whole_number("schema")) > SCHEMA:
        raise StateError(
            "The state was written by a newer scaler.",
            why=f"it has schema {schema}, and this scaler reads schema {SCHEMA}",
            fix="Upgrade scaler.",
            code="state_newer",
        )
    return State(
        stack=fields.text("stack"),
        project=fields.text("project"),
        cloud=fields.text("cloud"),
        serial=fields.whole_number("serial"),
        updated=parse_time(fields.text("updated")),
        wanted=fields.counts("wanted"),
        servers=tuple(server_from_json(server) for server in fields.items("servers")),
        identity=identity_from_json(fields.optional_object("identity")),
        orders=_orders_from_json(fields.optional_object("orders") or {}),
    )


def identity_to_json(identity: Identity) -> dict[str, object]:
    """Return an identity as the state file and the stack's output `scaler` hold it."""
    return {
        "id": identity.id,
        "cloud": identity.cloud,
        "endpoint": identity.endpoint,
        "project": identity.project,
        "account": identity.account,
        "tokens": list(identity.tokens),
        **({"claims": list(identity.claims)} if identity.claims else {}),
    }


def own_output(identity: Identity | None, orders: Orders | None = None) -> dict[str, object]:
    """Return the stack's output that says what the stack is and what is asked of it; empty if neither is known."""
    document: dict[str, object] = {"identity": identity_to_json(identity)} if identity else {}
    if orders and orders.serial:
        document |= {**_orders_to_json(orders), "wanted": dict(orders.wanted)}
    return {OWN_OUTPUT: document} if document else {}


def orders_from_output(output: object) -> Orders | None:
    """Return the orders that `own_output` wrote; None if it wrote none. ValueError if they are none."""
    if not isinstance(output, Mapping) or "serial" not in output:
        return None
    orders = _orders_from_json(output)
    return replace(orders, wanted=Fields(output).counts("wanted"))


def read_outputs(outputs: Mapping[str, object]) -> StackState:
    """Return what a stack's outputs say of its servers, identity and orders; users can export others by hand."""
    own = outputs.get(OWN_OUTPUT)
    servers = {}
    for name, value in outputs.items():
        with suppress(ValueError):
            servers[name] = server_from_json(value)
    identity, orders = None, None
    with suppress(ValueError):
        identity = identity_from_json(own.get("identity")) if isinstance(own, Mapping) else None
    with suppress(ValueError):
        orders = orders_from_output(own)
    return StackState(outputs=servers, identity=identity, orders=orders)


_OF_SNAPSHOTS = ("snapshot", "server", "after")
"""The fields of a `NamedOperation` that only snapshots have."""


def _orders_to_json(orders: Orders) -> dict[str, object]:
    return {
        "serial": orders.serial,
        "pause": pause_to_json(orders.pause),
        "operations": [
            {
                "command": operation.command,
                "since": format_time(operation.since),
                "counts": dict(operation.counts),
                "remove": dict(operation.remove),
                "renew": dict(operation.renew),
                **({"reboot": dict(operation.reboot)} if operation.reboot else {}),
                **({name: getattr(operation, name) for name in _OF_SNAPSHOTS} if operation.snapshot else {}),
            }
            for operation in orders.operations
        ],
        **({"replacements": list(map(_replacement_to_json, orders.replacements))} if orders.replacements else {}),
        **({"rolls": rolls_to_json(orders.rolls)} if orders.rolls else {}),
    }


def pause_to_json(pause: Pause | None) -> dict[str, object] | None:
    """Return a pause as the state file and the stack's output `scaler` hold it."""
    if pause is None:
        return None
    until = None if pause.until is None else format_time(pause.until)
    return {"since": format_time(pause.since), "until": until, "reason": pause.reason, "by": pause.by}


def _orders_from_json(document: Mapping[str, object]) -> Orders:
    if not document:
        return Orders()
    fields = Fields(document)
    return Orders(
        serial=fields.whole_number("serial"),
        pause=_pause_from_json(fields.optional_object("pause")),
        operations=tuple(map(_operation_from_json, fields.items("operations"))),
        replacements=tuple(map(_replacement_from_json, fields.optional_items("replacements"))),
        rolls=rolls_from_json(fields.optional_object("rolls") or {}),
    )


def _pause_from_json(document: object) -> Pause | None:
    if document is None:
        return None
    fields = Fields(document)
    until = fields.optional_text("until")
    return Pause(
        since=parse_time(fields.text("since")),
        until=None if until is None else parse_time(until),
        reason=fields.text("reason"),
        by=fields.text("by"),
    )


def _operation_from_json(document: object) -> NamedOperation:
    fields = Fields(document)
    return NamedOperation(
        command=fields.text("command"),
        since=parse_time(fields.text("since")),
        counts=fields.counts("counts"),
        remove=fields.text_by_name("remove"),
        renew=fields.text_by_name("renew"),
        reboot=fields.text_by_name("reboot"),
        **{name: fields.optional_text(name) or "" for name in _OF_SNAPSHOTS},
    )


def _replacement_to_json(replacement: Replacement) -> dict[str, object]:
    return {
        "server": replacement.server,
        "id": replacement.id,
        "group": replacement.group,
        "since": format_time(replacement.since),
    }


def _replacement_from_json(document: object) -> Replacement:
    fields = Fields(document)
    return Replacement(
        server=fields.text("server"),
        id=fields.text("id"),
        group=fields.text("group"),
        since=parse_time(fields.text("since")),
    )


def identity_from_json(document: object) -> Identity | None:
    """Return the identity that `identity_to_json` wrote. ValueError if the document is not one."""
    if document is None:
        return None
    fields = Fields(document)
    return Identity(
        id=fields.text("id"),
        project=fields.text("project"),
        cloud=fields.text("cloud"),
        endpoint=fields.text("endpoint"),
        account=fields.text("account"),
        tokens=fields.texts("tokens"),
        claims=fields.optional_texts("claims"),
    )


def server_to_json(server: Server) -> dict[str, object]:
    """Return a record as the state file, the stack's outputs and `-o json` hold it."""
    return {
        "name": server.name,
        "group": server.group,
        "id": server.id,
        "status": str(server.status),
        "since": format_time(server.since),
        "previous": None if server.previous is None else str(server.previous),
        "ipv4": server.ipv4,
        "ipv6": server.ipv6,
        "private_ip": server.private_ip,
        "type": server.type,
        "location": server.location,
        "image": server.image,
        "created": None if server.created is None else format_time(server.created),
        "error": server.error,
        "protected": server.protected,
        "delete_protection": server.delete_protection,
        "set_aside": server.set_aside,
        "missing_since": None if server.missing_since is None else format_time(server.missing_since),
        "reboot_asked": server.reboot_asked,
        "in_service": server.in_service,
        "drain_failed": server.drain_failed,
        "drain": _drain_to_json(server.drain),
        "health": _health_to_json(server.health),
        "outdated": server.outdated,
        **_price_to_json(server.price),
    }


def server_from_json(document: object) -> Server:
    """Return the record that `server_to_json` wrote. ValueError if the document is not one."""
    fields = Fields(document)
    previous = fields.optional_text("previous")
    created = fields.optional_text("created")
    missing = fields.optional_text("missing_since")
    return Server(
        name=fields.server_name("name"),
        group=fields.text("group"),
        id=fields.optional_id("id"),
        status=Status(fields.text("status")),
        since=parse_time(fields.text("since")),
        previous=None if previous is None else Status(previous),
        ipv4=fields.optional_address("ipv4", 4),
        ipv6=fields.optional_address("ipv6", 6),
        private_ip=fields.optional_address("private_ip"),
        type=fields.optional_text("type"),
        location=fields.optional_text("location"),
        image=fields.optional_text("image"),
        created=None if created is None else parse_time(created),
        error=fields.optional_text("error"),
        protected=fields.flag("protected"),
        delete_protection=fields.flag("delete_protection"),
        set_aside=fields.flag("set_aside"),
        missing_since=None if missing is None else parse_time(missing),
        reboot_asked=fields.flag("reboot_asked"),
        in_service=fields.optional_flag("in_service"),
        drain_failed=fields.optional_text("drain_failed"),
        drain=_drain_from_json(fields.optional_object("drain")),
        health=_health_from_json(fields.optional_object("health")),
        outdated=fields.optional_text("outdated"),
        price=_price_from_json(fields),
    )


def _drain_to_json(drain: Drain | None) -> dict[str, object] | None:
    if drain is None:
        return None
    return {
        "since": format_time(drain.since),
        "until": format_time(drain.until),
        "stage": str(drain.stage),
        "then": drain.then,
        "asked": drain.asked,
        "for_good": drain.for_good,
        "reason": drain.reason,
        "notes": list(drain.notes),
    }


def _drain_from_json(document: object) -> Drain | None:
    if document is None:
        return None
    fields = Fields(document)
    return Drain(
        since=parse_time(fields.text("since")),
        until=parse_time(fields.text("until")),
        stage=DrainStage(fields.text("stage")),
        then="power_off" if fields.text("then") == "power_off" else "delete",
        asked=fields.flag("asked"),
        for_good=fields.flag("for_good"),
        reason=fields.text("reason"),
        notes=fields.texts("notes"),
    )


def _health_to_json(health: Health | None) -> dict[str, object] | None:
    if health is None:
        return None
    return {"checked": format_time(health.checked), "failures": health.failures, "problem": health.problem}


def _health_from_json(document: object) -> Health | None:
    if document is None:
        return None
    fields = Fields(document)
    return Health(
        checked=parse_time(fields.text("checked")),
        failures=fields.whole_number("failures"),
        problem=fields.text("problem"),
    )


def _price_to_json(price: Price | None) -> dict[str, str | None]:
    # Texts: a number would lose digits on its way through the engine, and come back as another number.
    return {
        "currency": price.currency if price else None,
        "price_per_hour": f"{price.per_hour:f}" if price else None,
        "price_per_month": None if price is None or price.per_month is None else f"{price.per_month:f}",
    }


def _price_from_json(fields: Fields) -> Price | None:
    currency, per_hour = fields.optional_text("currency"), fields.optional_decimal("price_per_hour")
    if currency is None or per_hour is None:
        return None
    return Price(currency, per_hour, fields.optional_decimal("price_per_month"))


def event_to_json(event: Event) -> dict[str, object]:
    """Return an event as the log and a notification hold it.

    Only `run.finished` has `result`, and only `autoscale.decided` has `decision`.
    """
    document: dict[str, object] = {
        "at": None if event.at is None else format_time(event.at),
        "run": event.run,
        "event": str(event.event),
        "server": event.server,
        "group": event.group,
        "from": None if event.previous is None else str(event.previous),
        "to": None if event.status is None else str(event.status),
        "reason": event.reason,
        "cause": event.cause,
    }
    if event.result is not None:
        document["result"] = dict(event.result)
    if event.decision is not None:
        document["decision"] = dict(event.decision)
    return document


def event_from_json(document: object) -> Event:
    """Return the event that `event_to_json` wrote. ValueError if the document is not one."""
    fields = Fields(document)
    at, previous, status = (fields.optional_text(name) for name in ("at", "from", "to"))
    return Event(
        event=fields.text("event"),
        server=fields.optional_text("server"),
        group=fields.optional_text("group"),
        previous=None if previous is None else Status(previous),
        status=None if status is None else Status(status),
        reason=fields.optional_text("reason"),
        cause=fields.optional_text("cause"),
        at=None if at is None else parse_time(at),
        run=fields.optional_text("run"),
        result=fields.optional_object("result"),
        decision=fields.optional_object("decision"),
    )
