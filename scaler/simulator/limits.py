"""Rate limits as the vendors have them, pure: state in, verdict and state out."""

from __future__ import annotations

import math
from collections.abc import Mapping

from scaler.support.values import dataclass


@dataclass(frozen=True)
class LimitVerdict:
    """Whether a request may pass, and the headers that every answer carries."""

    allowed: bool
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Bucket:
    """Hetzner's token bucket: `per_hour` at most, refilled evenly."""

    per_hour: int
    level: float
    at: float

    def take(self, now: float) -> tuple[LimitVerdict, Bucket]:
        """Ask for one request at `now`."""
        rate = self.per_hour / 3600
        level = min(self.per_hour, self.level + max(0.0, now - self.at) * rate)
        allowed = level >= 1
        level -= 1 if allowed else 0
        full = now + (self.per_hour - level) / rate if rate else math.inf
        headers = {
            "RateLimit-Limit": str(self.per_hour),
            "RateLimit-Remaining": str(int(level)),
            "RateLimit-Reset": str(math.ceil(full)) if rate else "0",
        }
        return LimitVerdict(allowed, headers), Bucket(self.per_hour, level, now)


def sliding(hits: Mapping[int, int], now: float, *, per_hour: int, per_minute: int) -> LimitVerdict:
    """DigitalOcean's two sliding windows. `hits` counts the allowed requests of the last hour by second."""
    hour = sum(count for second, count in hits.items() if second > now - 3600)
    recent = {second: count for second, count in hits.items() if second > now - 60}
    minute = sum(recent.values())
    oldest = min(hits, default=int(now))
    headers = {"ratelimit-limit": str(per_hour), "ratelimit-reset": str(oldest + 3600)}
    if minute >= per_minute:
        retry = max(1, math.ceil(min(recent, default=now) + 60 - now))
        return LimitVerdict(False, {**headers, "ratelimit-remaining": "0", "retry-after": str(retry)})
    allowed = hour < per_hour
    remaining = max(0, per_hour - hour - 1)
    return LimitVerdict(allowed, {**headers, "ratelimit-remaining": str(remaining)})
