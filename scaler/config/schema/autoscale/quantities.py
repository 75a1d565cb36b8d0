"""Numbers, shares, pauses, cron expressions and other values of an `autoscale` block."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated
from urllib.parse import parse_qs, urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.values import DURATION_SCHEMA, Text, not_empty
from scaler.support.durations import parse_duration
from scaler.support.installation import install_command

_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_METRIC_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_POINTER = re.compile(r"(/([^~/]|~[01])*)*")


def quantity(value: object) -> float:
    """Read a number. One with a decimal point arrives as a text, since `strict_yaml` keeps what was typed."""
    if isinstance(value, bool) or not isinstance(value, int | str) or not _DECIMAL.fullmatch(str(value)):
        raise refusal(f"must be a number such as 60 or 0.75, not {shown(value)}")
    return float(value)


def _positive(value: float) -> float:
    if value == 0:
        raise refusal("must be more than 0")
    return value


def _share(value: object) -> float:
    text = str(value)
    number = text.removesuffix("%")
    if not text.endswith("%") or not _DECIMAL.fullmatch(number) or float(number) >= 100:
        raise refusal(f"must be a percentage below 100%, such as 10%, not {shown(value)}")
    return float(number) / 100


def _pause(value: object) -> timedelta:
    """Read a duration that may be zero."""
    try:
        length = parse_duration(str(value))
    except ValueError:
        raise refusal(f"must be a duration such as 0s, 90s or 10m, not {shown(value)}") from None
    if length > timedelta(hours=24):
        raise refusal(f"must be at most 24h, not {shown(value)}")
    return length


def _matching(form: re.Pattern[str], what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not form.fullmatch(value):
            raise refusal(f"must be {what}, not {shown(value)}")
        return value

    return AfterValidator(check)


def _redis_url(value: str) -> str:
    """Check a Redis URL. No message quotes it, since any part of it may hold a password."""
    try:
        url = urlsplit(value)
        credentials, _ = url.password is not None or url.username is not None, url.port
    except ValueError:
        raise refusal("must be a Redis URL", "write it as redis://host:6379/0") from None
    if credentials:
        raise refusal("must not hold credentials", "name the environment variable that does in password_env")
    if any(name != "db" and not name.startswith("ssl_") for name in parse_qs(url.query, keep_blank_values=True)):
        raise refusal("may have no options but db and those of TLS (ssl_…)", "write it as redis://host:6379/0")
    if url.scheme not in ("redis", "rediss", "unix") or not (url.hostname or url.scheme == "unix"):
        raise refusal("must be a Redis URL", "write it as redis://host:6379/0")
    return value


def _timezone(value: str) -> str:
    if value not in available_timezones():
        raise refusal(f"must be a time zone such as Europe/Berlin, not {shown(value)}", _nearest_zone(value))
    return value


def _nearest_zone(value: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(value, sorted(available_timezones()), n=1)
    return f"did you mean {close[0]}?" if close else ""


def _cron(value: str) -> str:
    try:
        from scaler.support.cron import cron_problem
    except ModuleNotFoundError as error:
        raise refusal(f"needs {error.name}, which is not installed", install_command("autoscale")) from None
    if problem := cron_problem(value):
        raise refusal(f"{problem}, not {shown(value)}")
    return value


_NUMBER_SCHEMA = {"type": ["number", "string"], "pattern": f"^{_DECIMAL.pattern}$"}
Quantity = Annotated[float, BeforeValidator(quantity), WithJsonSchema(_NUMBER_SCHEMA)]
Positive = Annotated[Quantity, AfterValidator(_positive)]
Share = Annotated[
    float, BeforeValidator(_share), WithJsonSchema({"type": "string", "pattern": f"^{_DECIMAL.pattern}%$"})
]
Pause = Annotated[timedelta, BeforeValidator(_pause), WithJsonSchema(DURATION_SCHEMA)]
Variable = Annotated[Text, _matching(_VARIABLE, "the name of an environment variable")]
Pointer = Annotated[Text, _matching(_POINTER, "a JSON pointer such as /queue/waiting")]
MetricName = Annotated[str, _matching(_METRIC_NAME, "lower-case letters, digits and _, the first a letter")]
RedisUrl = Annotated[
    Text,
    AfterValidator(_redis_url),
    WithJsonSchema({"type": "string", "pattern": "^(rediss?://[^/]|unix:///)"}),
]
TimeZone = Annotated[Text, AfterValidator(_timezone)]
Cron = Annotated[Text, AfterValidator(_cron)]


Some = AfterValidator(not_empty)
"""At least one item."""
