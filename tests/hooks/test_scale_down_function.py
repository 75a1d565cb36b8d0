"""`scale_down`: a function chooses the servers to remove, and no answer of it costs another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scaler.converge.demand import Demand, Options
from scaler.errors import ExtensionError
from scaler.model import Outcome, Server
from tests.hooks.user_functions import extension
from tests.support.fakes import Setting, group, spec
from tests.support.processes import server


def choosing(choose: Callable[..., Any], **fields: Any) -> Setting:
    return Setting(spec(group(scale_down=extension(choose), **fields))).with_servers(worker=5)


@pytest.mark.acceptance("Q11")
def test_a_function_chooses_the_servers_to_remove() -> None:
    offered: list[tuple[list[str], int]] = []

    def choose(servers: tuple[Server, ...], count: int) -> Iterator[Server]:
        offered.append((sorted(item.name for item in servers), count))
        return (item for item in servers if item.name[-1] in "245")

    setting = choosing(choose, protect=frozenset({"prod-worker-5"}))
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-1", "prod-worker-3", "prod-worker-5"]
    assert offered[0] == (["prod-worker-1", "prod-worker-2", "prod-worker-3", "prod-worker-4"], 2)


@pytest.mark.acceptance("Q11")
def test_the_function_is_called_only_if_there_is_a_choice() -> None:
    def choose(servers: tuple[Server, ...], count: int) -> list[Server]:
        raise AssertionError("nobody asked")

    setting = choosing(choose)
    setting.cloud.add("prod-worker-6", setting.label(), ready=False)
    assert setting.ensure(5).outcome is Outcome.CONVERGED  # what is not ready goes first
    assert setting.ready == [f"prod-worker-{number}" for number in (1, 2, 3, 4, 5)]
    assert setting.ensure(0).outcome is Outcome.CONVERGED
    assert setting.owned == []


@pytest.mark.acceptance("Q11")
def test_the_reason_names_the_function() -> None:
    setting = choosing(lambda servers, count: servers)
    planned = setting.run(Demand(counts={"worker": 4}), Options(apply=False))
    (report,) = planned.steps
    assert report.step.reason == "worker wants 4, has 5: chosen by fleet:function"


def raises(servers: tuple[Server, ...], count: int) -> list[Server]:
    raise KeyError("jobs")


def raises_late(servers: tuple[Server, ...], count: int) -> Iterator[Server]:
    yield servers[0]
    raise KeyError("jobs")


@pytest.mark.acceptance("Q11")
@pytest.mark.parametrize(
    ("choose", "why"),
    [
        (raises, "KeyError: 'jobs'"),
        (raises_late, "KeyError: 'jobs'"),
        (lambda servers: servers, "TypeError"),
        (lambda servers, count: None, "it answered None, not servers"),
        (lambda servers, count: "prod-worker-1", "it answered 'prod-worker-1', not servers"),
        (lambda servers, count: "s3cret " * 10, "it answered a text of 70 characters, not servers"),
        (lambda servers, count: [item.name for item in servers], "not servers"),
        (lambda servers, count: servers[:1], "it chose 1 of 4 servers, and 2 have to go"),
        (lambda servers, count: [servers[0], servers[0]], "it chose 1 of 4 servers, and 2 have to go"),
        (
            lambda servers, count: [servers[0], server("prod-worker-1")],
            "it chose prod-worker-1, which it was not offered",
        ),
    ],
)
def test_an_unusable_choice_changes_nothing(choose: Callable[..., Any], why: str) -> None:
    setting = choosing(choose, protect=frozenset({"prod-worker-1"}))
    with pytest.raises(ExtensionError) as caught:
        setting.ensure(3)
    assert why in caught.value.why
    assert "fleet:function" in caught.value.what
    assert setting.cloud.changes() == []
    assert len(setting.ready) == 5
