"""Many servers that find no room cost one failed request, and what there is room for is created side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from scaler.clouds import CloudError, NoCapacityError, QuotaError
from scaler.engine.plugin.operation import Operation
from scaler.model import Machine, MachineRequest, Permits
from tests.engine.plugin.client import HETZNER, OWNER, Plug

pytestmark = pytest.mark.server

LABELS = OWNER.group_labels("worker", "abc")


def request(number: int, type: str = "cx23") -> MachineRequest:
    return MachineRequest(name=f"demo-worker-{number}", type=type, location="fsn1", image="ubuntu-24.04", labels=LABELS)


def ask(operation: Operation, *requests: MachineRequest) -> list[Machine | CloudError]:
    """All at once."""

    def create(wanted: MachineRequest) -> Machine | CloudError:
        try:
            return operation.create(wanted)
        except CloudError as error:
            return error

    with ThreadPoolExecutor(max_workers=len(requests)) as pool:
        return list(pool.map(create, requests))


def test_one_failed_request_for_each_placement_without_capacity(plug: Plug) -> None:
    plugged = plug(HETZNER, Permits())
    for kind in ("cx23", "cpx22"):
        plugged.world.set_capacity("hetzner", kind, "fsn1", 0)
    wanted = [request(number, "cx23" if number % 2 else "cpx22") for number in range(16)]
    answers = ask(plugged.operation, *wanted)
    assert {type(answer) for answer in answers} == {NoCapacityError}
    assert len(plugged.requests("POST")) == 2


def test_one_failed_request_for_a_quota_that_is_used_up(plug: Plug) -> None:
    plugged = plug(HETZNER, Permits())
    plugged.world.set_quota("hetzner", servers=0)
    answers = ask(plugged.operation, *map(request, range(11)))
    assert {type(answer) for answer in answers} == {QuotaError}
    # Each is told of its own server, although one request was refused for all of them.
    whats = [answer.what for answer in answers if isinstance(answer, QuotaError)]
    assert whats == [f"Hetzner Cloud could not create server demo-worker-{number}" for number in range(11)]
    assert len({id(answer) for answer in answers}) == 11
    assert len(plugged.requests("POST")) == 1


@pytest.mark.parametrize("first", ["drop_before", "rate_limit"])
def test_another_trouble_of_the_first_holds_nobody_up(plug: Plug, first: str) -> None:
    plugged = plug(HETZNER, Permits())
    plugged.world.add_fault(first, method="POST", path="/v1/servers$", times=1)
    answers = ask(plugged.operation, *map(request, range(8)))
    assert sum(isinstance(answer, Machine) for answer in answers) >= 7
