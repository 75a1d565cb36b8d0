"""A client of a cloud whose run has no time left: what it waits for, and what it sends once more."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scaler.clouds import RateLimitedError, TransientError
from scaler.clouds.deadlines import Deadlines
from scaler.clouds.registry import open_cloud
from scaler.model.ownership import Owner
from scaler.support.time_limit import GRACE_S, TimeLimit
from tests.support.http_stub import Answer, HurriedClock, Stub, hang, reply
from tests.support.vendors import ENVIRON, Vendor

pytestmark = pytest.mark.server

OWNER = Owner("shop", "prod")

LIMITED = reply(429, {}, retry_after="200")

TROUBLE = reply(503, {})


def ask(vendor: Vendor, clock: HurriedClock, limit: TimeLimit, answer: Answer) -> tuple[Exception, int]:
    """List the servers of a cloud that gives this answer; the error, and how many requests were sent."""
    deadlines = Deadlines(connect=2, read=0.4, limit=limit)
    with Stub(answer) as stub:
        cloud = open_cloud(
            vendor.name, endpoint=stub.url + vendor.base, environ=ENVIRON, clock=clock, deadlines=deadlines
        )
        with pytest.raises((RateLimitedError, TransientError)) as caught:
            cloud.list_owned(OWNER)
        cloud.close()
        return caught.value, len(stub.requests)


def test_a_rate_limit_beyond_the_end_is_not_waited_for(vendor: Vendor, clock: HurriedClock) -> None:
    error, _ = ask(vendor, clock, TimeLimit(clock, timedelta(seconds=15)), LIMITED)
    assert isinstance(error, RateLimitedError)
    assert sum(clock.slept) <= GRACE_S


@pytest.mark.parametrize("answer", [TROUBLE, hang], ids=["503", "hangs"])
def test_nothing_is_sent_again_when_the_time_is_up(vendor: Vendor, clock: HurriedClock, answer: Answer) -> None:
    error, sent = ask(vendor, clock, TimeLimit(clock, timedelta(0)), answer)
    assert (type(error), sent, sum(clock.slept)) == (TransientError, 1, 0)
