"""Functions that the spec names (Q11): how they are found, and that no answer of theirs costs a wrong server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import create_server
from typing import Any

import pytest

import scaler.config.spec
from scaler.converge.demand import Demand, Options
from scaler.errors import ExtensionError, InvalidSpecError
from scaler.hooks.functions import CannotLoadError, load
from scaler.hooks.readiness import ReadinessChecker
from scaler.model import Extension, Outcome, Readiness, Server
from scaler.records.plan_file import spec_hash
from tests.support.fakes import Setting, group, spec, taken
from tests.support.processes import HandClock, server, wait_until

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "extend.md"


def extension(function: Callable[..., Any]) -> Extension:
    return Extension("fleet:function", function)


def module(folder: Path, text: str, name: str = "fleet") -> Path:
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return folder


# ---------------------------------------------------------------------------------------------
# Finding them


def test_the_project_folder_comes_first(tmp_path: Path) -> None:
    module(tmp_path, "def loads(text): return 'ours'", "json")
    assert load("json:loads", tmp_path)("1") == "ours"
    import json

    assert json.loads("1") == 1
    assert load("colorsys:rgb_to_hsv", tmp_path)(0, 0, 0) == (0, 0, 0)


def test_two_projects_may_have_modules_of_one_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        module(tmp_path / name, f"def which(): return '{name}'")
    assert [load("fleet:which", tmp_path / name)() for name in ("one", "two")] == ["one", "two"]


def test_functions_of_one_module_share_it(tmp_path: Path) -> None:
    module(tmp_path, "seen = []\ndef note(): seen.append(1)\ndef count(): return len(seen)")
    load("fleet:note", tmp_path)()
    assert load("fleet:count", tmp_path)() == 1


def test_a_package_of_the_project_and_what_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / "ops").mkdir()
    module(tmp_path / "ops", "from beside_the_fleet import NAME\ndef name(): return NAME")
    module(tmp_path, "NAME = 'found'", "beside_the_fleet")
    assert load("ops.fleet:name", tmp_path)() == "found"


@pytest.mark.acceptance("P34", "Q11")
@pytest.mark.parametrize(
    ("reference", "text", "message"),
    [
        ("flet:name", "", "names a module that does not exist: flet"),
        ("fleet:nam", "def name(): pass", "names what is not in fleet: nam"),
        ("fleet:LIMIT", "LIMIT = 3", "names what is no function: fleet:LIMIT"),
        ("fleet:f", "import no_such_library", "(ModuleNotFoundError: No module named 'no_such_library')"),
        ("fleet:f", "raise ValueError('not today')", "cannot be imported: fleet (ValueError: not today)"),
        ("fleet:f", "raise SystemExit(3)", "cannot be imported: fleet (SystemExit: 3)"),
        ("fleet:f", "def f(:", "cannot be imported: fleet (SyntaxError: invalid syntax (fleet.py, line 1))"),
    ],
)
def test_what_is_wrong_is_told_in_pythons_words(tmp_path: Path, reference: str, text: str, message: str) -> None:
    module(tmp_path, text)
    with pytest.raises(CannotLoadError) as caught:
        load(reference, tmp_path)
    assert message in str(caught.value)


@pytest.mark.acceptance("P34")
def test_a_slip_in_a_functions_name_is_told_the_nearest(tmp_path: Path) -> None:
    module(tmp_path, "def least_busy(): pass")
    with pytest.raises(CannotLoadError) as caught:
        load("fleet:least_bussy", tmp_path)
    assert caught.value.fix == "did you mean least_busy?"


# ---------------------------------------------------------------------------------------------
# In the spec

_SPEC = """\
cloud: hetzner
groups:
  worker:
    count: 3
    image: ubuntu-24.04
    type: cx23
    location: fsn1
"""


def write(folder: Path, keys: str) -> Path:
    (folder / "stacks").mkdir(exist_ok=True)
    path = folder / "stacks" / "prod.yaml"
    path.write_text(_SPEC + keys, encoding="utf-8")
    return path


def problem(folder: Path, keys: str) -> str:
    path = write(folder, keys)
    with pytest.raises(InvalidSpecError) as caught:
        scaler.config.spec.load(path, "shop")
    (found,) = caught.value.problems
    return str(found).removeprefix(f"{path}:")


@pytest.mark.acceptance("Q11")
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("    naming: flet:f", "8: groups.worker.naming names a module that does not exist: flet; modules are"),
        ("    naming: fleet", "8: groups.worker.naming must be module:function, not 'fleet'"),
        ("    naming: 3", "8: groups.worker.naming must be module:function, not '3'"),
        ("    min: 1\n    scale_down: fleet:g", "9: groups.worker.scale_down names what is not in fleet: g"),
        ("    scale_down: newst", "8: groups.worker.scale_down must be newest or oldest or billing, not 'newst'"),
        ("    ready:\n      function: fleet:g", "9: groups.worker.ready.function names what is not in fleet: g"),
        ("    protect: [web]", "8: groups.worker.protect[0] must be a server of this group"),
        ("    naming: fleet:f\n    protect: [Web]", "9: groups.worker.protect[0] must be a server of this group"),
    ],
)
def test_problems_have_their_line(tmp_path: Path, keys: str, message: str) -> None:
    module(tmp_path, "def f(): pass")
    assert problem(tmp_path, keys).startswith(message)


@pytest.mark.acceptance("Q11")
def test_functions_are_equal_and_hashed_by_their_names(tmp_path: Path) -> None:
    keys = "    naming: fleet:f\n    scale_down: fleet:f\n    ready: {function: 'fleet:f'}\n    protect: [web]"
    path = write(tmp_path, keys)
    specs = []
    for text in ("def f(): return 1", "def f(): return 22"):
        module(tmp_path, text)
        specs.append(scaler.config.spec.load(path, "shop"))
    naming = [found.groups["worker"].naming for found in specs]
    assert [ask() for ask in naming if ask] == [1, 22]
    assert specs[0] == specs[1]
    assert spec_hash(specs[0]) == spec_hash(specs[1])
    module(tmp_path, "def f(): pass\ndef g(): pass")
    path.write_text(path.read_text().replace("naming: fleet:f", "naming: fleet:g"), encoding="utf-8")
    other = scaler.config.spec.load(path, "shop")
    assert other != specs[0]
    assert spec_hash(other) != spec_hash(specs[0])


# ---------------------------------------------------------------------------------------------
# Names


@pytest.mark.acceptance("Q11")
def test_a_naming_function_names_new_servers_and_is_told_what_is_taken() -> None:
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
def test_a_name_that_others_have_is_taken() -> None:
    setting = Setting(spec(group(naming=extension(lambda s, g, taken: "birch" if "amber" in taken else "amber"))))
    setting.cloud.add("amber", {"someone": "else"})
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert setting.ready == ["birch"]


@pytest.mark.acceptance("Q11")
def test_two_groups_never_get_one_name() -> None:
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
        ("a" * 64, "a server's name is"),
        ("prod-worker-1", "it answered prod-worker-1, which is taken"),
    ],
)
def test_a_name_that_cannot_be_changes_nothing(answer: object, why: str) -> None:
    setting = Setting(spec(group(naming=extension(lambda *_: answer))))
    setting.cloud.add("prod-worker-1", setting.label())
    with pytest.raises(ExtensionError) as caught:
        setting.ensure(2)
    assert why in caught.value.why
    assert setting.cloud.changes() == []


# ---------------------------------------------------------------------------------------------
# Who goes


def choosing(choose: Callable[..., Any], **fields: object) -> Setting:
    return Setting(spec(group(scale_down=extension(choose), **fields))).with_servers(worker=5)


@pytest.mark.acceptance("Q11")
def test_a_function_chooses_who_goes() -> None:
    offered: list[tuple[list[str], int]] = []

    def choose(servers: tuple[Server, ...], count: int) -> Iterator[Server]:
        offered.append((sorted(item.name for item in servers), count))
        return (item for item in servers if item.name[-1] in "245")

    setting = choosing(choose, protect=frozenset({"prod-worker-5"}))
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-1", "prod-worker-3", "prod-worker-5"]
    assert offered[0] == (["prod-worker-1", "prod-worker-2", "prod-worker-3", "prod-worker-4"], 2)


@pytest.mark.acceptance("Q11")
def test_it_is_asked_only_where_there_is_a_choice() -> None:
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
        (lambda servers, count: [item.name for item in servers], "not servers"),
        (lambda servers, count: servers[:1], "it chose 1 of 4 servers, and 2 have to go"),
        (lambda servers, count: [servers[0], servers[0]], "it chose 1 of 4 servers, and 2 have to go"),
        (
            lambda servers, count: [servers[0], server("prod-worker-1")],
            "it chose prod-worker-1, which it was not offered",
        ),
    ],
)
def test_an_answer_that_cannot_be_used_stops_nothing(choose: Callable[..., Any], why: str) -> None:
    setting = choosing(choose, protect=frozenset({"prod-worker-1"}))
    with pytest.raises(ExtensionError) as caught:
        setting.ensure(3)
    assert why in caught.value.why
    assert "fleet:function" in caught.value.what
    assert setting.cloud.changes() == []
    assert len(setting.ready) == 5


@pytest.mark.acceptance("Q11")
def test_a_function_that_fails_on_the_way_ends_the_run_with_what_is_there() -> None:
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


# ---------------------------------------------------------------------------------------------
# Readiness


@pytest.mark.acceptance("Q11")
@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (lambda item: f"{item.name} has no queue", "prod-worker-1 has no queue"),
        (lambda item: True, "fleet:function answered True, not None or what is wrong"),
        (lambda item: "", "fleet:function answered '', not None or what is wrong"),
        (lambda item: {}["queue"], "fleet:function: KeyError: 'queue'"),
    ],
)
def test_only_none_is_a_good_reading(tmp_path: Path, answer: Callable[[Server], Any], trouble: str) -> None:
    checks = ReadinessChecker(HandClock(), tmp_path)
    how = Readiness(kind="function", function=extension(answer), successes=1)
    one = server()
    assert not checks.is_ready(how, one)
    wait_until(lambda: checks.is_ready(how, one) or checks.trouble(one), "a reading")
    assert checks.trouble(one) == trouble
    assert not checks.is_ready(how, one)


@pytest.mark.acceptance("Q11")
def test_a_readiness_function_makes_a_server_ready(tmp_path: Path) -> None:
    clock = HandClock()
    checks = ReadinessChecker(clock, tmp_path)
    seen: list[Server] = []
    how = Readiness(kind="function", function=extension(seen.append), successes=2)
    one = server()

    def is_ready() -> bool:
        clock.sleep(1.0)
        return checks.is_ready(how, one)

    wait_until(is_ready, "ready")
    assert seen == [one, one]


# ---------------------------------------------------------------------------------------------
# The page


@pytest.mark.server
@pytest.mark.acceptance("Q11")
def test_the_documented_example_does_what_the_page_says(tmp_path: Path) -> None:
    blocks = re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for name, text in blocks:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace(", 22)", f", {port})"), encoding="utf-8")
    found = scaler.config.spec.load(tmp_path / "stacks" / "prod.yaml", "shop")
    worker = found.groups["worker"]
    setting = Setting(spec(group(naming=worker.naming, scale_down=worker.scale_down, protect=worker.protect)))
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-001", "prod-worker-002", "prod-worker-003"]
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-001"]
    assert worker.ready.function is not None
    assert worker.ready.function(server()).startswith("no answer: ")
    with create_server(("127.0.0.1", port)):
        assert worker.ready.function(server()) is None
