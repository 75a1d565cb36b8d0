"""Fail a test during which an embedded cloud answered other than its vendor's document says.

Known deviations are in `tests.support.deviations`, each with its source. After a whole run of `tests/simulator`,
one that no longer occurs fails the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
_FILES = pytest.StashKey[set[Path]]()


def pytest_configure(config: pytest.Config) -> None:
    """Start to watch, before anything serves."""
    config.stash[CHECK] = Check()


@pytest.fixture(autouse=True)
def answers_are_as_documented(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test if an embedded cloud deviated from its vendor's document meanwhile."""
    check = request.config.stash[CHECK]
    yield
    deviations = check.new_deviations()
    if deviations:
        pytest.fail("the embedded cloud is not as documented:\n" + "\n".join(map(str, deviations)), pytrace=False)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Remember which test files take part."""
    session.config.stash[_FILES] = {item.path for item in session.items}


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After a whole run of the simulator's tests: fail for rules that nothing needs any more."""
    check = session.config.stash[CHECK]
    if check.has_checked and exitstatus == pytest.ExitCode.OK and _whole(session):
        check.unneeded = [known for known in KNOWN if known not in check.occurred]
    if check.unneeded:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _whole(session: pytest.Session) -> bool:
    options = session.config.option
    chosen = options.keyword or options.markexpr or any("::" in argument for argument in session.config.args)
    return not chosen and set(_SIMULATOR.glob("test_*.py")) <= session.config.stash[_FILES]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how much was checked, and what is left over. Without a document to check with, say so if tests ran."""
    check = config.stash[CHECK]
    if check.has_checked or (check.schemas is None and not config.option.collectonly):
        terminalreporter.write_line(check.summary())
    for known in check.unneeded:
        terminalreporter.write_line(f"no longer occurs, so remove it from deviations.py: {known}", red=True)
