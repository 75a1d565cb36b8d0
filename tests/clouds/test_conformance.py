"""One suite for every cloud: the official client, our transport and the embedded cloud, over real HTTP.

Each test asserts on the world that results: what exists, and what was asked of the API.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, cast
from uuid import uuid4

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
from scaler.model import ImageRef, Machine, MachineRequest
from scaler.model.lifecycle import Phase
from scaler.model.ownership import Owner, encode_tags
from scaler.simulator import EmbeddedCloud, SimulatedWorld
from tests.support.http_stub import HurriedClock
from tests.support.vendors import ENVIRON, DigitalOcean, Hetzner, Vendor

pytestmark = pytest.mark.server

OWNER = Owner("shop", "prod")
LABELS = OWNER.group_labels("worker", "a1b2")
OTHERS = [
    Owner("shop", "staging").group_labels("worker", "a1b2"),
    Owner("other", "prod").group_labels("worker", "a1b2"),
    {"role": "worker"},
    {**OWNER.labels},
    {**LABELS, "managed-by": "terraform"},
    {},
]


class BulkCloud(Cloud, Protocol):
    """A cloud that can tell of many machines at once whether they are gone."""

    def prove_gone(self, ids: Collection[str]) -> frozenset[str]: ...


@dataclass
class Setting:
    """A cloud under test, and the world behind it."""

    vendor: Vendor
    cloud: Cloud
    world: SimulatedWorld
    clock: HurriedClock
    endpoint: str

    @property
    def image(self) -> str:
        snapshot = self.world.find(self.vendor.name, "snapshot", "worker-golden")[0]
        return str(snapshot.id)

    def request(self, name: str = "prod-worker-1", **more: Any) -> MachineRequest:
        size = "cx23" if self.vendor is Hetzner else "s-1vcpu-2gb"
        given = {"type": size, "location": self.vendor.location, "image": self.image, "labels": LABELS}
        return MachineRequest(name=name, **(given | more))

    def fault(self, effect: str, method: str = "POST", path: str | None = None, **parameters: Any) -> None:
        self.world.add_fault(effect, method=method, path=self.vendor.machines if path is None else path, **parameters)

    def names(self) -> list[str | None]:
        return [server.name for server in self.world.servers(self.vendor.name)]

    def foreign(self, name: str, labels: dict[str, str]) -> None:
        self.world.add_server(self.vendor.name, name, labels=labels, tags=encode_tags(labels))

    def asked(self, method: str) -> list[str]:
        return [row.path for row in self.world.log() if row.method == method]


@pytest.fixture
def setting(vendor: Vendor, tmp_path: Path) -> Iterator[Setting]:
    with EmbeddedCloud(tmp_path / "world.db", profile="instant") as embedded:
        clock = HurriedClock(on_sleep=embedded.world.advance)
        endpoint = embedded.hetzner_endpoint if vendor is Hetzner else embedded.digitalocean_endpoint
        quick = Deadlines(connect=5, read=10)
        cloud = open_cloud(vendor.name, endpoint=endpoint, environ=ENVIRON, clock=clock, deadlines=quick)
        yield Setting(vendor, cloud, embedded.world, clock, endpoint)
        cloud.close()


# ---------------------------------------------------------------------------------------------
# The life of a machine


def test_what_was_created_is_listed_found_and_read(setting: Setting) -> None:
    made = setting.cloud.create(setting.request())

    assert made.name == "prod-worker-1"
    assert made.phase in (Phase.BOOTING, Phase.RUNNING)
    assert made.labels == LABELS
    assert made.location == setting.vendor.location
    assert made.image == setting.image
    assert setting.names() == ["prod-worker-1"]
    for seen in (*setting.cloud.list_owned(OWNER), *setting.cloud.find(made.name, OWNER), setting.cloud.get(made.id)):
        assert replace(seen, phase=made.phase, details={}) == replace(
            made,
            ipv4=seen.ipv4,
            ipv6=seen.ipv6,
            private_ip=seen.private_ip,
            vendor_status=seen.vendor_status,
            locked=seen.locked,
            details={},
        )
        assert seen.phase is Phase.RUNNING
        assert seen.ipv4


def test_create_returns_before_the_machine_has_booted(setting: Setting) -> None:
    setting.world.set_knobs(boot_s=3600)

    made = setting.cloud.create(setting.request())

    assert made.phase is Phase.BOOTING
    assert made.vendor_status == ("initializing" if setting.vendor is Hetzner else "new")
    assert len(setting.world.log()) == 1
    setting.world.advance(7200)
    assert setting.cloud.get(made.id).phase is Phase.RUNNING


def test_what_was_deleted_is_gone(setting: Setting) -> None:
    made = setting.cloud.create(setting.request())

    setting.cloud.delete(made.id)

    assert setting.names() == []
    assert setting.cloud.list_owned(OWNER) == []
    assert setting.cloud.find(made.name, OWNER) == []
    for call in (setting.cloud.get, setting.cloud.delete, setting.cloud.power_on, setting.cloud.reboot):
        with pytest.raises(GoneError):
            call(made.id)


@pytest.mark.acceptance("P35", "Q05")
def test_the_accounts_servers_are_counted_and_deleted_ones_no_longer(setting: Setting) -> None:
    made = [setting.cloud.create(setting.request(f"prod-worker-{number}")) for number in (1, 2, 3)]
    assert len(setting.cloud.list_owned(OWNER)) == 3
    told = setting.cloud.limits()
    # Hetzner tells an account's limit nowhere, nor how much of it is used.
    assert told.in_use == (None if setting.vendor is Hetzner else 3)

    setting.cloud.delete(made[0].id)

    assert len(setting.cloud.list_owned(OWNER)) == 2
    assert setting.cloud.limits().in_use == (None if setting.vendor is Hetzner else 2)


@pytest.mark.acceptance("P36")
def test_a_machine_that_never_was_is_gone(setting: Setting) -> None:
    for ask in (setting.cloud.get, setting.cloud.delete):
        with pytest.raises(GoneError):
            ask("987654321")


def test_a_delete_that_takes_its_time_returns_at_once(setting: Setting) -> None:
    setting.world.set_knobs(delete_s=600, visible_after_delete_s=600)
    made = setting.cloud.create(setting.request())

    setting.cloud.delete(made.id)

    assert len(setting.asked("DELETE")) == 1
    setting.world.advance(700)
    with pytest.raises(GoneError):
        setting.cloud.get(made.id)


def test_the_end_of_many_deletions_is_told_in_bulk(setting: Setting) -> None:
    made = [setting.cloud.create(setting.request(f"prod-worker-{number}")) for number in range(1, 62)]
    deleted, left = {machine.id for machine in made[:60]}, made[60]
    setting.world.set_knobs(delete_s=3)
    for machine in made[:60]:
        setting.cloud.delete(machine.id)
    before = len(setting.asked("GET"))

    assert cast(BulkCloud, setting.cloud).prove_gone([*deleted, left.id]) == deleted

    # Hetzner: three requests for 25 actions each, while they run and when they have ended. DigitalOcean: two lists.
    assert len(setting.asked("GET")) - before <= (15 if setting.vendor is Hetzner else 2)
    assert setting.names() == [left.name]
    setting.cloud.create(setting.request(made[0].name))


def test_a_deletion_that_goes_on_proves_nothing(setting: Setting) -> None:
    made = [setting.cloud.create(setting.request(f"prod-worker-{number}")) for number in range(1, 31)]
    setting.world.set_knobs(delete_s=3600, visible_after_delete_s=3600)
    for machine in made:
        setting.cloud.delete(machine.id)

    assert cast(BulkCloud, setting.cloud).prove_gone([machine.id for machine in made]) == frozenset()


def test_each_power_call_changes_the_phase(setting: Setting) -> None:
    made = setting.cloud.create(setting.request())

    for call in (setting.cloud.power_off, setting.cloud.power_off):
        call(made.id)
        assert setting.cloud.get(made.id).phase is Phase.OFF
    setting.cloud.power_on(made.id)
    assert setting.cloud.get(made.id).phase is Phase.RUNNING
    setting.cloud.reboot(made.id)
    assert setting.cloud.get(made.id).phase is Phase.RUNNING
    setting.cloud.shutdown(made.id)
    assert setting.cloud.get(made.id).phase is Phase.OFF


def test_labels_become_exactly_what_was_said(setting: Setting) -> None:
    made = setting.cloud.create(setting.request(labels={**LABELS, "role": "web", "old": "x"}))
    wanted = {**LABELS, "scaler-template": "c3d4", "role": "web", "flag": ""}

    setting.cloud.set_labels(made.id, wanted)

    assert setting.cloud.get(made.id).labels == wanted
    assert [machine.id for machine in setting.cloud.list_owned(OWNER)] == [made.id]


# ---------------------------------------------------------------------------------------------
# Whose machines


def test_only_our_own_are_listed_and_found(setting: Setting) -> None:
    """Neither a name with our prefix nor some of our labels make a machine ours."""
    for number, labels in enumerate(OTHERS, 2):
        setting.foreign(f"prod-worker-{number}", labels)
    made = setting.cloud.create(setting.request())

    assert [machine.id for machine in setting.cloud.list_owned(OWNER)] == [made.id]
    assert all(setting.cloud.find(f"prod-worker-{number}", OWNER) == [] for number in range(2, 2 + len(OTHERS)))
    assert len(setting.names()) == 1 + len(OTHERS)


def test_machines_come_oldest_first(setting: Setting) -> None:
    for number in (3, 1, 2):
        setting.cloud.create(setting.request(f"prod-worker-{number}"))
        setting.world.advance(5)

    listed = setting.cloud.list_owned(OWNER)

    assert [machine.name for machine in listed] == ["prod-worker-3", "prod-worker-1", "prod-worker-2"]


def test_a_hundred_and_twenty_machines_take_one_request_a_page(setting: Setting) -> None:
    for number in range(120):
        setting.foreign(f"prod-worker-{number}", LABELS)
        setting.foreign(f"other-{number}", {"role": "other"})
    before = setting.cloud.requests

    listed = setting.cloud.list_owned(OWNER)

    assert len({machine.id for machine in listed}) == 120
    pages = 3 if setting.vendor is Hetzner else 1
    assert len(setting.world.log()) == pages
    assert setting.cloud.requests.list - before.list == pages


def test_several_droplets_of_one_name_are_all_found_oldest_first(tmp_path: Path) -> None:
    with EmbeddedCloud(tmp_path / "world.db", profile="instant") as embedded:
        cloud = open_cloud(
            "digitalocean", endpoint=embedded.digitalocean_endpoint, environ=ENVIRON, clock=HurriedClock()
        )
        for tags in (encode_tags(LABELS), ["theirs"], encode_tags(LABELS)):
            embedded.world.add_server("digitalocean", "prod-worker-1", tags=tags)
            embedded.world.advance(5)
        embedded.world.add_server("digitalocean", "PROD-worker-1", tags=encode_tags(LABELS))

        found = cloud.find("prod-worker-1", OWNER)
        ours = [server.id for server in embedded.world.servers("digitalocean") if "scaler" in server.body["tags"]]

    assert [machine.id for machine in found] == [str(number) for number in ours[:2]]


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    with EmbeddedCloud(tmp_path / "world.db", profile="instant") as embedded:
        clock = HurriedClock()
        cloud = open_cloud("hetzner", endpoint=embedded.hetzner_endpoint, environ=ENVIRON, clock=clock)
        setting = Setting(Hetzner, cloud, embedded.world, clock, embedded.hetzner_endpoint)
        cloud.create(setting.request())

        with pytest.raises(NameTakenError) as caught:
            cloud.create(setting.request())

        assert "uniqueness_error" in caught.value.why
        assert setting.names() == ["prod-worker-1"]


# ---------------------------------------------------------------------------------------------
# No machine lost, none doubled


@pytest.mark.parametrize(
    ("effect", "parameters"),
    [
        ("accept_then_drop", {}),
        ("accept_then_status", {"status": 500}),
        ("accept_then_status", {"status": 502}),
        ("accept_then_status", {"status": 503}),
        ("accept_then_status", {"status": 504}),
        ("truncated_json", {}),
        ("null_fields", {"fields": ["status"]}),
    ],
    ids=str,
)
def test_a_create_that_was_carried_out_without_an_answer(
    setting: Setting, effect: str, parameters: dict[str, Any]
) -> None:
    setting.fault(effect, **parameters)

    with pytest.raises(AmbiguousError):
        setting.cloud.create(setting.request())

    assert setting.names() == ["prod-worker-1"]
    assert [machine.name for machine in setting.cloud.find("prod-worker-1", OWNER)] == ["prod-worker-1"]
    assert len(setting.asked("POST")) == 1


@pytest.mark.parametrize("effect", ["drop_before", "html_502"])
def test_a_create_that_was_not_carried_out_looks_the_same_and_is_not_sent_again(setting: Setting, effect: str) -> None:
    setting.fault(effect)

    with pytest.raises(AmbiguousError):
        setting.cloud.create(setting.request())

    assert setting.names() == []
    assert setting.cloud.find("prod-worker-1", OWNER) == []
    assert len(setting.asked("POST")) == 1


@pytest.mark.parametrize("seconds", [1.0, None])
def test_a_hang_longer_than_our_deadline(setting: Setting, seconds: float | None) -> None:
    """Whether it is carried out after we have turned away, only a look can tell."""
    impatient = open_cloud(
        setting.vendor.name,
        endpoint=setting.endpoint,
        environ=ENVIRON,
        clock=setting.clock,
        deadlines=Deadlines(connect=1, read=0.2),
    )
    parameters: dict[str, Any] = {} if seconds is None else {"seconds": seconds}
    setting.fault("hang_forever" if seconds is None else "hang", **parameters)

    with pytest.raises(AmbiguousError):
        impatient.create(setting.request())

    assert len(setting.asked("POST")) == 1


@pytest.mark.parametrize(
    ("effect", "parameters"),
    [("accept_then_drop", {}), ("accept_then_status", {"status": 503}), ("drop_before", {})],
    ids=str,
)
def test_a_delete_without_an_answer_is_sent_until_it_is_gone(
    setting: Setting, effect: str, parameters: dict[str, Any]
) -> None:
    made = setting.cloud.create(setting.request())
    setting.fault(effect, "DELETE", **parameters)

    carried_out = effect != "drop_before"
    if carried_out:
        with pytest.raises(GoneError):
            setting.cloud.delete(made.id)
    else:
        setting.cloud.delete(made.id)

    assert setting.names() == []
    assert len(setting.asked("DELETE")) == 2


@pytest.mark.parametrize(
    ("effect", "parameters"),
    [
        ("drop_before", {}),
        ("html_502", {}),
        ("truncated_json", {}),
        ("accept_then_status", {"status": 503}),
        ("respond", {"status": 500, "code": "server_error", "message": "Unexpected"}),
    ],
    ids=str,
)
def test_a_list_survives_what_passes(setting: Setting, effect: str, parameters: dict[str, Any]) -> None:
    made = setting.cloud.create(setting.request())
    setting.fault(effect, "GET", times=2, **parameters)

    assert [machine.id for machine in setting.cloud.list_owned(OWNER)] == [made.id]
    assert setting.cloud.requests.retried == 2


def test_a_list_that_fails_for_good_is_an_error_and_never_an_empty_one(setting: Setting) -> None:
    setting.cloud.create(setting.request())
    setting.fault("html_502", "GET", times=None)

    with pytest.raises(TransientError):
        setting.cloud.list_owned(OWNER)


def test_null_fields_in_a_list_are_an_error(setting: Setting) -> None:
    setting.cloud.create(setting.request())
    setting.fault("null_fields", "GET", times=None, fields=["labels", "tags"])

    with pytest.raises(TransientError):
        setting.cloud.list_owned(OWNER)


def test_fifty_threads_create_fifty_machines(setting: Setting) -> None:
    names = [f"prod-worker-{number}" for number in range(1, 51)]
    with ThreadPoolExecutor(50) as threads:
        made = list(threads.map(lambda name: setting.cloud.create(setting.request(name)), names))

    assert sorted(machine.name for machine in made) == sorted(names)
    assert len({machine.id for machine in made}) == 50
    assert sorted(map(str, setting.names())) == sorted(names)
    assert setting.cloud.requests.create == len(setting.asked("POST")) <= 50
    assert len(setting.cloud.list_owned(OWNER)) == 50


def test_fifty_threads_under_faults_lose_and_double_nothing(setting: Setting) -> None:
    """Every machine of the world is either returned, or reported as ambiguous under its name."""
    # Fifty requests at Hetzner; at DigitalOcean as few as five, of ten names each.
    times = 5 if setting.vendor.name == "hetzner" else 1
    setting.fault("accept_then_drop", skip=times, times=times)
    setting.fault("drop_before", skip=2 * times, times=times)
    setting.fault("accept_then_status", skip=3 * times, times=times, status=504)
    names = [f"prod-worker-{number}" for number in range(1, 51)]

    def create(name: str) -> Machine | CloudError:
        try:
            return setting.cloud.create(setting.request(name))
        except CloudError as error:
            return error

    with ThreadPoolExecutor(50) as threads:
        results = dict(zip(names, threads.map(create, names), strict=True))

    ambiguous = {name for name, result in results.items() if isinstance(result, AmbiguousError)}
    made = {name for name, result in results.items() if isinstance(result, Machine)}
    exist = setting.names()
    assert len(exist) == len(set(exist))
    assert made | ambiguous == set(names)
    unanswered = [row for row in setting.world.log() if row.effects]
    assert ambiguous == {name for row in unanswered for name in row.names} != set()
    assert set(names) - set(exist) == {
        name for row in unanswered if row.effects == ("drop_before",) for name in row.names
    }


# ---------------------------------------------------------------------------------------------
# Refusals of a real world


def test_no_capacity(setting: Setting) -> None:
    request = setting.request()
    setting.world.set_capacity(setting.vendor.name, request.type, request.location, 0)

    with pytest.raises(NoCapacityError):
        setting.cloud.create(request)

    assert setting.names() == []
    assert len(setting.asked("POST")) == 1


def test_the_accounts_quota(setting: Setting) -> None:
    setting.world.set_quota(setting.vendor.name, **{"servers" if setting.vendor is Hetzner else "droplets": 1})
    setting.cloud.create(setting.request())

    with pytest.raises(QuotaError):
        setting.cloud.create(setting.request("prod-worker-2"))

    assert setting.names() == ["prod-worker-1"]


def test_credentials_that_are_revoked_or_may_only_read(setting: Setting) -> None:
    setting.world.set_tokens(setting.vendor.name, readonly=True)
    with pytest.raises(AuthError):
        setting.cloud.create(setting.request())
    assert setting.cloud.list_owned(OWNER) == []

    setting.world.set_tokens(setting.vendor.name, revoked=True)
    with pytest.raises(AuthError) as caught:
        setting.cloud.list_owned(OWNER)
    assert caught.value.exit_code == 77
    assert setting.names() == []


@pytest.mark.parametrize(
    "wrong", [{"type": "cx99"}, {"location": "mars"}, {"image": "1"}, {"name": "no_host name"}], ids=str
)
def test_a_request_that_is_wrong(setting: Setting, wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidError):
        setting.cloud.create(setting.request(**wrong))

    assert setting.names() == []
    assert len(setting.asked("POST")) == 1


def test_a_busy_machine_is_waited_for_a_little(setting: Setting) -> None:
    setting.world.set_knobs(power_s=2)
    setting.world.set_speed(0)
    made = setting.cloud.create(setting.request())
    setting.cloud.power_off(made.id)

    setting.cloud.power_on(made.id)  # locked until the power-off has ended

    assert sum(setting.clock.slept) >= 2
    setting.world.advance(10)
    assert setting.cloud.get(made.id).phase is Phase.RUNNING


def test_a_machine_that_stays_busy(setting: Setting) -> None:
    setting.world.set_knobs(power_s=86400)
    made = setting.cloud.create(setting.request())
    setting.cloud.power_off(made.id)

    with pytest.raises(BusyError):
        setting.cloud.reboot(made.id)

    assert len([path for path in setting.asked("POST") if path.endswith("reboot")]) == (
        4 if setting.vendor is Hetzner else 0
    )


def test_a_protected_server(tmp_path: Path) -> None:
    with EmbeddedCloud(tmp_path / "world.db", profile="instant") as embedded:
        clock = HurriedClock()
        cloud = open_cloud("hetzner", endpoint=embedded.hetzner_endpoint, environ=ENVIRON, clock=clock)
        setting = Setting(Hetzner, cloud, embedded.world, clock, embedded.hetzner_endpoint)
        made = cloud.create(setting.request())
        setting.fault("respond", "DELETE", status=423, code="protected", message="server deletion is protected")

        with pytest.raises(ProtectedError):
            cloud.delete(made.id)

        assert setting.names() == ["prod-worker-1"]


# ---------------------------------------------------------------------------------------------
# Rate limits


@pytest.mark.acceptance("S09")
def test_a_burst_is_spread_and_nothing_fails(setting: Setting) -> None:
    """More creates than the budget holds: they wait for the vendor, and all of them come to be."""
    limits = {"per_hour": 25} if setting.vendor is Hetzner else {"per_hour": 5000, "per_minute": 20}
    setting.world.set_rate_limit(setting.vendor.name, **limits)
    patient = Deadlines(budget=7 * 86400, read=86400)
    cloud = open_cloud(
        setting.vendor.name, endpoint=setting.endpoint, environ=ENVIRON, clock=setting.clock, deadlines=patient
    )
    names = [f"prod-worker-{number}" for number in range(1, 31)]
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda name: cloud.create(setting.request(name)), names))

    assert sorted(map(str, setting.names())) == sorted(names)
    if setting.vendor is Hetzner:
        # The headers tell in time, so that no request is refused.
        assert {row.status for row in setting.world.log()} == {201}


@pytest.mark.acceptance("S09")
def test_without_budget_for_a_long_time_the_reset_is_told(setting: Setting) -> None:
    setting.fault("rate_limit", times=None, headers={"retry-after": "1200"})

    with pytest.raises(RateLimitedError) as caught:
        setting.cloud.create(setting.request())

    assert caught.value.reset is not None
    assert caught.value.reset > setting.clock.now()
    assert setting.names() == []


def test_the_budget_is_known_from_the_headers(setting: Setting) -> None:
    setting.cloud.list_owned(OWNER)
    limits = setting.cloud.limits()

    assert limits.requests_left is not None
    assert 3000 < limits.requests_left < 5000
    assert limits.servers == (None if setting.vendor is Hetzner else 1000)


def test_connections_to_one_account_share_its_budget_and_count_for_themselves(setting: Setting) -> None:
    shared = Deadlines()

    def opened(environ: dict[str, str]) -> Any:
        return open_cloud(
            setting.vendor.name, endpoint=setting.endpoint, environ=environ, clock=setting.clock, deadlines=shared
        )

    first, second = opened(ENVIRON), opened(ENVIRON)
    stranger = opened({name: "other" + value[5:] for name, value in ENVIRON.items()})
    first.list_owned(OWNER)
    told = first.limits().requests_left
    assert told is not None
    # The limit per minute, where there is one, is known without asking.
    assert second.rate_wait(10 * told) > stranger.rate_wait(10 * told)
    assert first.requests.list >= 1
    assert second.requests.total == 0


# ---------------------------------------------------------------------------------------------
# What a spec names


def find(setting: Setting, kind: Any, value: str, architecture: str = "x86") -> Any:
    return setting.cloud.find_image(ImageRef(kind, value), architecture, setting.vendor.location)


def test_an_image_by_labels_is_the_newest_that_is_available(setting: Setting) -> None:
    name = setting.vendor.name
    setting.world.advance(10)
    newest = setting.world.add_snapshot(name, "worker-golden-2", labels={"role": "worker", "env": "prod"})
    setting.world.advance(10)
    setting.world.add_snapshot(name, "worker-golden-3", labels={"role": "worker"}, ready_in=3600)
    setting.world.add_snapshot(name, "other", labels={"role": "other"})

    assert find(setting, "selector", "role=worker").id == str(newest.id)
    assert find(setting, "selector", "role=worker,env=prod").id == str(newest.id)
    with pytest.raises(InvalidError, match="role"):
        find(setting, "selector", "role=wroker")


def test_an_image_by_name_id_or_slug(setting: Setting) -> None:
    found = find(setting, "name", "worker-golden")
    assert (found.id, found.name, found.available) == (setting.image, "worker-golden", True)
    assert found.disk == (40 if setting.vendor is Hetzner else 25)
    assert find(setting, "id", setting.image).id == setting.image
    slug = "ubuntu-24.04" if setting.vendor is Hetzner else "ubuntu-24-04-x64"
    assert find(setting, "slug", slug).name == slug


@pytest.mark.parametrize(("kind", "value"), [("name", "worker-goldn"), ("id", "1"), ("slug", "ubuntu-24.4")])
def test_an_image_that_is_not_there_names_the_nearest(setting: Setting, kind: str, value: str) -> None:
    with pytest.raises(InvalidError) as caught:
        find(setting, kind, value)

    told = f"{caught.value.why} {caught.value.fix}"
    expected = {"name": "worker-golden", "id": setting.image, "slug": "ubuntu-"}[kind]
    assert expected in told
    assert value in caught.value.what


def test_an_image_by_an_unknown_id_offers_only_those_of_the_architecture(setting: Setting) -> None:
    if setting.vendor is Hetzner:
        with pytest.raises(InvalidError, match="no arm image 1") as caught:
            find(setting, "id", "1", architecture="arm")
        assert setting.image not in caught.value.why


def test_an_image_that_cannot_be_used_here(setting: Setting) -> None:
    unfinished = setting.world.add_snapshot(setting.vendor.name, "unfinished", ready_in=3600)
    with pytest.raises(InvalidError):
        find(setting, "id", str(unfinished.id))
    with pytest.raises(InvalidError):
        find(setting, "name", "unfinished")
    with pytest.raises(InvalidError, match="arm" if setting.vendor is Hetzner else "worker-golden"):
        find(setting, "name", "worker-golden", architecture="arm")
    if setting.vendor is DigitalOcean:
        setting.world.add_snapshot("digitalocean", "far", regions=["nyc3"])
        with pytest.raises(InvalidError) as caught:
            find(setting, "name", "far")
        assert "nyc3" in caught.value.why


def test_references_by_name_and_id(setting: Setting) -> None:
    number = str(setting.world.find(setting.vendor.name, "ssh_key", "deploy")[0].id)

    assert setting.cloud.reference("ssh_key", "deploy") == number
    assert setting.cloud.reference("ssh_key", number) == number
    with pytest.raises(InvalidError, match="deplyo") as caught:
        setting.cloud.reference("ssh_key", "deplyo")
    assert "deploy" in caught.value.fix


@pytest.mark.parametrize("kind", ["network", "firewall", "placement_group", "vpc"])
def test_references_to_nothing(setting: Setting, kind: Any) -> None:
    with pytest.raises(InvalidError):
        setting.cloud.reference(kind, "nothing")


def test_a_network_serves_the_zone_of_its_subnets(setting: Setting) -> None:
    """V3: Hetzner refuses the create alone, DigitalOcean a VPC of another region."""
    is_hetzner = setting.vendor is Hetzner
    kind: Any = "network" if is_hetzner else "vpc"
    for name, places in (
        {"here": [0], "there": [1], "bare": []}.items() if is_hetzner else {"here": [0], "there": [1]}.items()
    ):
        subnets = [
            {
                "type": "cloud",
                "ip_range": "10.0.0.0/24",
                "network_zone": ("eu-central", "us-east")[place],
                "gateway": "10.0.0.1",
            }
            for place in places
        ]
        network = {"ip_range": "10.0.0.0/16", "labels": {}, "subnets": subnets}
        vpc = {
            "uuid": str(uuid4()),
            "region": ("fra1", "nyc3")[sum(places)],
            "ip_range": "10.9.0.0/20",
            "description": "",
        }
        setting.world.add(setting.vendor.name, kind, name, network if is_hetzner else vpc)
    ids = {name: setting.cloud.reference(kind, name) for name in ("here", "there")}

    def check(id: str, location: str = setting.vendor.location) -> Any:
        named = {"networks": (id,)} if is_hetzner else {"vpc": id}
        return setting.cloud.check_request(setting.request(location=location, **named))  # type: ignore[attr-defined]

    assert [room.most for room in check(ids["here"])] == ([253] if is_hetzner else [])
    with pytest.raises(InvalidError, match="there") as raised:
        check(ids["there"])
    assert ("us-east" if is_hetzner else "nyc3") in raised.value.why
    if is_hetzner:
        with pytest.raises(InvalidError, match="bare") as raised:
            check(setting.cloud.reference(kind, "bare"))
        assert raised.value.why == "it has no subnet for servers"
        assert check(ids["there"], "ash")
    reads = {path: setting.asked("GET").count(path) for path in set(setting.asked("GET"))}
    assert set(reads.values()) == {1}, "one list per kind"


def test_the_catalogue(setting: Setting) -> None:
    request = setting.request()
    catalogue = setting.cloud.catalogue()

    offer = catalogue.offer(request.type, request.location)
    assert offer is not None
    assert offer.available
    assert offer.architecture == "x86"
    assert catalogue.currency == ("EUR" if setting.vendor is Hetzner else "USD")
    expected = (Decimal("5.49"), 40) if setting.vendor is Hetzner else (Decimal("12.0"), 50)
    assert (offer.per_month, offer.disk) == expected
    assert Decimal(0) < (offer.per_hour or 0) < (offer.per_month or 0)
    assert bool(catalogue.ipv4_per_month) is (setting.vendor is Hetzner)

    setting.world.set_capacity(setting.vendor.name, request.type, request.location, 0)
    sold_out = setting.cloud.catalogue().offer(request.type, request.location)
    if setting.vendor is Hetzner:
        assert sold_out is not None
        assert not sold_out.available


def test_a_type_that_is_withdrawn(tmp_path: Path) -> None:
    with EmbeddedCloud(tmp_path / "world.db", profile="instant") as embedded:
        clock = HurriedClock()
        cloud = open_cloud("hetzner", endpoint=embedded.hetzner_endpoint, environ=ENVIRON, clock=clock)
        embedded.world.deprecate("hetzner", "cx23")

        offer = cloud.catalogue().offer("cx23", "fsn1")

    assert offer is not None
    assert offer.deprecated_after is not None


# ---------------------------------------------------------------------------------------------
# Accounting


def test_requests_are_counted_by_kind(setting: Setting) -> None:
    made = setting.cloud.create(setting.request())
    setting.cloud.list_owned(OWNER)
    setting.cloud.find(made.name, OWNER)
    setting.cloud.get(made.id)
    setting.cloud.delete(made.id)

    counted = setting.cloud.requests
    assert (counted.total, counted.create, counted.list, counted.retried) == (5, 1, 2, 0)
    assert len(setting.world.log()) == 5


def test_the_token_is_in_no_log(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    setting.cloud.create(setting.request())
    with pytest.raises(CloudError):
        setting.cloud.get("1")

    assert ENVIRON["HCLOUD_TOKEN"] not in caplog.text


# ---------------------------------------------------------------------------------------------
# CPU use


def loaded(setting: Setting, size: str) -> Machine:
    """A machine that has run for a quarter of an hour by the cloud's clock, a quarter busy in the end."""
    made = setting.cloud.create(setting.request(type=size, monitoring=True))
    setting.world.set_cpu(setting.vendor.name, int(made.id), 0.8)
    setting.clock.sleep(600)
    setting.world.set_cpu(setting.vendor.name, int(made.id), 0.25)
    setting.clock.sleep(300)
    return made


def test_cpu_use_is_a_share_of_all_cores(setting: Setting) -> None:
    made = loaded(setting, "cpx22" if setting.vendor is Hetzner else "s-2vcpu-4gb")
    assert setting.cloud.cpu(made.id) == pytest.approx(0.25, abs=0.02)
    setting.cloud.list_owned(OWNER)
    setting.world.clear_log()
    assert setting.cloud.cpu(made.id) == pytest.approx(0.25, abs=0.02)
    assert len(setting.world.log()) == 1, "one request for each machine, once they were listed"


def test_cpu_use_of_a_machine_that_was_not_measured_yet_is_none(setting: Setting) -> None:
    setting.world.set_knobs(boot_s=3600)
    made = setting.cloud.create(setting.request(monitoring=True))
    assert setting.cloud.cpu(made.id) is None


def test_cpu_use_of_no_machine_is_gone(setting: Setting) -> None:
    for nobody in ("987654321", "x"):
        with pytest.raises(GoneError):
            setting.cloud.cpu(nobody)


def test_a_droplet_without_monitoring_is_refused_by_name(setting: Setting) -> None:
    made = setting.cloud.create(setting.request())
    if setting.vendor is Hetzner:
        assert setting.cloud.cpu(made.id) == pytest.approx(0.01), "Hetzner measures every server"
        return
    with pytest.raises(InvalidError, match=f"does not measure the CPU use of droplet {made.id}") as refused:
        setting.cloud.cpu(made.id)
    assert "monitoring: true" in refused.value.fix
