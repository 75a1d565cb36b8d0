"""Count the entries of one key in Redis, or find the time of the oldest, by the kind of the key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from scaler.autoscale.metrics import MetricError
from scaler.autoscale.metrics.documents import LARGEST, at_pointer, number_of
from scaler.autoscale.metrics.moments import PER_SECOND, seconds_since_1970
from scaler.model.autoscaling import RedisSource
from scaler.support.text import quoted

_PAGE = 1_000
_MOST_UNDELIVERED = 100_000
"""So many entries of a stream are counted one by one, where Redis does not know their number."""
_MOST_DOUBTFUL = 1_000
"""So many are counted where Redis may take trimmed entries for undelivered ones."""


def count_key(client: Any, key: str, source: RedisSource, now: float) -> float:
    """Return the number of a key's entries; of a hash's field or a string, the number in it."""
    kind = _kind(client, key, source)
    return 0.0 if kind is None else float(_COUNTS[kind](client, key, source, now))


def oldest_in_key(client: Any, key: str, source: RedisSource, now: float) -> float | None:
    """Return the time of a key's oldest entry, in seconds since 1970; None if it has no entry."""
    kind = _kind(client, key, source)
    if kind is None:
        return None
    if kind not in _OLDEST:
        raise MetricError(f"{key} is a {kind}, whose entries have no age")
    return _OLDEST[kind](client, key, source, now)


def _kind(client: Any, key: str, source: RedisSource) -> str | None:
    kind: str = client.type(key).decode()
    if kind == "none":
        if source.missing == "error":
            raise MetricError(f"{key} does not exist")
        return None
    if kind not in _COUNTS:
        raise MetricError(f"{key} is a {kind}, which has no number")
    if source.group is not None and kind != "stream":
        raise MetricError(f"{key} is a {kind}, and only a stream has a `group`")
    if source.due is not None and kind != "zset":
        raise MetricError(f"{key} is a {kind}, and only a sorted set has entries that are `due`")
    if source.field is not None and kind != "hash":
        raise MetricError(f"{key} is a {kind}, and only a hash has a `field`")
    return kind


# ---------------------------------------------------------------------------------------------
# Counts


def _count_list(client: Any, key: str, source: RedisSource, now: float) -> float:
    del source, now
    return float(client.llen(key))


def _count_set(client: Any, key: str, source: RedisSource, now: float) -> float:
    del source, now
    return float(client.scard(key))


def _count_sorted(client: Any, key: str, source: RedisSource, now: float) -> float:
    return float(client.zcard(key) if source.due is None else client.zcount(key, "-inf", now * _scale(source)))


def _count_hash(client: Any, key: str, source: RedisSource, now: float) -> float:
    del now
    if source.field is None:
        return float(client.hlen(key))
    value = _field(client, key, source)
    return 0.0 if value is None else _number(value, f"the field {source.field} of {key}")


def _count_string(client: Any, key: str, source: RedisSource, now: float) -> float:
    del source, now
    return _number(_text(client, key), key)


def _count_stream(client: Any, key: str, source: RedisSource, now: float) -> float:
    del now
    if source.group is None:
        return float(client.xlen(key))
    group = _group(client, key, source.group)
    return float(group["pending"]) + _lag(client, key, group)


def _number(value: bytes | None, where: str) -> float:
    return number_of((value or b"").decode(errors="replace"), where)


def _text(client: Any, key: str) -> bytes | None:
    """Return a string, which may be as long as an answer over HTTP; None if there is none."""
    text: bytes = client.getrange(key, 0, LARGEST)
    if len(text) > LARGEST:
        raise MetricError(f"{key} is longer than 1 MiB")
    return text or None


def _field(client: Any, key: str, source: RedisSource) -> bytes | None:
    value: bytes | None = client.hget(key, source.field)
    if value is None and source.missing == "error":
        raise MetricError(f"{key} has no field {source.field}")
    return value


def _scale(source: RedisSource) -> float:
    """Return how many units of the scores are a second."""
    due = source.due
    return PER_SECOND[due] if isinstance(due, str) else float(due or 1)


# ---------------------------------------------------------------------------------------------
# Streams


def _group(client: Any, key: str, name: str) -> Mapping[str, Any]:
    groups = {group["name"].decode(errors="replace"): group for group in client.xinfo_groups(key)}
    if name not in groups:
        raise MetricError(f"the stream {key} has no group {name}; it has {', '.join(sorted(groups)) or 'none'}")
    found: Mapping[str, Any] = groups[name]
    return found


def _lag(client: Any, key: str, group: Mapping[str, Any]) -> int:
    """Return the number of entries that were not delivered.

    Redis does not know it after the deletion of an unread entry, for a group that was made at the end of
    the stream, and before version 7. If unread entries were trimmed (`MAXLEN`), Redis 7 counts them for ever.
    """
    lag, read = group.get("lag"), group.get("entries-read")
    if lag is None:
        return _undelivered(client, key, group, _MOST_UNDELIVERED, _PAGE)
    length = client.xlen(key)
    # What was ever added is what the group has read, and the lag.
    if not lag or read is None or length >= read + lag:
        return int(lag)
    count = _undelivered(client, key, group, _MOST_DOUBTFUL, _MOST_DOUBTFUL // 10)
    return count if count < _MOST_DOUBTFUL else int(min(lag, length))


def _undelivered(client: Any, key: str, group: Mapping[str, Any], most: int, page: int) -> int:
    """Count the entries after the last delivered one, `page` at once."""
    start, count = _after(group["last-delivered-id"]), 0
    while count < most:
        entries = client.xrange(key, min=start, count=page)
        count += len(entries)
        if len(entries) < page:
            break
        start = _after(entries[-1][0])
    return count


def _after(entry: bytes) -> str:
    """Return the id that follows an entry's. Redis before 6.2 has no exclusive ranges."""
    milliseconds, _, sequence = entry.decode().partition("-")
    return f"{milliseconds}-{int(sequence) + 1}"


def _oldest_in_stream(client: Any, key: str, source: RedisSource, now: float) -> float | None:
    """Return the time of the oldest entry; with a group, of the oldest one that is pending or not delivered."""
    del now
    if source.group is None:
        ids = [entry for entry, _ in client.xrange(key, count=1)]
    else:
        group = _group(client, key, source.group)
        ids = [entry for entry, _ in client.xrange(key, min=_after(group["last-delivered-id"]), count=1)]
        pending = client.xpending(key, source.group)
        ids += [pending["min"]] if pending["min"] else []
    return min((int(entry.partition(b"-")[0]) / 1e3 for entry in ids), default=None)


# ---------------------------------------------------------------------------------------------
# Ages


def _oldest_in_list(client: Any, key: str, source: RedisSource, now: float) -> float | None:
    del now
    entry = client.lindex(key, 0 if source.oldest == "first" else -1)
    return None if entry is None else _moment(client, key, entry, source)


def _oldest_sorted(client: Any, key: str, source: RedisSource, now: float) -> float | None:
    """Return when the first entry became due; without `due`, what the entry itself says."""
    found = client.zrange(key, 0, 0, withscores=True)
    if not found:
        return None
    [(entry, score)] = found
    if source.due is None:
        return _moment(client, key, entry, source)
    due = float(score) / _scale(source)
    return due if due <= now else None


def _oldest_in_hash(client: Any, key: str, source: RedisSource, now: float) -> float | None:
    del now
    if source.field is None:
        raise MetricError(f"{key} is a hash: name the `field` that holds a time")
    value = _field(client, key, source)
    return None if value is None else seconds_since_1970(value, source.unit, f"the field {source.field} of {key}")


def _oldest_in_string(client: Any, key: str, source: RedisSource, now: float) -> float | None:
    del now
    return seconds_since_1970(_text(client, key), source.unit, key)


def _moment(client: Any, key: str, entry: bytes, source: RedisSource) -> float:
    """Return the time that an entry holds, or the record that it is the id of."""
    if source.entry is None:
        return moment_in(entry, source.age_field, source.unit, f"an entry of {key}")
    if "{id}" not in source.entry:
        record = client.hget(source.entry, entry)
        return moment_in(record, source.age_field, source.unit, f"an entry of {source.entry}")
    name = source.entry.replace("{id}", entry.decode(errors="surrogateescape"))
    if client.type(name) == b"hash":
        value = client.hget(name, source.age_field)
        if value is None:
            raise MetricError(f"{name} has no field {source.age_field}")
        return seconds_since_1970(value, source.unit, f"the field {source.age_field} of {name}")
    return moment_in(_text(client, name), source.age_field, source.unit, name)


def moment_in(text: bytes | None, field: str, unit: str | None, where: str) -> float:
    """Return the time in a JSON document, at a name or a JSON pointer, in seconds since 1970."""
    if text is None:
        raise MetricError(f"{where} does not exist")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise MetricError(f"{where} is no JSON: {quoted(text.decode(errors='replace'))}") from None
    pointer = field if field.startswith("/") or not field else "/" + field.replace("~", "~0").replace("/", "~1")
    return seconds_since_1970(at_pointer(document, pointer), unit, f"{pointer or 'the whole'} of {where}")


_COUNTS: Mapping[str, Callable[[Any, str, RedisSource, float], float]] = {
    "list": _count_list,
    "stream": _count_stream,
    "zset": _count_sorted,
    "hash": _count_hash,
    "set": _count_set,
    "string": _count_string,
}
_OLDEST: Mapping[str, Callable[[Any, str, RedisSource, float], float | None]] = {
    "list": _oldest_in_list,
    "stream": _oldest_in_stream,
    "zset": _oldest_sorted,
    "hash": _oldest_in_hash,
    "string": _oldest_in_string,
}
