"""A watch prints each problem once, and a refusal once although the ages in its reason grow."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scaler.commands.autoscale_watch import _Reporter
from scaler.commands.context import make_context
from scaler.errors import ScalerError, UnrecognisedError
from scaler.planning.recognition import check_unclaimed
from tests.support.fakes import START, spec
from tests.support.worlds import machine, server


def refusal(after_s: float) -> UnrecognisedError:
    with pytest.raises(UnrecognisedError) as caught:
        check_unclaimed(spec(), [machine(spec(), server())], START + timedelta(seconds=after_s))
    return caught.value


def test_a_refusal_is_printed_once_and_another_problem_again(capsys: pytest.CaptureFixture[str]) -> None:
    options = {"directory": ".", "stack": (), "state_dir": None, "output": "text", "quiet": False, "verbose": 0}
    reporter = _Reporter(make_context({**options, "debug": False, "color": None}, {}))
    for after_s in (10, 70, 130):
        reporter.failed(refusal(after_s), 0.1)
    for text in ("one", "one", "two"):
        reporter.failed(ScalerError(text), 0.1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "prod-worker-1 (id-prod-worker-1), without a stack's id, 10s old" in lines[0]
    assert lines[1:] == ["Error: one", "Error: two"]
