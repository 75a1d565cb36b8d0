"""Results and plans as Markdown; what another side wrote breaks no format."""

from __future__ import annotations

import json
from dataclasses import replace

from scaler.model import Outcome, StepReport, StepResult
from scaler.output.render import render, render_plan
from tests.support.results import CONVERGED, CREATE, PLAN, SPEC, result

MARKDOWN = """\
### prod: 5 of 5 ready (+1, -0) in 41s.

Cost: EUR +0.0176/h, then EUR 0.0440/h, and at most EUR 27.45/month (now 16.47); list prices, net.

- drift: prod-worker-2 is gone

|  | server | action | why | result |
| --- | --- | --- | --- | --- |
| `+` | prod-worker-4 | create | 2 of 3 are there | done |
| `-` | prod-worker-3 | delete | errored | failed: locked: busy |

<details><summary>1 server</summary>

| server | group | status | type | location | ipv4 | error |
| --- | --- | --- | --- | --- | --- | --- |
| prod-worker-4 | worker | running | cx23 | fsn1 | 192.0.2.4 |  |

</details>"""


def test_markdown_of_a_result() -> None:
    assert render(CONVERGED, "markdown") == MARKDOWN


def test_markdown_of_a_plan() -> None:
    assert (
        render_plan(PLAN, SPEC, "markdown")
        == """\
### prod: plan

**Plan: 1 to add, 1 to change, 1 to remove.**

- drift: prod-worker-12 was powered off by hand

<details><summary>3 steps</summary>

|  | server | action | why | result |
| --- | --- | --- | --- | --- |
| `+` | prod-worker-4 | create | 2 of 3 are there | pending |
| `~` | prod-worker-12 | power on | it is off | pending |
| `-` | prod-worker-3 | delete | errored | pending |

</details>"""
    )


def test_a_plan_says_its_cost_first_and_fits_a_comment() -> None:
    def folded(reason: str) -> str:
        numbers = range(1, 1001)
        steps = tuple(replace(CREATE, server=f"prod-worker-{each}", reason=reason.format(each)) for each in numbers)
        plan = replace(PLAN, phases=(replace(PLAN.phases[0], steps=steps),))
        text = render_plan(plan, SPEC, "markdown", cost=CONVERGED.cost)
        head, _, rest = text.partition("<details>")
        assert head.startswith("### prod: plan\n\n**Plan: 1000 to add, 0 to change, 0 to remove.**\n\nCost: EUR +")
        assert rest.startswith("<summary>1000 steps</summary>")
        assert len(text) < 65536
        return rest

    assert "| 1000: prod-worker-1 … -1000 | create |" in folded("2 of 3 are there")
    unequal = folded("{} is wanted")
    assert "| prod-worker-200 |" in unequal
    assert "\n\n… and 800 more.\n\n</details>" in unequal
    assert "prod-worker-201" not in unequal


def test_another_sides_words_break_neither_table_nor_page_nor_terminal() -> None:
    words = "a | b\n<script> & \x1b[31mred\x07"
    bad = result(Outcome.FAILED, steps=(StepReport(CREATE, StepResult.FAILED, words),))
    assert "| failed: a \\| b &lt;script> &amp; \\x1b[31mred\\x07 |" in render(bad, "markdown")
    assert render(bad, "text").splitlines()[0] == "! prod-worker-4  create failed: a | b <script> & \\x1b[31mred\\x07"
    assert json.loads(render(bad, "json"))["steps"][0]["error"] == words
