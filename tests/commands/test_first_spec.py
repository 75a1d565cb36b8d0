"""What `init` makes of a person's answers, in an account of the embedded cloud."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import click
import pytest

from scaler.clouds import Cloud, Offer
from scaler.clouds.registry import open_cloud
from scaler.commands import first_spec
from scaler.simulator import EmbeddedCloud
from scaler.support.clock import SystemClock
from tests.support.vendors import ENVIRON

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with (
        EmbeddedCloud(tmp_path_factory.mktemp("world") / "world.db") as served,
        closing(
            open_cloud("hetzner", endpoint=served.hetzner_endpoint, environ=ENVIRON, clock=SystemClock())
        ) as account,
    ):
        yield account


def answered(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    left = iter(answers)
    monkeypatch.setattr(click.termui, "visible_prompt_func", lambda _: next(left))


def offer(account: Cloud, name: str) -> Offer:
    return next(each for each in account.catalogue().offers if each.type == name)


@pytest.mark.parametrize(
    ("type", "text", "reason"),
    [
        ("cax11", "worker-golden", "does not run on arm servers"),
        ("cx23", "worker-goldn", "Did you mean worker-golden?"),
        ("cx23", "ubuntu-24.4", "Did you mean ubuntu-24.04?"),
        ("cx23", "role=worke", "Did you mean role=worker?"),
        ("cax11", "99999999", "there is no arm image in this account"),
    ],
)
def test_an_image_that_cannot_be_taken_is_refused_for_its_likeliest_reason(
    account: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    type: str,
    text: str,
    reason: str,
) -> None:
    answered(monkeypatch, text, "ubuntu-24.04")
    assert first_spec._ask_image(account, offer(account, type)) == '"ubuntu-24.04"'
    assert reason in " ".join(capsys.readouterr().err.split())


def test_a_key_that_is_named_twice_is_written_once(account: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    answered(monkeypatch, "deploy, deploy,")
    assert first_spec._ask_keys(account) == ('"deploy"',)
