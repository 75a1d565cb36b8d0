"""Fail a test during which an embedded cloud answered other than its vendor's document says.

Known deviations are in `tests.support.deviations`, each with its source. After a whole run of `tests/simulator`,
one that no longer occurs fails the run. With `pytest -n`, each process checks its own tests, and the first one adds up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaler.simulator import EmbeddedCloud
from tests.support.deviations import KNOWN, Known
from tests.support.vendor_schemas import VARIABLE, Deviation, Record, Schemas, folder

_SIMULATOR = Path(__file__).parents[1] / "simulator"


class Check:
    """The check of one run of tests."""

    def __init__(self) -> None:
        where = folder()
        self.schemas = Schemas(where) if where else None
        self.record = Record()
        self.occurred: set[Known] = set()
        self.found: set[Deviation] = set()
        self.whole = False
        """Whether all of the simulator's tests took part."""
        self.unneeded: list[Known] = []
        """The known deviations of which a whole run of the simulator's tests saw none."""
        if self.schemas:
            EmbeddedCloud.watchers.append(self.record.around)

    def new_deviations(self) -> list[Deviation]:
        """What deviates in the exchanges since the last call, apart from what is known to."""
        if self.schemas is None:
            return []
        found = {deviation for each in self.record.take() for deviation in self.schemas.deviations(each)}
        self.found |= found
        unknown = []
        for deviation in sorted(found):
            known = [each for each in KNOWN if each.covers(deviation)]
            self.occurred.update(known)
            if not known:
                unknown.append(deviation)
        return unknown

    def tell(self) -> dict[str, Any]:
        """Say what this process saw, as values that another one can `hear`."""
        assert self.schemas
        return {
            "occurred": [KNOWN.index(known) for known in self.occurred],
            "found": [(each.operation, each.where, each.what) for each in self.found],
            "checked": dict(self.schemas.checked),
            "unknown": dict(self.schemas.unknown),
            "count": self.record.count,
            "whole": self.whole,
        }

    def hear(self, told: dict[str, Any]) -> None:
        """Add what another process saw."""
        assert self.schemas
        self.occurred.update(KNOWN[index] for index in told["occurred"])
        self.found.update(Deviation(*parts) for parts in told["found"])
        self.schemas.checked += Counter(told["checked"])
        self.schemas.unknown += Counter(told["unknown"])
        self.record.count += told["count"]
        self.whole |= told["whole"]

    @property
    def has_checked(self) -> bool:
        """Whether any answer was checked: none is if tests are only collected, or use no embedded cloud."""
        return self.schemas is not None and self.schemas.checked.total() > 0

    def summary(self) -> str:
        """One line for the end of the run."""
        if self.schemas is None:
            return f"vendors' documents: not found, so no answer was checked (set {VARIABLE} to their folder)"
        checked, operations = self.schemas.checked.total(), len(self.schemas.checked)
        return (
            f"vendors' documents: {self.record.count} answers of embedded clouds, {checked} different ones checked "
            f"({operations} operations), {self.schemas.unknown.total()} outside the documents; "
            f"{len(self.found)} known deviations by {len(self.occurred)} of {len(KNOWN)} rules"
        )


CHECK = pytest.StashKey[Check]()
_TOLD = "answers checked"


class _Adding:
    """Add up what the processes of `pytest -n` saw."""

    def __init__(self, check: Check) -> None:
        self._check = check

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear a process that has ended; one that crashed has told nothing."""
        told = getattr(node, "workeroutput", {}).get(_TOLD)
        if told:
            self._check.hear(told)


def pytest_configure(config: pytest.Config) -> None:
    """Start to watch, before anything serves."""
    config.stash[CHECK] = check = Check()
    config.pluginmanager.register(_Adding(check))


@pytest.fixture(autouse=True)
def answers_are_as_documented(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test if an embedded cloud deviated from its vendor's document meanwhile."""
    check = request.config.stash[CHECK]
    yield
    deviations = check.new_deviations()
    if deviations:
        pytest.fail("the embedded cloud is not as documented:\n" + "\n".join(map(str, deviations)), pytrace=False)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Find out whether the simulator's tests are whole."""
    options = session.config.option
    chosen = options.keyword or options.markexpr or any("::" in argument for argument in session.config.args)
    files = {item.path for item in session.items}
    session.config.stash[CHECK].whole = not chosen and set(_SIMULATOR.glob("test_*.py")) <= files


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After a whole run of the simulator's tests: fail for rules that nothing needs any more."""
    check = session.config.stash[CHECK]
    if hasattr(session.config, "workeroutput"):
        if check.schemas:
            session.config.workeroutput[_TOLD] = check.tell()
    elif check.has_checked and check.whole and exitstatus == pytest.ExitCode.OK:
        check.unneeded = [known for known in KNOWN if known not in check.occurred]
    if check.unneeded:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how much was checked, and what is left over. Without a document to check with, say so if tests ran."""
    check = config.stash[CHECK]
    if check.has_checked or (check.schemas is None and not config.option.collectonly):
        terminalreporter.write_line(check.summary())
    for known in check.unneeded:
        terminalreporter.write_line(f"no longer occurs, so remove it from deviations.py: {known}", red=True)
