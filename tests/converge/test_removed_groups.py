"""Groups that the spec no longer has, path by path: their servers count in every guard, and go by no side effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from scaler.converge.demand import Demand, Options
from scaler.errors import RefusedError
from scaler.model import Outcome
from scaler.output.sentences import remarks
from tests.support.fakes import Setting, group, spec, taken

UNATTENDED = Options(allow_zero=False)


def renamed(*, limit: int | None = None, **counts: int) -> Setting:
    """Two servers of `worker`, which is not in the spec any more, and one of `web`; `jobs` is new."""
    setting = Setting(spec(group(count=2), group("web", 1))).with_servers(worker=2, web=1)
    groups = (group(name, counts.get(name, count)) for name, count in (("web", 1), ("jobs", 2)))
    setting.spec = spec(*groups, limit=limit)
    return setting


def wanted(web: int, jobs: int) -> Demand:
    return Demand({"web": web, "jobs": jobs})


def is_untouched(setting: Setting) -> bool:
    return setting.cloud.changes() == [] and setting.owned == ["prod-web-1", "prod-worker-1", "prod-worker-2"]


REFUSED: Mapping[str, tuple[Demand, Options, str]] = {
    "all groups to zero": (wanted(0, 0), UNATTENDED, "would lose all its servers: 3 now, 0 wanted"),
    "more changes than allowed": (wanted(1, 0), Options(max_change=1), "would change by 2 servers, 1 too many"),
    "a renamed group counts twice": (wanted(1, 2), Options(max_change=3), "would change by 4 servers, 1 too many"),
    "another number than expected": (wanted(1, 2), Options(expect_current=1), "has 3 servers, not the expected 1"),
    "one that cannot be replaced": (
        Demand(renew=frozenset({"prod-worker-1"})),
        Options(),
        "prod-worker-1 cannot be replaced: the spec has no group worker any more",
    ),
}


@pytest.mark.parametrize(("demand", "options", "words"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("applied", [True, False], ids=["ensure", "preview"])
def test_guards_count_them(demand: Demand, options: Options, words: str, applied: bool) -> None:
    setting = renamed()
    with pytest.raises(RefusedError, match=words):
        setting.run(demand, replace(options, apply=applied))
    assert is_untouched(setting)


def test_the_limit_counts_them_while_they_are_there() -> None:
    """A count that leaves them alone has no room beside them; one that removes them has."""
    setting = renamed(limit=4)
    with pytest.raises(RefusedError, match=r"would hold 5 servers, 1 above its limit of 4"):
        setting.run(Demand(by={"jobs": 2}))
    assert is_untouched(setting)
    most = [0]
    setting.cloud.on_change = lambda: most.__setitem__(0, max(most[0], len(setting.cloud.boxes)))
    assert setting.run(wanted(1, 2)).outcome is Outcome.CONVERGED
    assert setting.owned == ["prod-jobs-1", "prod-jobs-2", "prod-web-1"]
    assert most[0] <= 4


@pytest.mark.parametrize(
    ("demand", "left"),
    [
        (Demand(by={"web": 1}), ["prod-web-1", "prod-web-2", "prod-worker-1", "prod-worker-2"]),
        (Demand(by={"web": -1}), ["prod-worker-1", "prod-worker-2"]),
        (Demand(renew=frozenset({"prod-web-1"})), ["prod-web-2", "prod-worker-1", "prod-worker-2"]),
        (Demand(remove=frozenset({"prod-web-1"})), ["prod-worker-1", "prod-worker-2"]),
        (Demand(remove=frozenset({"prod-worker-1"})), ["prod-web-1", "prod-worker-2"]),
    ],
    ids=["increase", "decrease", "replace", "stop", "stop one of them"],
)
def test_commands_about_other_servers_leave_them(demand: Demand, left: list[str]) -> None:
    setting = renamed()
    assert setting.run(demand).outcome is Outcome.CONVERGED
    assert setting.owned == left


@pytest.mark.parametrize("demand", [wanted(1, 2), wanted(1, 0)], ids=["renamed", "removed"])
@pytest.mark.parametrize("by", ["scaler", "cloud"])
def test_a_protected_one_stops_what_would_remove_it(demand: Demand, by: str) -> None:
    setting = renamed()
    if by == "cloud":
        setting.cloud.named("prod-worker-2").protected = True
    else:
        protected = replace(setting.records.servers["prod-worker-2"], protected=True)
        setting.records.servers["prod-worker-2"] = protected
        outputs = {**setting.stack.saved.outputs, "prod-worker-2": protected}
        setting.stack.saved = replace(setting.stack.saved, outputs=outputs)
    with pytest.raises(RefusedError, match="prod-worker-2 cannot be removed: protected, of worker, which the spec no"):
        setting.run(demand)
    assert is_untouched(setting)
    # What is not about it goes on.
    assert setting.run(Demand(by={"web": 1})).outcome is Outcome.CONVERGED
    assert "prod-worker-2" in setting.owned


def test_a_preview_names_the_renamed_group_and_what_goes() -> None:
    setting = renamed()
    result = setting.run(wanted(1, 2), Options(apply=False))
    assert result.renamed == {"worker": "jobs"}
    assert [
        line for line in remarks(result) if line.startswith("renamed: worker is not in the spec any more, and jobs")
    ]
    assert sorted(taken(result)) == [
        ("create", "prod-jobs-1"),
        ("create", "prod-jobs-2"),
        ("delete", "prod-worker-1"),
        ("delete", "prod-worker-2"),
    ]


def test_destroy_removes_them_too() -> None:
    setting = renamed()
    assert setting.run(wanted(0, 0), Options(everything=True)).outcome is Outcome.CONVERGED
    assert setting.owned == []
