"""`naming`: a function names new servers, and no answer of it costs a server."""

from __future__ import annotations

import pytest

from scaler.errors import ExtensionError
from scaler.model import Outcome
from tests.hooks.user_functions import extension
from tests.support.fakes import Setting, group, spec, taken


@pytest.mark.acceptance("Q11")
def test_a_naming_function_names_new_servers_and_gets_the_taken_names() -> None:
    asked: list[tuple[str, str, frozenset[str]]] = []

    def name(stack: str, group: str, taken: frozenset[str]) -> str:
        asked.append((stack, group, taken))
        return next(word for word in ("amber", "birch", "cedar", "dogwood") if word not in taken)

    setting = Setting(spec(group(naming=extension(name))))
    setting.cloud.add("amber", setting.label())
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    assert setting.ready == ["amber", "birch", "cedar"]
    assert setting.is_in_order()
    assert asked[:2] == [("prod", "worker", frozenset({"amber"})), ("prod", "worker", frozenset({"amber", "birch"}))]


@pytest.mark.acceptance("Q11")
def test_names_of_foreign_servers_count_as_taken() -> None:
    setting = Setting(spec(group(naming=extension(lambda s, g, taken: "birch" if "amber" in taken else "amber"))))
    setting.cloud.add("amber", {"someone": "else"})
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert setting.ready == ["birch"]


@pytest.mark.acceptance("Q11")
def test_two_groups_never_get_the_same_name() -> None:
    same = extension(lambda stack, group, taken: "amber")
    setting = Setting(spec(group("worker", naming=same), group("web", naming=same)))
    with pytest.raises(ExtensionError, match="it answered amber, which is taken"):
        setting.ensure(worker=1, web=1)
    assert setting.cloud.changes() == []


@pytest.mark.acceptance("Q11")
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "it answered None; a server's name is"),
        ("Not A Name", "it answered 'Not A Name'; a server's name is"),
        ("-a", "it answered '-a'; a server's name is"),
        ("a" * 64, "it answered a text of 64 characters; a server's name is"),
        ("prod-worker-1", "it answered prod-worker-1, which is taken"),
    ],
)
def test_an_unusable_name_changes_nothing(answer: object, why: str) -> None:
    setting = Setting(spec(group(naming=extension(lambda *_: answer))))
    setting.cloud.add("prod-worker-1", setting.label())
    with pytest.raises(ExtensionError) as caught:
        setting.ensure(2)
    assert why in caught.value.why
    assert setting.cloud.changes() == []


@pytest.mark.acceptance("Q11")
def test_a_function_that_fails_midway_ends_the_run_and_keeps_its_servers() -> None:
    def name(stack: str, group: str, taken: frozenset[str]) -> str:
        if "amber" in taken:
            raise LookupError("no more names")
        return "amber"

    setting = Setting(spec(group(naming=extension(name))))
    setting.cloud.hang = 1
    result = setting.ensure(1)
    assert result.outcome is Outcome.FAILED
    assert isinstance(result.failures[-1], ExtensionError)
    assert [step for step in taken(result) if step[0] == "create"] == [("create", "amber")]
