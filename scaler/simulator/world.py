"""The world: everything that exists in the embedded cloud, in one SQLite file that processes share.

One request is one transaction. Things are rows with a JSON body; what changes by itself (a status,
a lock, an action's progress) is never updated but derived from the moments written in the body.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from scaler.errors import StateError
from scaler.simulator import profiles
from scaler.simulator.clock import WorldClock
from scaler.simulator.faults import Effect, FaultReport, Rule
from scaler.simulator.limits import Bucket, Verdict, sliding
from scaler.simulator.profiles import CloudName, Knobs
from scaler.support.files import make_folder, open_file

FOREVER = math.inf
LOG_ROWS = 10_000
"""The request log keeps about this many of the newest rows."""
LOG_BODY = 4_096
"""Characters of a request's body that the log keeps."""
IDLE = 0.01
"""The load of a machine of which nothing else was said."""
CPU_KEPT = 100
"""How many changes of a machine's load are remembered."""
GONE_KEPT_S = 3_600.0
"""Removed servers stay in the file for this long, for lists that lag."""

_SETTINGS = "CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
_SCHEMA = """
CREATE TABLE things (
    id INTEGER PRIMARY KEY AUTOINCREMENT, cloud TEXT NOT NULL, kind TEXT NOT NULL, name TEXT,
    parent INTEGER, created REAL NOT NULL, gone REAL, body TEXT NOT NULL);
CREATE INDEX things_by_kind ON things (cloud, kind, name);
CREATE INDEX things_by_parent ON things (parent, kind);
CREATE TABLE faults (
    id INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT NOT NULL, seen INTEGER NOT NULL DEFAULT 0,
    fired INTEGER NOT NULL DEFAULT 0);
CREATE TABLE log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, cloud TEXT NOT NULL, method TEXT NOT NULL,
    path TEXT NOT NULL, query TEXT NOT NULL, body TEXT, status INTEGER, effects TEXT NOT NULL, agent TEXT NOT NULL);
CREATE TABLE hits (cloud TEXT NOT NULL, second INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (cloud, second))
    WITHOUT ROWID;
INSERT INTO sqlite_sequence (name, seq) VALUES ('things', 4000000);
"""
_SCHEMA_VERSION = 1
_TABLES = ("settings", "things", "faults", "log", "hits")

_DEFAULT_QUOTA: Mapping[str, Mapping[str, int]] = {
    "hetzner": {"servers": 1000, "primary_ips": 2000},
    "digitalocean": {"droplets": 1000},
}
_DEFAULT_RATES: Mapping[str, Mapping[str, int]] = {
    "hetzner": {"per_hour": 3600},
    "digitalocean": {"per_hour": 5000, "per_minute": 250},
}


@dataclass(slots=True)
class Thing:
    """Anything with an id: a server, a droplet, an image, a key, an action. `body` is its kind's own business.

    Machines (`kind` is `server` at both clouds) have in their body a `timeline`, pairs of a moment and the
    status that begins then, and `busy_until`, when the action that holds the lock is over.
    """

    cloud: CloudName
    kind: str
    name: str | None
    body: dict[str, Any]
    created: float = 0.0
    gone: float | None = None
    """From when on nobody sees it; None: it is here to stay."""
    parent: int | None = None
    """The machine that it belongs to."""
    id: int = field(default=0)

    def exists(self, now: float) -> bool:
        """Whether it was there at a moment."""
        return self.created <= now and (self.gone is None or self.gone > now)

    def status(self, now: float) -> str:
        """The machine's status at a moment."""
        current = ""
        for moment, status in self.body["timeline"]:
            if moment > now:
                break
            current = status
        return current or self.body["timeline"][0][1]

    def cpu(self, now: float) -> float:
        """The machine's load at a moment: the share of all its cores, while it runs."""
        shares = [share for moment, share in self.body.get("cpu", ()) if moment <= now]
        return float(shares[-1]) if shares else IDLE

    def busy_s(self, start: float, end: float) -> float:
        """How many seconds of a time the machine was busy, of as many as the time has."""
        inner = [moment for moment, _ in self.body.get("cpu", ()) if start < moment < end]
        edges = [start, *inner, end]
        return sum(((after - before) * self.cpu(before) for before, after in pairwise(edges)), 0.0)

    def running_since(self, now: float) -> float | None:
        """From when on the machine has been running; None if it does not."""
        since: float | None = None
        for moment, status in self.body["timeline"]:
            if moment > now:
                break
            since = (moment if since is None else since) if status in ("running", "active") else None
        return since

    def locked(self, now: float) -> bool:
        """Whether an action runs on the machine."""
        return float(self.body.get("busy_until", 0.0)) > now

    def become(self, now: float, *steps: tuple[float, str]) -> None:
        """Forget what was to come, and take these statuses at these moments instead."""
        past = [step for step in self.body["timeline"] if step[0] <= now]
        self.body["timeline"] = [*past, *map(list, steps)]


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request as the log has it. Headers, and so the token, are never kept."""

    id: int
    at: float
    cloud: str
    method: str
    path: str
    query: str
    body: str | None
    status: int | None
    """None: no answer was sent."""
    agent: str
    effects: tuple[str, ...]
    """The faults that hit it."""

    @property
    def names(self) -> list[str]:
        """The machines that a create request asks for: at DigitalOcean one may have several."""
        body = json.loads(self.body or "")
        return body.get("names") or [body["name"]]


def token_hash(token: str) -> str:
    """What the world keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def address(cloud: CloudName, id: int) -> str:
    """A public IPv4 address. All of 127/8 is loopback: whoever probes it never leaves the machine."""
    low = id % (1 << 22)
    return f"127.{(128 if cloud == 'hetzner' else 64) + (low >> 16)}.{low >> 8 & 255}.{low & 255}"


class World:
    """One world file. Safe to use from several threads, and by several processes on the same file.

    Every method is a transaction of its own, or part of the one that `transaction` has open.
    """

    def __init__(self, path: Path) -> None:
        """Open the world, or make a new one with a key `deploy` and a snapshot `worker-golden` at each cloud.

        StateError if the file is no world, or cannot be written.
        """
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._now = 0.0
        self._settings: dict[str, Any] = {}
        try:
            make_folder(path.parent)
            # Made here, since SQLite heeds nothing but the umask; its other files follow this one.
            os.close(open_file(path, os.O_RDWR | os.O_CREAT))
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            # Losing the last second in a power cut is fine for a simulated cloud; waiting for the disk is not.
            self._db.execute("PRAGMA synchronous = OFF")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._create_if_new()
        except (OSError, sqlite3.Error) as error:
            raise StateError(
                f"{path} cannot be used as the embedded cloud's world.",
                why=str(error),
                fix="choose another file, or remove this one: a new world is made in its place",
            ) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _create_if_new(self) -> None:
        version, tables = self._db.execute(
            "SELECT user_version, (SELECT count(*) FROM sqlite_master WHERE name != 'settings') "
            "FROM pragma_user_version"
        ).fetchone()
        if version > _SCHEMA_VERSION or (version == 0 and tables):
            raise sqlite3.DatabaseError("it was made by a newer version, or by another program")
        self._db.execute(_SETTINGS)
        # All the rest in one transaction: another process, or a kill, finds a whole world or none.
        with self.transaction():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.strip().split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                self._seed()

    # -----------------------------------------------------------------------------------------
    # Transactions, settings, time

    @contextmanager
    def transaction(self) -> Iterator[float]:
        """All or nothing, and alone: yields the moment (`now`) that holds for all of it. May be nested."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
                self._load_settings()
                self._now = self._clock.now()
            self._depth += 1
            try:
                yield self._now
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("COMMIT")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the block did if it raises, and keep the transaction around it."""
        self._db.execute("SAVEPOINT request")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK TO request")
            self._db.execute("RELEASE request")
            self._load_settings()
            raise
        self._db.execute("RELEASE request")

    def _load_settings(self) -> None:
        self._settings = {key: json.loads(value) for key, value in self._db.execute("SELECT key, value FROM settings")}

    def setting(self, key: str, default: Any = None) -> Any:
        """A small JSON value that belongs to the world."""
        with self.transaction():
            return self._settings.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Keep a small JSON value."""
        with self.transaction():
            self._settings[key] = value
            self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, json.dumps(value)))

    @property
    def _clock(self) -> WorldClock:
        stored = self._settings.get("clock")
        return WorldClock(*stored) if stored else WorldClock.started()

    def _set_clock(self, clock: WorldClock) -> None:
        self.set("clock", [clock.real, clock.world, clock.speed])

    @property
    def now(self) -> float:
        """The world's time, in seconds since 1970; it stands still within a transaction."""
        with self.transaction() as now:
            return now

    def advance(self, seconds: float) -> None:
        """Move the world's time forward."""
        with self.transaction():
            self._set_clock(self._clock.advanced(seconds))

    def set_speed(self, speed: float) -> None:
        """Make the world's time run this much faster than real; 0: only `advance` moves it."""
        with self.transaction():
            self._set_clock(self._clock.at_speed(speed))

    def set_profile(self, profile: str, **overrides: float) -> None:
        """Choose how long things take (`profiles.PROFILES`), with single knobs overridden at both clouds."""
        for cloud in profiles.CLOUDS:
            profiles.knobs(profile, cloud, overrides)
        with self.transaction():
            self.set("profile", profile)
            self.set("knobs", dict.fromkeys(profiles.CLOUDS, overrides))

    def set_knobs(self, cloud: CloudName | None = None, **overrides: float) -> None:
        """Override single knobs, at one cloud or at both."""
        with self.transaction():
            current = self.setting("knobs", {})
            for name in (cloud,) if cloud else profiles.CLOUDS:
                current[name] = {**current.get(name, {}), **overrides}
                profiles.knobs(self.profile, name, current[name])
            self.set("knobs", current)

    @property
    def profile(self) -> str:
        """The name of the latency profile."""
        return str(self.setting("profile", profiles.DEFAULT_PROFILE))

    def knobs(self, cloud: CloudName) -> Knobs:
        """How long things take at one cloud now."""
        with self.transaction():
            return profiles.knobs(self.profile, cloud, self.setting("knobs", {}).get(cloud, {}))

    def reset(self) -> None:
        """Make the world as if it were new; only time goes on."""
        with self.transaction():
            clock = self._settings.get("clock")
            for table in _TABLES:
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - our own table names
            self._settings = {}
            if clock:
                self.set("clock", clock)
            self._seed()

    def _seed(self) -> None:
        with self.transaction():
            for cloud in profiles.CLOUDS:
                self.add_ssh_key(cloud, "deploy", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmbeddedCloudDeployKey deploy")
            worker = {"role": "worker"}
            self.add_snapshot("hetzner", "worker-golden", labels=worker, disk=40)
            self.add_snapshot("digitalocean", "worker-golden", labels=worker, disk=25, regions=("fra1", "nyc3", "ams3"))

    # -----------------------------------------------------------------------------------------
    # Things

    def add(
        self,
        cloud: CloudName,
        kind: str,
        name: str | None,
        body: dict[str, Any],
        *,
        parent: int | None = None,
        created: float | None = None,
    ) -> Thing:
        """Make a thing exist."""
        with self.transaction() as now:
            thing = Thing(cloud, kind, name, body, now if created is None else created, None, parent)
            cursor = self._db.execute(
                "INSERT INTO things (cloud, kind, name, parent, created, gone, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (cloud, kind, name, parent, thing.created, None, json.dumps(body)),
            )
            thing.id = cursor.lastrowid or 0
            return thing

    def save(self, thing: Thing) -> None:
        """Write a changed thing back."""
        with self.transaction():
            self._db.execute(
                "UPDATE things SET name = ?, parent = ?, created = ?, gone = ?, body = ? WHERE id = ?",
                (thing.name, thing.parent, thing.created, thing.gone, json.dumps(thing.body), thing.id),
            )

    def remove(self, thing: Thing, *, at: float | None = None) -> None:
        """Make a thing cease to exist, now or later."""
        with self.transaction() as now:
            thing.gone = now if at is None else at
            self.save(thing)
            self._db.execute(
                "DELETE FROM things WHERE kind = ? AND cloud = ? AND gone < ?",
                (thing.kind, thing.cloud, now - GONE_KEPT_S),
            )

    def get(self, cloud: CloudName, kind: str, id: int) -> Thing | None:
        """The thing with an id, if it exists now."""
        found = self._select("id = ? AND cloud = ? AND kind = ?", (id, cloud, kind))
        return found[0] if found else None

    def find(self, cloud: CloudName, kind: str, name: str) -> list[Thing]:
        """The things of a kind and name, in order of their ids."""
        return self._select("cloud = ? AND kind = ? AND name = ?", (cloud, kind, name))

    def things(self, cloud: CloudName, kind: str, *, at: float | None = None) -> list[Thing]:
        """All things of a kind, in order of their ids; as they were `at` an earlier moment, if one is given."""
        return self._select("cloud = ? AND kind = ?", (cloud, kind), at=at)

    def children(self, parent: int, kind: str) -> Sequence[Thing]:
        """What belongs to a machine."""
        return self._select("parent = ? AND kind = ?", (parent, kind))

    def count(self, cloud: CloudName, kind: str, *, at: float | None = None) -> int:
        """How many of a kind there are, or were."""
        with self.transaction() as now:
            moment = now if at is None else at
            (number,) = self._db.execute(
                "SELECT count(*) FROM things WHERE cloud = ? AND kind = ? AND (gone IS NULL OR gone > ?)",
                (cloud, kind, moment),
            ).fetchone()
            return int(number)

    def _select(self, where: str, parameters: tuple[Any, ...], *, at: float | None = None) -> list[Thing]:
        with self.transaction() as now:
            moment = now if at is None else at
            rows = self._db.execute(
                "SELECT cloud, kind, name, body, created, gone, parent, id FROM things "  # noqa: S608 - our own words
                f"WHERE {where} AND created <= ? AND (gone IS NULL OR gone > ?) ORDER BY id",
                (*parameters, moment, moment),
            ).fetchall()
        return [
            Thing(cloud, kind, name, json.loads(body), created, gone, parent, number)
            for cloud, kind, name, body, created, gone, parent, number in rows
        ]

    # -----------------------------------------------------------------------------------------
    # Edits from outside: what a person does in the vendor's console

    def servers(self, cloud: CloudName = "hetzner") -> list[Thing]:
        """The machines that exist now, in order of their ids."""
        return self.things(cloud, "server")

    def server(self, cloud: CloudName, id: int) -> Thing:
        """One machine; LookupError if there is none."""
        found = self.get(cloud, "server", id)
        if found is None:
            raise LookupError(f"no server {id} at {cloud}")
        return found

    def add_server(
        self,
        cloud: CloudName,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        tags: Sequence[str] = (),
        type: str | None = None,
        location: str | None = None,
        image: int | None = None,
        status: str | None = None,
    ) -> Thing:
        """A machine that somebody else made: `labels` at Hetzner, `tags` at DigitalOcean."""
        hetzner = cloud == "hetzner"
        with self.transaction() as now:
            body = {
                "type": type or ("cx23" if hetzner else "s-1vcpu-1gb"),
                "location": location or ("fsn1" if hetzner else "fra1"),
                "image": image,
                "labels": dict(labels or {}),
                "tags": list(tags),
                "timeline": [[now, status or ("running" if hetzner else "active")]],
                "busy_until": 0.0,
            }
            return self.add(cloud, "server", name, body)

    def vanish(self, cloud: CloudName, id: int) -> None:
        """Take a machine away without an action."""
        with self.transaction():
            self.remove(self.server(cloud, id))

    def set_status(self, cloud: CloudName, id: int, status: str) -> None:
        """Give a machine any of its cloud's statuses, from now on."""
        with self.transaction() as now:
            server = self.server(cloud, id)
            server.become(now, (now, status))
            self.save(server)

    def power_off(self, cloud: CloudName, id: int) -> None:
        """Switch a machine off without an action."""
        self.set_status(cloud, id, "off")

    def set_cpu(self, cloud: CloudName, id: int, share: float) -> None:
        """Load a machine, from now on: 1 is all its cores."""
        if not 0 <= share <= 1:
            raise ValueError(f"a machine's load is from 0 to 1, not {share}")
        with self.transaction() as now:
            server = self.server(cloud, id)
            server.body["cpu"] = [*server.body.get("cpu", ())[-CPU_KEPT:], [now, share]]
            self.save(server)

    def relabel(
        self, cloud: CloudName, id: int, labels: Mapping[str, str] | None = None, tags: Sequence[str] | None = None
    ) -> None:
        """Replace a machine's labels (Hetzner) or tags (DigitalOcean)."""
        with self.transaction():
            server = self.server(cloud, id)
            if labels is not None:
                server.body["labels"] = dict(labels)
            if tags is not None:
                server.body["tags"] = list(tags)
            self.save(server)

    def rename(self, cloud: CloudName, id: int, name: str) -> None:
        """Give a machine another name."""
        with self.transaction():
            server = self.server(cloud, id)
            server.name = name
            self.save(server)

    def resize(self, cloud: CloudName, id: int, type: str) -> None:
        """Give a machine another type or size."""
        with self.transaction():
            server = self.server(cloud, id)
            server.body["type"] = type
            self.save(server)

    def add_snapshot(
        self,
        cloud: CloudName,
        description: str,
        *,
        labels: Mapping[str, str] | None = None,
        disk: int = 40,
        architecture: str = "x86",
        regions: Sequence[str] | None = None,
        ready_in: float = 0.0,
        size_gb: float = 2.3,
        source: int | None = None,
    ) -> Thing:
        """A snapshot, available after `ready_in` seconds. Labels are tags `key:value` at DigitalOcean.

        `regions` holds for DigitalOcean alone; None: everywhere.
        """
        with self.transaction() as now:
            body = {
                "labels": dict(labels or {}),
                "tags": [f"{key}:{value}" if value else key for key, value in (labels or {}).items()],
                "disk": disk,
                "architecture": architecture,
                "regions": None if regions is None else list(regions),
                "available_at": now + ready_in,
                "size_gb": size_gb,
                "source": source,
            }
            return self.add(cloud, "snapshot", description, body)

    def remove_snapshot(self, cloud: CloudName, id: int) -> None:
        """Delete a snapshot; LookupError if there is none."""
        with self.transaction():
            found = self.get(cloud, "snapshot", id)
            if found is None:
                raise LookupError(f"no snapshot {id} at {cloud}")
            self.remove(found)

    def add_ssh_key(self, cloud: CloudName, name: str, public_key: str) -> Thing:
        """An SSH key."""
        digest = hashlib.md5(public_key.encode(), usedforsecurity=False).hexdigest()
        fingerprint = ":".join(digest[at : at + 2] for at in range(0, 32, 2))
        return self.add(cloud, "ssh_key", name, {"public_key": public_key, "fingerprint": fingerprint, "labels": {}})

    # -----------------------------------------------------------------------------------------
    # The account: quota, capacity, tokens, rate limits

    def quota(self, cloud: CloudName, what: str) -> int:
        """How many `servers`, `primary_ips` or `droplets` the account may have."""
        return int({**_DEFAULT_QUOTA[cloud], **self.setting("quota", {}).get(cloud, {})}[what])

    def set_quota(self, cloud: CloudName, **limits: int) -> None:
        """Change how many the account may have: `servers`, `primary_ips`; `droplets`."""
        if unknown := set(limits) - set(_DEFAULT_QUOTA[cloud]):
            raise ValueError(f"{cloud} has no quota {', '.join(unknown)}: it has {', '.join(_DEFAULT_QUOTA[cloud])}")
        with self.transaction():
            quota = self.setting("quota", {})
            self.set("quota", {**quota, cloud: {**quota.get(cloud, {}), **limits}})

    def set_capacity(self, cloud: CloudName, type: str, location: str, left: int | None) -> None:
        """Let only so many more of a type be made at a location (`*`: any); None: as many as you like."""
        with self.transaction():
            capacity = {**self.setting("capacity", {}), f"{cloud} {type} {location}": left}
            self.set("capacity", {key: value for key, value in capacity.items() if value is not None})

    def _capacity_key(self, cloud: CloudName, type: str, location: str) -> str | None:
        capacity = self.setting("capacity", {})
        pairs = ((type, location), (type, "*"), ("*", location), ("*", "*"))
        keys = (f"{cloud} {kind} {place}" for kind, place in pairs)
        return next((key for key in keys if key in capacity), None)

    def has_capacity(self, cloud: CloudName, type: str, location: str) -> bool:
        """Whether one more of a type can be made at a location now."""
        with self.transaction():
            key = self._capacity_key(cloud, type, location)
            return key is None or self.setting("capacity")[key] > 0

    def take_capacity(self, cloud: CloudName, type: str, location: str) -> bool:
        """Take room for one machine; False if there is none."""
        with self.transaction():
            key = self._capacity_key(cloud, type, location)
            if key is None:
                return True
            capacity = self.setting("capacity")
            if capacity[key] <= 0:
                return False
            self.set("capacity", {**capacity, key: capacity[key] - 1})
            return True

    def deprecate(self, cloud: CloudName, type: str) -> None:
        """Withdraw a type from sale, as of now."""
        with self.transaction() as now:
            self.set("deprecated", {**self.setting("deprecated", {}), f"{cloud} {type}": now})

    def deprecated_since(self, cloud: CloudName, type: str) -> float | None:
        """When a type was withdrawn from sale, if it was."""
        moment = self.setting("deprecated", {}).get(f"{cloud} {type}")
        return None if moment is None else float(moment)

    def set_tokens(
        self,
        cloud: CloudName,
        *,
        allowed: Sequence[str] | None = None,
        revoked: bool = False,
        readonly: bool = False,
    ) -> None:
        """Which tokens work: only those `allowed` (None: any well-formed one), none if `revoked`."""
        hashes = None if allowed is None else [token_hash(token) for token in allowed]
        with self.transaction():
            state = {"allowed": hashes, "revoked": revoked, "readonly": readonly}
            self.set("tokens", {**self.setting("tokens", {}), cloud: state})

    def token_accepted(self, cloud: CloudName, token: str) -> bool:
        """Whether a token works."""
        state = self.setting("tokens", {}).get(cloud, {})
        allowed = state.get("allowed")
        return not state.get("revoked") and (allowed is None or token_hash(token) in allowed)

    def token_readonly(self, cloud: CloudName) -> bool:
        """Whether tokens may only read."""
        return bool(self.setting("tokens", {}).get(cloud, {}).get("readonly"))

    def set_rate_limit(self, cloud: CloudName, **limits: int) -> None:
        """Change the limits: `per_hour`, and `per_minute` at DigitalOcean. The counting starts anew."""
        with self.transaction():
            self.set("rates", {**self.setting("rates", {}), cloud: {**_DEFAULT_RATES[cloud], **limits}})
            self.set("bucket", None)
            self._db.execute("DELETE FROM hits WHERE cloud = ?", (cloud,))

    def take_request(self, cloud: CloudName) -> Verdict:
        """Count a request against the vendor's rate limit."""
        limits = self.setting("rates", {}).get(cloud, _DEFAULT_RATES[cloud])
        with self.transaction() as now:
            return self._take_token(limits, now) if cloud == "hetzner" else self._take_hit(cloud, limits, now)

    def _take_token(self, limits: Mapping[str, int], now: float) -> Verdict:
        per_hour = limits["per_hour"]
        level, at = self.setting("bucket") or (per_hour, now)
        verdict, bucket = Bucket(per_hour, level, at).take(now)
        self.set("bucket", [bucket.level, bucket.at])
        return verdict

    def _take_hit(self, cloud: CloudName, limits: Mapping[str, int], now: float) -> Verdict:
        rows = self._db.execute("SELECT second, count FROM hits WHERE cloud = ? AND second > ?", (cloud, now - 3600))
        verdict = sliding(dict(rows.fetchall()), now, per_hour=limits["per_hour"], per_minute=limits["per_minute"])
        if verdict.allowed:
            self._db.execute(
                "INSERT INTO hits VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1", (cloud, int(now))
            )
            self._db.execute("DELETE FROM hits WHERE cloud = ? AND second <= ?", (cloud, now - 3600))
        return verdict

    # -----------------------------------------------------------------------------------------
    # Faults

    def add_fault(
        self,
        effect: str,
        *,
        method: str = ".*",
        path: str = "",
        body: Any = None,
        skip: int = 0,
        times: int | None = 1,
        **parameters: Any,
    ) -> int:
        """Order a failure; returns the rule's id. The effects are in `faults`, their parameters follow.

        `world.add_fault("respond", method="POST", path="/servers$", status=503, code="unavailable")`
        """
        return self.add_rule(
            Rule(effect=Effect(effect, parameters), method=method, path=path, body=body, skip=skip, times=times)
        )

    def add_rule(self, rule: Rule) -> int:
        """Order a failure; returns the rule's id."""
        with self.transaction():
            cursor = self._db.execute("INSERT INTO faults (rule) VALUES (?)", (json.dumps(rule.to_json()),))
            return cursor.lastrowid or 0

    def faults(self) -> list[FaultReport]:
        """All rules and how often each has fired."""
        with self.transaction():
            rows = self._db.execute("SELECT id, rule, seen, fired FROM faults ORDER BY id").fetchall()
        return [FaultReport(number, Rule.from_json(json.loads(rule)), *counts) for number, rule, *counts in rows]

    def fired(self, id: int) -> int:
        """How many requests a rule has hit."""
        return next(report.fired for report in self.faults() if report.id == id)

    def clear_faults(self, id: int | None = None) -> None:
        """Drop one rule, or all."""
        with self.transaction():
            self._db.execute("DELETE FROM faults WHERE ? IS NULL OR id = ?", (id, id))

    def hit(self, method: str, path: str, body: Any) -> list[Effect]:
        """The effects that hit a request; each rule counts it."""
        effects = []
        with self.transaction():
            for report in self.faults():
                rule = report.rule
                spent = rule.times is not None and report.fired >= rule.times
                if spent or not rule.matches(method, path, body):
                    continue
                fires = report.seen >= rule.skip
                self._db.execute(
                    "UPDATE faults SET seen = seen + 1, fired = fired + ? WHERE id = ?", (int(fires), report.id)
                )
                if fires:
                    effects.append(rule.effect)
        return effects

    def apply(self, cloud: CloudName, effect: Effect) -> None:
        """Carry out an effect that changes the world."""
        match effect.kind:
            case "capacity":
                left = effect.get("left", 0)
                self.set_capacity(cloud, effect.get("type", "*"), effect.get("location", "*"), left)
            case "quota":
                self.set_quota(cloud, **effect.parameters)
            case "deprecate":
                self.deprecate(cloud, effect.get("type"))
            case "token_revoked":
                self.set_tokens(cloud, revoked=True)
            case "token_readonly":
                self.set_tokens(cloud, readonly=True)

    # -----------------------------------------------------------------------------------------
    # The log

    def record(
        self,
        cloud: CloudName,
        method: str,
        path: str,
        *,
        query: str = "",
        body: str | None = None,
        status: int | None,
        effects: Sequence[str] = (),
        agent: str = "",
    ) -> None:
        """Log a request. The caller has taken the token out of everything."""
        with self.transaction() as now:
            cursor = self._db.execute(
                "INSERT INTO log (at, cloud, method, path, query, body, status, effects, agent) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (now, cloud, method, path, query, body and body[:LOG_BODY], status, " ".join(effects), agent),
            )
            newest = cursor.lastrowid or 0
            if newest % 256 == 0:
                self._db.execute("DELETE FROM log WHERE id <= ?", (newest - LOG_ROWS,))

    def log(self, *, after: int = 0) -> list[LoggedRequest]:
        """The requests of both clouds, oldest first, those with an id above `after`."""
        with self.transaction():
            rows = self._db.execute(
                "SELECT id, at, cloud, method, path, query, body, status, agent, effects FROM log WHERE id > ? "
                "ORDER BY id",
                (after,),
            ).fetchall()
        return [LoggedRequest(*(*row[:-1], tuple(row[-1].split()))) for row in rows]

    def clear_log(self) -> None:
        """Forget the requests so far."""
        with self.transaction():
            self._db.execute("DELETE FROM log")
