"""What each answer, and each missing answer, means: one table for both vendors, byte by byte over real sockets."""

from __future__ import annotations

import json
import math
import socket
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from scaler.clouds import (
    AmbiguousError,
    AuthError,
    BusyError,
    Cloud,
    CloudError,
    GoneError,
    InvalidError,
    NameTakenError,
    NoCapacityError,
    ProtectedError,
    QuotaError,
    RateLimitedError,
    TransientError,
)
from scaler.clouds.deadlines import Deadlines
from scaler.clouds.registry import open_cloud
from scaler.errors import ExitCode
from scaler.model import MachineRequest
from scaler.model.lifecycle import Phase
from scaler.model.ownership import Owner
from tests.support.http_stub import Answer, HurriedClock, Stub, cut, drip, drip_headers, drop, hang, name_of, reply
from tests.support.listener import listening
from tests.support.vendors import ENVIRON, TOKEN, VENDORS, DigitalOcean, Hetzner, Vendor

pytestmark = pytest.mark.server

OWNER = Owner("shop", "prod")
LABELS = OWNER.group_labels("worker", "a1b2")
Open = Callable[..., tuple[Cloud, Stub]]
OPTION = "-oProxyCommand=touch x"


def request_for(vendor: Vendor, name: str = "prod-worker-1", **more: Any) -> MachineRequest:
    given = {"type": vendor.type, "location": vendor.location, "image": "343", "labels": LABELS}
    return MachineRequest(name=name, **(given | more))


def created(vendor: Vendor, id: int = 42, name: str = "prod-worker-1") -> Answer:
    return reply(*vendor.created(vendor.machine(id, name, LABELS)))


def posts(stub: Stub) -> int:
    return sum(request.method == "POST" for request in stub.requests)


# ---------------------------------------------------------------------------------------------
# Refusals

HETZNER_REFUSALS = [
    (401, "unauthorized", AuthError),
    (401, "token_readonly", AuthError),
    (403, "forbidden", AuthError),
    (403, "resource_limit_exceeded", QuotaError),
    (412, "resource_unavailable", NoCapacityError),
    (422, "placement_error", InvalidError),
    (422, "placement_group_member_limit_reached", InvalidError),
    (409, "uniqueness_error", NameTakenError),
    (409, "conflict", BusyError),
    (423, "locked", BusyError),
    (423, "protected", ProtectedError),
    (404, "not_found", InvalidError),
    (400, "json_error", InvalidError),
    (410, "deprecated_api_endpoint", InvalidError),
    (422, "invalid_input", InvalidError),
    (403, "maintenance", TransientError),
    (403, "account_blocked", InvalidError),
    (422, "service_error", InvalidError),
    (500, "service_error", AmbiguousError),
    (500, "server_error", AmbiguousError),
    (502, "bad_gateway", AmbiguousError),
    (503, "unavailable", AmbiguousError),
    (504, "timeout", AmbiguousError),
]
UNPROCESSABLE = "unprocessable_entity"
DIGITALOCEAN_REFUSALS = [
    (401, "unauthorized", "Unable to authenticate you", AuthError),
    (403, "forbidden", "You do not have access for the attempted action.", AuthError),
    (422, UNPROCESSABLE, "creating this/these droplet(s) will exceed your droplet limit", QuotaError),
    (403, "payment_required", "Your account needs a payment method.", InvalidError),
    (403, "forbidden", "creating this/these droplet(s) will exceed your droplet limit", QuotaError),
    (422, UNPROCESSABLE, "Region is not available", NoCapacityError),
    (422, UNPROCESSABLE, "Size is not available in this region.", NoCapacityError),
    (422, UNPROCESSABLE, "The image you specified is not available in the selected region.", InvalidError),
    (422, UNPROCESSABLE, "Droplet already has a pending event.", BusyError),
    (409, "conflict", "The resource is in use", BusyError),
    (404, "not_found", "The resource you requested could not be found.", InvalidError),
    (422, UNPROCESSABLE, "You specified an invalid image for Droplet creation.", InvalidError),
    (500, "server_error", "Unexpected server-side error", AmbiguousError),
    (503, "service_unavailable", "Service unavailable", AmbiguousError),
]


def refusals() -> list[Any]:
    cases: list[tuple[Vendor, int, str, str, type[CloudError]]] = [
        (Hetzner, status, code, f"the words of {code}", kind) for status, code, kind in HETZNER_REFUSALS
    ]
    cases += [(DigitalOcean, *case) for case in DIGITALOCEAN_REFUSALS]
    return [pytest.param(*case, id=f"{case[0].name}-{case[1]}-{case[2]}-{case[4].code}") for case in cases]


@pytest.mark.parametrize(("vendor", "status", "code", "message", "kind"), refusals())
def test_a_refused_create_says_what_it_means_in_the_vendors_own_words(
    vendor: Vendor, status: int, code: str, message: str, kind: type[CloudError], on_stub: Open
) -> None:
    cloud, stub = on_stub(reply(status, vendor.error(code, message), X_Correlation_Id="c0rr", x_request_id="c0rr"))

    with pytest.raises(CloudError) as caught:
        cloud.create(request_for(vendor))

    assert type(caught.value) is kind
    assert code in caught.value.why
    assert message in caught.value.why
    assert "c0rr" in caught.value.why
    assert "prod-worker-1" in caught.value.what
    # Only what provably changed nothing is sent again.
    assert posts(stub) == (4 if kind in (BusyError, TransientError) else 1)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520])
def test_a_create_answered_by_a_broken_gateway_is_never_sent_again(vendor: Vendor, on_stub: Open, status: int) -> None:
    cloud, stub = on_stub(reply(status, "<html>bad gateway</html>"), created(vendor))

    with pytest.raises(AmbiguousError, match="prod-worker-1") as caught:
        cloud.create(request_for(vendor))

    assert f"HTTP {status}" in caught.value.why
    assert posts(stub) == 1


def test_gone_is_only_what_the_vendor_calls_gone(vendor: Vendor, on_stub: Open) -> None:
    """A wrong endpoint answers 404 as well, and must not make a fleet look deleted."""
    cloud, _ = on_stub(reply(404, vendor.error("not_found")), reply(404, "<html>nginx</html>"))

    with pytest.raises(GoneError):
        cloud.get("42")
    with pytest.raises(InvalidError):
        cloud.get("42")


@pytest.mark.parametrize("call", ["delete", "power_on", "power_off", "shutdown", "reboot"])
def test_acting_on_a_machine_that_is_gone(vendor: Vendor, on_stub: Open, call: str) -> None:
    cloud, stub = on_stub(reply(404, vendor.error("not_found")))

    with pytest.raises(GoneError):
        getattr(cloud, call)("42")

    assert len(stub.requests) == 1


def test_an_id_that_is_no_number_is_gone_without_asking(vendor: Vendor, on_stub: Open) -> None:
    cloud, stub = on_stub(reply(500))

    with pytest.raises(GoneError):
        cloud.get("../droplets")

    assert stub.requests == []


def test_busy_is_asked_again_until_it_is_not(vendor: Vendor, on_stub: Open) -> None:
    status, code = (423, "locked") if vendor is Hetzner else (422, UNPROCESSABLE)
    busy = reply(status, vendor.error(code, "Droplet already has a pending event."))
    cloud, stub = on_stub(busy, busy, reply(*vendor.ok_delete))

    cloud.delete("42")

    assert [request.method for request in stub.requests] == ["DELETE"] * 3
    assert cloud.requests.retried == 2


def test_powering_off_what_is_off_is_done(clock: HurriedClock) -> None:
    with Stub(reply(422, DigitalOcean.error(UNPROCESSABLE, "Droplet is already powered off."))) as stub:
        cloud = open_cloud("digitalocean", endpoint=stub.url, environ=ENVIRON, clock=clock)
        cloud.power_off("42")
    assert len(stub.requests) == 1


# ---------------------------------------------------------------------------------------------
# Answers that never came


@pytest.mark.parametrize(
    "fault", [drop, hang, drip, drip_headers, reply(201, "<html></html>"), reply(202, [1])], ids=name_of
)
def test_a_create_without_an_answer_is_ambiguous_and_sent_once(vendor: Vendor, on_stub: Open, fault: Answer) -> None:
    cloud, stub = on_stub(fault, created(vendor))

    with pytest.raises(AmbiguousError):
        cloud.create(request_for(vendor))

    assert posts(stub) == 1


def test_a_create_whose_answer_is_cut_off_is_ambiguous(vendor: Vendor, on_stub: Open) -> None:
    cloud, stub = on_stub(cut(vendor.created(vendor.machine(42, "prod-worker-1", LABELS))[1]))

    with pytest.raises(AmbiguousError):
        cloud.create(request_for(vendor))

    assert posts(stub) == 1


def test_a_refusal_whose_words_are_cut_off_is_a_refusal(vendor: Vendor, on_stub: Open) -> None:
    cloud, stub = on_stub(cut(vendor.error("invalid_input"), status=422))

    with pytest.raises(InvalidError) as caught:
        cloud.create(request_for(vendor))

    assert "HTTP 422" in caught.value.why
    assert posts(stub) == 1


@pytest.mark.parametrize("call", ["power_on", "power_off", "shutdown", "reboot"])
def test_an_action_without_an_answer_is_ambiguous_and_sent_once(vendor: Vendor, on_stub: Open, call: str) -> None:
    cloud, stub = on_stub(drop, reply(*vendor.ok_action))

    with pytest.raises(AmbiguousError):
        getattr(cloud, call)("42")

    assert posts(stub) == 1


@pytest.mark.parametrize("fault", [drop, hang, reply(503)], ids=name_of)
def test_a_delete_without_an_answer_is_sent_again(vendor: Vendor, on_stub: Open, fault: Answer) -> None:
    cloud, stub = on_stub(fault, reply(404, vendor.error("not_found")))

    with pytest.raises(GoneError):
        cloud.delete("42")

    assert [request.method for request in stub.requests] == ["DELETE", "DELETE"]


def test_a_delete_that_never_gets_an_answer_is_ambiguous(vendor: Vendor, on_stub: Open) -> None:
    cloud, stub = on_stub(drop)

    with pytest.raises(AmbiguousError):
        cloud.delete("42")

    assert len(stub.requests) == 4


@pytest.mark.parametrize("last", ["busy", "limited"])
def test_a_delete_in_doubt_stays_in_doubt_whatever_the_last_answer_was(
    vendor: Vendor, on_stub: Open, last: str
) -> None:
    status, code = (423, "locked") if vendor is Hetzner else (422, UNPROCESSABLE)
    busy = reply(status, vendor.error(code, "Droplet already has a pending event."))
    limited = reply(429, vendor.error("too_many_requests"), Retry_After="1800")
    cloud, _ = on_stub(drop, busy if last == "busy" else limited)

    with pytest.raises(AmbiguousError):
        cloud.delete("42")


@pytest.mark.parametrize(
    "fault", [drop, hang, drip, drip_headers, reply(500), reply(502, "<html>"), reply(200, "<html>")], ids=name_of
)
def test_a_read_is_sent_again_until_it_has_an_answer(vendor: Vendor, on_stub: Open, fault: Answer) -> None:
    machine = vendor.machine(42, "prod-worker-1", LABELS)
    cloud, stub = on_stub(fault, cut(vendor.page([machine])), reply(200, vendor.page([machine])))

    assert [found.id for found in cloud.list_owned(OWNER)] == ["42"]
    assert len(stub.requests) == 3


@pytest.mark.parametrize("fault", [drop, reply(500), reply(504, "<html>"), reply(200, "<html>")], ids=name_of)
def test_a_read_that_never_gets_an_answer_is_transient(vendor: Vendor, on_stub: Open, fault: Answer) -> None:
    cloud, stub = on_stub(fault)

    with pytest.raises(TransientError):
        cloud.list_owned(OWNER)

    assert len(stub.requests) == 4


def test_nobody_listens_so_nothing_happened(vendor: Vendor, clock: HurriedClock) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}{vendor.base}"
        cloud = open_cloud(vendor.name, endpoint=endpoint, environ=ENVIRON, clock=clock)

        with pytest.raises(TransientError, match="prod-worker-1") as caught:
            cloud.create(request_for(vendor))

    assert "refused" in caught.value.why
    assert cloud.requests.create == 4


def test_who_may_not_change_anything_any_more_only_asks(vendor: Vendor, clock: HurriedClock) -> None:
    ended = Deadlines(is_over=lambda: True)
    with Stub(reply(200, vendor.page([]))) as stub:
        cloud = open_cloud(vendor.name, endpoint=stub.url + vendor.base, environ=ENVIRON, clock=clock, deadlines=ended)
        for change in (lambda: cloud.create(request_for(vendor)), lambda: cloud.delete("42")):
            with pytest.raises(TransientError) as refused:
                change()
            assert "so this was not sent" in refused.value.why
        assert cloud.list_owned(OWNER) == []
        cloud.close()
    assert {request.method for request in stub.requests} == {"GET"}


def test_an_unknown_host_means_nothing_happened(
    vendor: Vendor, clock: HurriedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*args: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    elsewhere = dict.fromkeys(("HCLOUD_ENDPOINT", "DIGITALOCEAN_API_URL"), "https://nowhere.invalid")
    cloud = open_cloud(vendor.name, endpoint=None, environ={**ENVIRON, **elsewhere}, clock=clock)

    with pytest.raises(TransientError):
        cloud.create(request_for(vendor))


def test_an_idle_connection_that_the_server_closed_loses_no_create(vendor: Vendor, on_stub: Open) -> None:
    cloud, stub = on_stub(reply(200, vendor.page([]), Connection="close"), created(vendor))

    cloud.list_owned(OWNER)

    assert cloud.create(request_for(vendor)).id == "42"
    assert posts(stub) == 1


# ---------------------------------------------------------------------------------------------
# Answers that lack something

LACKING = [(Hetzner, field) for field in ("id", "name", "status", "created", "labels", "server_type", "location")] + [
    (DigitalOcean, field) for field in ("id", "name", "status", "created_at", "tags", "size_slug", "region", "networks")
]


@pytest.mark.parametrize(("vendor", "field"), LACKING, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize("how", ["null", "missing"])
def test_a_machine_without_a_field_that_matters(vendor: Vendor, field: str, how: str, on_stub: Open) -> None:
    """Half a machine must never pass for one: it would plan a replacement, or drop out of its owner's list."""
    machine = vendor.machine(42, "prod-worker-1", LABELS)
    if how == "missing":
        del machine[field]
    else:
        machine[field] = None
    cloud, stub = on_stub(reply(*vendor.created(machine)), reply(200, vendor.page([machine])))

    with pytest.raises(AmbiguousError):
        cloud.create(request_for(vendor))
    with pytest.raises(TransientError):
        cloud.list_owned(OWNER)

    assert posts(stub) == 1


@pytest.mark.parametrize(
    ("vendor", "ask", "body"),
    [
        (DigitalOcean, lambda cloud: cloud.account(), {"account": {"uuid": 7}}),
        (DigitalOcean, lambda cloud: cloud.account(), {"account": []}),
        (DigitalOcean, lambda cloud: cloud.is_busy("42"), {"actions": [{"id": 1}]}),
        (DigitalOcean, lambda cloud: cloud.deleting(["42"]), {"actions": [{"id": 1}]}),
        (DigitalOcean, lambda cloud: cloud.failed(["42"], "delete"), {"actions": [{"id": []}]}),
        (Hetzner, lambda cloud: cloud.failed(["42"], "delete"), {"actions": [{"id": 1}]}),
        (
            Hetzner,
            lambda cloud: cloud.check_request(request_for(Hetzner, networks=("47", "48"))),
            {
                "locations": [],
                "networks": [{"id": id_, "name": "lan", "ip_range": OPTION, "subnets": []} for id_ in (47, 48)],
                "meta": {"pagination": {"next_page": None, "total_entries": None}},
            },
        ),
    ],
)
def test_an_answer_of_another_shape_is_no_error_of_scalers_own(
    vendor: Vendor, ask: Callable[[Any], object], body: dict[str, Any], on_stub: Open
) -> None:
    cloud, _ = on_stub(reply(200, body))
    with pytest.raises(TransientError):
        ask(cloud)


NO_NAMES: list[object] = [[], 7, OPTION, "", "a b", "web\n"]
UNSOUND: list[tuple[Vendor, str, Any]] = [
    *((vendor, "id", number) for vendor in VENDORS for number in (-1, 0, 4.5, True, 10**20, math.inf, "4000005/../x")),
    *((vendor, "name", text) for vendor in VENDORS for text in NO_NAMES),
    (Hetzner, "labels", []),
    (Hetzner, "labels", {**LABELS, "tier": 7}),
    (Hetzner, "status", {}),
    (Hetzner, "server_type", {"id": 1, "name": 7}),
    (Hetzner, "location", {"id": 1, "name": {}}),
    (Hetzner, "image", {"id": 1, "name": [7]}),
    (Hetzner, "public_net", {"ipv4": {"ip": OPTION}, "ipv6": None, "floating_ips": [], "firewalls": []}),
    (Hetzner, "public_net", {"ipv4": {"ip": "metadata.example"}, "ipv6": None, "floating_ips": [], "firewalls": []}),
    (Hetzner, "public_net", {"ipv4": None, "ipv6": {"ip": 7}, "floating_ips": [], "firewalls": []}),
    (Hetzner, "private_net", [{"network": 47, "ip": OPTION, "alias_ips": [], "mac_address": ""}]),
    (DigitalOcean, "tags", "scaler"),
    (DigitalOcean, "tags", [7]),
    (DigitalOcean, "size_slug", []),
    (DigitalOcean, "region", {"slug": 7}),
    (DigitalOcean, "image", {"id": 1, "slug": {"a": 1}}),
    (DigitalOcean, "networks", {"v4": [{"ip_address": OPTION, "type": "public"}], "v6": []}),
    (DigitalOcean, "networks", {"v4": [{"ip_address": 7, "type": "private"}], "v6": []}),
    (DigitalOcean, "networks", {"v4": [], "v6": [{"ip_address": "fe80::1%;touch x", "type": "public"}]}),
]


@pytest.mark.parametrize(("vendor", "field", "value"), UNSOUND, ids=lambda value: getattr(value, "name", repr(value)))
def test_a_machine_with_what_no_machine_has(vendor: Vendor, field: str, value: object, on_stub: Open) -> None:
    """An address that is an option would be run by `ssh`; a type that is no text could not be read from the records."""
    cloud, _ = on_stub(reply(200, vendor.page([vendor.machine(42, "prod-worker-1", LABELS) | {field: value}])))

    with pytest.raises(TransientError, match="list the") as refused:
        cloud.list_owned(OWNER)

    assert refused.value.exit_code is ExitCode.UNAVAILABLE


@pytest.mark.parametrize("body", [{}, {"server": None, "droplet": None}, {"servers": None, "droplets": None}], ids=str)
def test_an_empty_answer(vendor: Vendor, on_stub: Open, body: dict[str, Any]) -> None:
    status, _ = vendor.created({})
    cloud, _ = on_stub(reply(status, body), reply(200, body))

    with pytest.raises(AmbiguousError):
        cloud.create(request_for(vendor))
    with pytest.raises(TransientError):
        cloud.get("42")
    with pytest.raises(TransientError):
        cloud.list_owned(OWNER)


# ---------------------------------------------------------------------------------------------
# Rate limits

IN_A_MINUTE = {"ratelimit_limit": "5000", "ratelimit_remaining": "0"}


def reset_in(seconds: float) -> str:
    return str(int((datetime.now(UTC) + timedelta(seconds=seconds)).timestamp()))


def test_a_create_that_was_rate_limited_waits_as_long_as_it_is_told(
    vendor: Vendor, on_stub: Open, clock: HurriedClock
) -> None:
    code = "rate_limit_exceeded" if vendor is Hetzner else "too_many_requests"
    cloud, stub = on_stub(reply(429, vendor.error(code), Retry_After="17"), created(vendor))

    assert cloud.create(request_for(vendor)).id == "42"
    assert posts(stub) == 2
    assert 16 < sum(clock.slept) < 18
    assert cloud.requests.retried == 1


def test_a_429_without_json_or_headers_is_one_too(vendor: Vendor, on_stub: Open, clock: HurriedClock) -> None:
    cloud, stub = on_stub(reply(429, "<html>slow down</html>"), created(vendor))

    assert cloud.create(request_for(vendor)).id == "42"
    assert posts(stub) == 2
    assert sum(clock.slept) > 0.9


def test_a_429_for_ever_ends_with_the_moment_to_ask_again(vendor: Vendor, on_stub: Open, clock: HurriedClock) -> None:
    cloud, stub = on_stub(reply(429, vendor.error("too_many_requests"), Retry_After="5"))

    with pytest.raises(RateLimitedError) as caught:
        cloud.create(request_for(vendor))

    assert posts(stub) == 4
    assert caught.value.reset is not None
    assert caught.value.reset > clock.now()


def test_nobody_waits_longer_than_the_budget_allows(vendor: Vendor, on_stub: Open, clock: HurriedClock) -> None:
    cloud, stub = on_stub(reply(429, vendor.error("too_many_requests"), Retry_After="1800"))

    with pytest.raises(RateLimitedError) as caught:
        cloud.create(request_for(vendor))

    assert posts(stub) == 1
    assert sum(clock.slept) < 1
    assert caught.value.reset is not None
    assert timedelta(minutes=29) < caught.value.reset - clock.now() <= timedelta(minutes=30)


# ---------------------------------------------------------------------------------------------
# Secrets, proxies, and what a machine looks like


def test_the_token_is_sent_and_never_told(vendor: Vendor, on_stub: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if the other side repeats it."""
    cloud, stub = on_stub(reply(422, vendor.error("invalid_input", f"Bearer {TOKEN} is wrong")))

    with pytest.raises(InvalidError) as caught:
        cloud.create(request_for(vendor, user_data="#cloud-config"))

    told = f"{caught.value!r} {caught.value.what} {caught.value.why} {caught.value.fix}"
    assert TOKEN not in told + "".join(traceback.format_exception(caught.value))
    assert stub.requests[0].token == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("body", "fix"),
    [
        ("unauthorized", "Check that the token is valid"),
        ("forbidden", "Check that the token has the rights"),
        ("account_blocked", "whatever the token"),
        ("<html>blocked by the firewall</html>", "whether a proxy or firewall answers"),
    ],
)
def test_a_refusal_is_explained_by_what_was_said_and_not_by_its_status_alone(
    vendor: Vendor, on_stub: Open, body: str, fix: str
) -> None:
    status = 401 if body == "unauthorized" else 403
    cloud, _ = on_stub(reply(status, body if body.startswith("<") else vendor.error(body, "words")))
    with pytest.raises(CloudError) as caught:
        cloud.create(request_for(vendor))
    assert fix in caught.value.fix


def test_what_a_cloud_says_is_one_clean_line_without_user_data(vendor: Vendor, on_stub: Open) -> None:
    user_data = "#cloud-config\nchpasswd: {list: [root:hunter2]}\n"
    words = f"invalid user_data: {user_data} \x1b]0;owned\x07\n::add-mask::x\n" + "long " * 1000
    cloud, _ = on_stub(reply(422, vendor.error("invalid_input", words)))
    with pytest.raises(InvalidError) as caught:
        cloud.create(request_for(vendor, user_data=user_data))
    assert "hunter2" not in str(caught.value)
    assert caught.value.why.isprintable()
    assert r"\x1b]0;owned\x07" in caught.value.why
    assert len(caught.value.why) < 600


def test_a_line_of_user_data_that_begins_with_another_or_is_quoted_is_hidden_whole(
    vendor: Vendor, on_stub: Open
) -> None:
    user_data = '#!/bin/sh\nexport PASSWORD\nexport PASSWORD=hunter2\necho "root:hunter3" | chpasswd\n'
    cloud, _ = on_stub(reply(422, vendor.error("invalid_input", f"invalid user_data: {json.dumps(user_data)}")))
    with pytest.raises(InvalidError) as caught:
        cloud.create(request_for(vendor, user_data=user_data))
    assert "hunter" not in caught.value.why


def test_neither_netrc_nor_a_proxy_gets_between_us_and_loopback(
    vendor: Vendor, on_stub: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    cloud, stub = on_stub(reply(200, vendor.page([])))

    assert cloud.list_owned(OWNER) == []
    assert stub.requests[0].token == f"Bearer {TOKEN}"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_token_follows_no_redirect(vendor: Vendor, on_stub: Open, status: int) -> None:
    with listening() as listener:
        cloud, _ = on_stub(reply(status, Location=f"http://127.0.0.1:{listener.port}{vendor.base}/servers"))
        with pytest.raises(CloudError):
            cloud.list_owned(OWNER)
        with pytest.raises(CloudError):
            cloud.create(request_for(vendor))
        assert listener.connections == 0


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("http://user:hunter2@", "HTTPS_PROXY is no URL of a proxy: it has no host"),
        ("http://user:hunter2@127.0.0.1:{refused}", "HTTPS_PROXY: "),
        ("http://user:hunter2@127.0.0.1:{stub}", "HTTPS_PROXY: Tunnel connection failed: 501"),
    ],
)
def test_a_proxy_is_named_as_the_reason(
    vendor: Vendor, clock: HurriedClock, monkeypatch: pytest.MonkeyPatch, proxy: str, said: str
) -> None:
    for name in ("https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    environ = {**ENVIRON, "SCALER_ALLOW_HOSTS": "a.test"}
    with socket.socket() as unused, Stub(reply(500)) as stub:
        unused.bind(("127.0.0.1", 0))
        ports = {"refused": unused.getsockname()[1], "stub": stub.server_port}
        monkeypatch.setenv("HTTPS_PROXY", proxy.format(**ports))
        cloud = open_cloud(vendor.name, endpoint=f"https://a.test{vendor.base}", environ=environ, clock=clock)

        with pytest.raises(TransientError) as caught:
            cloud.create(request_for(vendor))

    assert caught.value.why.startswith(said)
    assert "HTTPS_PROXY" in caught.value.why
    assert "hunter2" not in caught.value.why + caught.value.fix
    assert "variable" in caught.value.fix or "HTTPS_PROXY" in caught.value.fix
    assert cloud.requests.create == (1 if "no host" in said else 4), "what cannot help is not repeated"


@pytest.mark.parametrize(
    ("vendor", "status", "phase"),
    [
        (Hetzner, "initializing", Phase.BOOTING),
        (Hetzner, "starting", Phase.BOOTING),
        (Hetzner, "running", Phase.RUNNING),
        (Hetzner, "off", Phase.OFF),
        (Hetzner, "stopping", Phase.STOPPING),
        (Hetzner, "deleting", Phase.DELETING),
        (Hetzner, "migrating", Phase.BUSY),
        (Hetzner, "rebuilding", Phase.BUSY),
        (Hetzner, "unknown", Phase.UNKNOWN),
        (Hetzner, "a new one", Phase.UNKNOWN),
        (DigitalOcean, "new", Phase.BOOTING),
        (DigitalOcean, "active", Phase.RUNNING),
        (DigitalOcean, "off", Phase.OFF),
        (DigitalOcean, "archive", Phase.UNKNOWN),
    ],
    ids=str,
)
def test_phases(vendor: Vendor, status: str, phase: Phase, on_stub: Open) -> None:
    cloud, _ = on_stub(reply(200, vendor.read(vendor.machine(42, "web", LABELS, status=status))))

    machine = cloud.get("42")

    assert (machine.phase, machine.vendor_status) == (phase, status)


def test_a_hetzner_server_has_all_that_the_plugin_needs(clock: HurriedClock) -> None:
    with Stub(reply(200, Hetzner.read(Hetzner.machine(42, "web", LABELS)))) as stub:
        machine = open_cloud("hetzner", endpoint=stub.url + "/v1", environ=ENVIRON, clock=clock).get("42")

    assert (machine.ipv4, machine.ipv6, machine.image) == ("203.0.113.7", "2001:db8:78::1", "343")
    assert machine.private_ip == "10.0.0.2"
    assert machine.created == datetime(2026, 11, 23, 17, 42, 5, tzinfo=UTC)
    expected = {
        "ipv6_network": "2001:db8:78::/64",
        "ipv6_address": "2001:db8:78::1",
        "primary_disk_size": 40,
        "backup_window": "22-02",
        "server_type": "cx23",
        "placement_group_id": 897,
        "firewall_ids": [38],
        "volume_ids": [7],
        "private_net": [{"network": 47, "ip": "10.0.0.2", "alias_ips": [], "mac_address": "86:00"}],
        "protection": {"delete": False, "rebuild": False},
    }
    assert expected.items() <= machine.details.items()
    assert len(stub.requests) == 1


def test_a_droplet_has_all_that_the_plugin_needs(clock: HurriedClock) -> None:
    v6 = [{"ip_address": "2604:a880::1", "type": "public"}]
    droplet = DigitalOcean.machine(42, "web", LABELS)
    droplet["networks"]["v6"] = v6
    with Stub(reply(200, DigitalOcean.read(droplet))) as stub:
        machine = open_cloud("digitalocean", endpoint=stub.url, environ=ENVIRON, clock=clock).get("42")

    assert (machine.ipv4, machine.ipv6, machine.image) == ("203.0.113.7", "2604:a880::1", "343")
    assert machine.private_ip == "10.10.0.3"
    assert machine.labels == LABELS
    expected = {
        "urn": "do:droplet:42",
        "disk": 25,
        "memory": 1024,
        "vcpus": 1,
        "price_hourly": 0.00893,
        "price_monthly": 6.0,
        "ipv4_private": "10.10.0.3",
        "created_at": "2026-11-23T17:42:05Z",
        "vpc_uuid": "760e09ef",
        "features": ["droplet_agent", "private_networking"],
        "monitoring": False,
    }
    assert expected.items() <= machine.details.items()


@pytest.mark.parametrize("price", ["Infinity", "NaN", "1e9999", "1e999999999", "-5", "0", "1e-400", "free", None])
def test_what_is_no_amount_of_money_is_no_price(price: str | None, clock: HurriedClock) -> None:
    both = {"price_hourly": {"net": price}, "price_monthly": {"net": "3.79"}}
    kind = {
        "id": 1,
        "name": "cx23",
        "disk": 40,
        "architecture": "x86",
        "prices": [{"location": "fsn1", **both}],
        "locations": [{"id": 1, "name": "fsn1", "available": True, "recommended": True, "deprecation": None}],
    }
    pricing = {"currency": "EUR", "primary_ips": [{"type": "ipv4", "prices": [{"location": "fsn1", **both}]}]}
    page = {"page": 1, "per_page": 50, "previous_page": None, "next_page": None, "last_page": 1, "total_entries": 1}
    types = {"server_types": [kind], "meta": {"pagination": page}}
    with Stub(reply(200, {"pricing": pricing}), reply(200, types)) as stub:
        sold = open_cloud("hetzner", endpoint=stub.url + "/v1", environ=ENVIRON, clock=clock).catalogue()
    [offer] = sold.offers
    assert (offer.per_hour, offer.per_month, sold.ipv4_per_month) == (None, Decimal("3.79"), Decimal("3.79"))
    # An address may be free; a server is not.
    assert sold.ipv4_per_hour == (Decimal(0) if price in ("0", "1e-400") else None)


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -5, 0, 1e-400, None])
def test_a_size_without_a_price_has_none(price: float | None, clock: HurriedClock) -> None:
    size = {"slug": "s-1vcpu-1gb", "disk": 25, "available": True, "regions": ["fra1"]}
    size |= {"price_monthly": price, "price_hourly": 0.00893}
    regions = {"regions": [{"slug": "fra1", "available": True}], "links": {}, "meta": {"total": 1}}
    with Stub(reply(200, {"sizes": [size], "links": {}, "meta": {"total": 1}}), reply(200, regions)) as stub:
        [offer] = open_cloud("digitalocean", endpoint=stub.url, environ=ENVIRON, clock=clock).catalogue().offers
    assert (offer.per_hour, offer.per_month) == (Decimal("0.00893"), None)
    droplet = DigitalOcean.machine(42, "web", LABELS, size=size)
    with Stub(reply(200, DigitalOcean.read(droplet))) as stub:
        machine = open_cloud("digitalocean", endpoint=stub.url, environ=ENVIRON, clock=clock).get("42")
    assert machine.details["price_monthly"] == 0, "the engine can write no other number"


def test_the_create_request_says_everything(clock: HurriedClock) -> None:
    request = request_for(
        Hetzner,
        ssh_keys=("deploy", "399"),
        user_data="#cloud-config",
        networks=("47",),
        firewalls=("38",),
        placement_group="897",
        public_ipv6=False,
    )
    with Stub(created(Hetzner)) as stub:
        open_cloud("hetzner", endpoint=stub.url + "/v1", environ=ENVIRON, clock=clock).create(request)

    assert stub.requests[0].body == {
        "name": "prod-worker-1",
        "server_type": "cx23",
        "location": "fsn1",
        "image": 343,
        "labels": LABELS,
        "ssh_keys": ["deploy", 399],
        "user_data": "#cloud-config",
        "networks": [47],
        "firewalls": [{"firewall": 38}],
        "placement_group": 897,
        "public_net": {"enable_ipv4": True, "enable_ipv6": False},
        "start_after_create": True,
    }


def test_the_droplet_request_says_everything(clock: HurriedClock) -> None:
    request = request_for(DigitalOcean, ssh_keys=("512189",), user_data="#!", vpc="760e", monitoring=True, ipv6=True)
    with Stub(created(DigitalOcean)) as stub:
        open_cloud("digitalocean", endpoint=stub.url, environ=ENVIRON, clock=clock).create(request)

    assert stub.requests[0].body == {
        "name": "prod-worker-1",
        "region": "fra1",
        "size": "s-1vcpu-1gb",
        "image": 343,
        "ssh_keys": [512189],
        "backups": False,
        "ipv6": True,
        "monitoring": True,
        "user_data": "#!",
        "vpc_uuid": "760e",
        "tags": ["scaler", "scaler-project:shop", "scaler-stack:prod", "scaler-group:worker", "scaler-template:a1b2"],
    }


@pytest.mark.parametrize("wrong", [{"networks": ("lan",)}, {"firewalls": ("web",)}, {"placement_group": "pg"}], ids=str)
def test_a_request_that_cannot_be_said_is_invalid_and_not_sent(clock: HurriedClock, wrong: dict[str, Any]) -> None:
    with Stub(created(Hetzner)) as stub:
        cloud = open_cloud("hetzner", endpoint=stub.url + "/v1", environ=ENVIRON, clock=clock)
        with pytest.raises(InvalidError):
            cloud.create(request_for(Hetzner, **wrong))

    assert stub.requests == []


def test_a_label_that_cannot_be_a_tag_is_invalid_and_not_sent(clock: HurriedClock) -> None:
    with Stub(created(DigitalOcean)) as stub:
        cloud = open_cloud("digitalocean", endpoint=stub.url, environ=ENVIRON, clock=clock)
        with pytest.raises(InvalidError, match=r"version:1\.2"):
            cloud.create(request_for(DigitalOcean, labels={"version": "1.2"}))

    assert stub.requests == []


# ---------------------------------------------------------------------------------------------
# Pages


def test_pages_that_shift_while_they_are_read_lose_nobody(vendor: Vendor, on_stub: Open) -> None:
    """Server 1 is deleted after the first page was read: 4 moves to it, and no page shows it."""
    first, second, third, fourth, fifth = (vendor.machine(n, f"prod-worker-{n}", LABELS) for n in range(1, 6))
    cloud, stub = on_stub(
        reply(200, vendor.page([first, second, third], page=1, pages=2, total=5)),
        reply(200, vendor.page([fifth], page=2, pages=2, total=4)),
        reply(200, vendor.page([second, third, fourth], page=1, pages=2, total=4)),
        reply(200, vendor.page([fifth], page=2, pages=2, total=4)),
    )

    assert [machine.id for machine in cloud.list_owned(OWNER)] == ["2", "3", "4", "5"]
    assert len(stub.requests) == 4


def test_a_machine_on_two_pages_is_one(vendor: Vendor, on_stub: Open) -> None:
    first, second, third = (vendor.machine(n, f"prod-worker-{n}", LABELS) for n in range(1, 4))
    cloud, _ = on_stub(
        reply(200, vendor.page([first, second], page=1, pages=2, total=3)),
        reply(200, vendor.page([second, third], page=2, pages=2, total=3)),
    )

    assert [machine.id for machine in cloud.list_owned(OWNER)] == ["1", "2", "3"]


def test_a_page_that_repeats_itself_for_ever_ends(vendor: Vendor, on_stub: Open) -> None:
    machine = vendor.machine(1, "prod-worker-1", LABELS)
    cloud, stub = on_stub(reply(200, vendor.page([machine], page=1, pages=9, total=9)))

    assert [found.id for found in cloud.list_owned(OWNER)] == ["1"]
    # Three passes: a page, and the eight that its total promises.
    assert len(stub.requests) <= 27


def test_a_filter_that_the_vendor_ignores_makes_no_machine_ours(vendor: Vendor, on_stub: Open) -> None:
    ours = vendor.machine(1, "prod-worker-1", LABELS)
    theirs = vendor.machine(2, "prod-worker-2", LABELS | {"scaler-stack": "other"})
    cloud, _ = on_stub(reply(200, vendor.page([ours, theirs])))

    assert [machine.id for machine in cloud.list_owned(OWNER)] == ["1"]
    assert cloud.find("prod-worker-2", OWNER) == []
    assert [machine.id for machine in cloud.find("prod-worker-1", OWNER)] == ["1"]


def test_a_deadline_of_its_own(vendor: Vendor, clock: HurriedClock) -> None:
    """A listener that takes connections and never speaks."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}{vendor.base}"
        quick = Deadlines(connect=1, read=0.1)
        cloud = open_cloud(vendor.name, endpoint=endpoint, environ=ENVIRON, clock=clock, deadlines=quick)
        with pytest.raises(AmbiguousError, match="prod-worker-1"):
            cloud.create(request_for(vendor))


# ---------------------------------------------------------------------------------------------
# CPU use


def measured(vendor: Vendor, *points: tuple[float, float]) -> Answer:
    """What both tell of a machine with two cores; of each point, the seconds idle and busy until then."""
    if vendor is DigitalOcean:
        modes = (("idle", 0), ("user", 1))
        result = [
            {
                "metric": {"host_id": "42", "mode": mode},
                "values": [[120 * at, str(p[place])] for at, p in enumerate(points)],
            }
            for mode, place in modes
        ]
        return reply(200, {"status": "success", "data": {"resultType": "matrix", "result": result if points else []}})
    values = [[60.5 * at, f"{200 * busy / (idle + busy)}"] for at, (idle, busy) in enumerate(points)]
    moments = {"start": "2026-11-23T17:00:00+00:00", "end": "2026-11-23T17:05:00+00:00", "step": 60}
    return reply(200, {"metrics": {**moments, "time_series": {"cpu": {"values": values}}}})


def cores(vendor: Vendor) -> list[Answer]:
    """Only Hetzner has to be asked for them, of a machine that was not listed."""
    kind = {"id": 1, "name": "cpx22", "cores": 2, "architecture": "x86", "prices": [], "locations": []}
    return [reply(200, vendor.read(vendor.machine(42, "a", LABELS, server_type=kind)))] if vendor is Hetzner else []


def test_cpu_use_is_the_newest_measurement(vendor: Vendor, on_stub: Open) -> None:
    cloud, _ = on_stub(
        *cores(vendor), measured(vendor, (1000.0, 1000.0), (1060.0, 1180.0) if vendor is DigitalOcean else (1, 3))
    )
    assert cloud.cpu("42") == pytest.approx(0.75)


def test_counters_that_began_anew_tell_nothing(on_stub: Open, vendor: Vendor) -> None:
    if vendor is Hetzner:
        cloud, _ = on_stub(*cores(vendor), measured(vendor))
    else:
        cloud, _ = on_stub(measured(vendor, (1000.0, 50.0), (3.0, 51.0)))
    assert cloud.cpu("42") is None


@pytest.mark.parametrize(
    "body", [{}, {"metrics": {}}, {"data": {"result": [{"metric": {}, "values": [[1, "2"], [2, "4"]]}]}}]
)
def test_cpu_use_that_is_not_told_as_promised_is_a_passing_trouble(
    vendor: Vendor, on_stub: Open, body: dict[str, Any]
) -> None:
    cloud, _ = on_stub(*cores(vendor), *[reply(200, body)] * 4)
    with pytest.raises(TransientError, match="read the CPU use"):
        cloud.cpu("42")


# ---------------------------------------------------------------------------------------------
# What the vendors' facts ask of the adapters (V2, V6, V7)


@pytest.mark.parametrize(
    ("status", "gone"), [("success", {"42"}), ("error", set())], ids=["it ended", "it failed: the server is there"]
)
def test_v6_a_deletion_is_over_when_its_action_has_ended(
    on_stub: Open, vendor: Vendor, status: str, gone: set[str]
) -> None:
    if vendor is not Hetzner:
        pytest.skip("only at Hetzner a name is taken until the deletion has ended")
    running, ended = ({"id": 1, "command": "delete_server", "status": state} for state in ("running", status))
    cloud, stub = on_stub(
        reply(200, {"action": running}),
        reply(200, {"actions": [running]}),
        *[reply(503, {"error": {"code": "unavailable", "message": "later"}})] * 4,
        reply(200, {"actions": [{"id": 2, "status": "success"}, ended]}),
    )
    cloud.delete("42")
    assert cloud.prove_gone(["42", "43"]) == gone  # type: ignore[attr-defined]
    assert {(request.method, request.path) for request in stub.requests[1:]} == {("GET", "/v1/actions?id=1")}


def test_an_answer_without_end_or_without_bottom_is_an_error(on_stub: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaler.clouds.transport._LARGEST_BODY", 1 << 20)
    for body in ('{"servers": "' + "x" * (2 << 20) + '"}', '{"a":' * 200_000):
        cloud, _ = on_stub(reply(200, body))
        with pytest.raises(TransientError):
            cloud.get("7")
