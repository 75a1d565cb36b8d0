"""Rate limits as buckets and sliding windows."""

from __future__ import annotations

from scaler.simulator.limits import Bucket, sliding


def test_a_full_bucket_gives_its_size_and_then_one_per_second() -> None:
    bucket = Bucket(3600, 3600, 0.0)
    for _ in range(3600):
        verdict, bucket = bucket.take(0.0)
        assert verdict.allowed
    verdict, bucket = bucket.take(0.0)
    assert not verdict.allowed
    assert verdict.headers["RateLimit-Remaining"] == "0"
    assert verdict.headers["RateLimit-Reset"] == "3600"
    assert bucket.take(1.0)[0].allowed
    assert not bucket.take(0.9)[0].allowed


def test_a_bucket_never_holds_more_than_its_size() -> None:
    verdict, _ = Bucket(10, 10, 0.0).take(1_000_000.0)
    assert verdict.headers["RateLimit-Remaining"] == "9"


def test_a_bucket_survives_a_clock_that_goes_back() -> None:
    assert Bucket(10, 5, 100.0).take(50.0)[1].level == 4


def test_the_minute_window_tells_when_to_come_back() -> None:
    verdict = sliding({100: 200, 130: 50}, 140.0, per_hour=5000, per_minute=250)
    assert not verdict.allowed
    assert verdict.headers["retry-after"] == "20"
    assert sliding({100: 200, 130: 50}, 161.0, per_hour=5000, per_minute=250).allowed


def test_the_hour_window_has_no_retry_after() -> None:
    verdict = sliding({100: 5000}, 1000.0, per_hour=5000, per_minute=250)
    assert not verdict.allowed
    assert "retry-after" not in verdict.headers
    assert verdict.headers["ratelimit-reset"] == "3700"
    assert sliding({100: 5000}, 3701.0, per_hour=5000, per_minute=250).allowed
