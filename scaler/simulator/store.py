"""The world's file: SQLite that processes share. Settings, things, faults and the log of requests.

One request is one transaction. Things are rows with a JSON body; what changes by itself (a status,
a lock, an action's progress) is never updated but derived from the moments written in the body.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scaler.errors import StateError
from scaler.simulator.clock import WorldClock
from scaler.simulator.profiles import CloudName
from scaler.simulator.things import LoggedRequest, Thing
from scaler.support.files import make_folder, open_file, require_regular

LOG_ROWS = 10_000
"""The request log keeps about this many of the newest rows."""
LOG_BODY = 4_096
"""Characters of a request's body that the log keeps."""
GONE_KEPT_S = 3_600.0
"""Removed servers stay in the file for this long, for lists that lag."""

_IDS = 1 << 63
"""Ids are below this: it is what SQLite can hold."""

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


def _make_file(path: Path) -> None:
    """Make the file if there is none, since SQLite reads only the umask; its other files get the mode of this one.

    Raises OSError for a link or a device. A file that is there is not opened: closing it again would end the locks
    that SQLite holds on it for this process, and another process would take the file apart under it
    (sqlite.org/howtocorrupt.html, 2.2).
    """
    with suppress(FileExistsError):
        os.close(open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            require_regular(path.with_name(f"{path.name}{suffix}"))


def _unusable(path: Path, error: sqlite3.OperationalError) -> StateError:
    """Return what it means that the machine, and not the file, is at fault: the world is whole."""
    return StateError(
        f"The embedded cloud cannot use its world {path}.",
        why=str(error),
        fix="See whether its disk is full, a limit of file sizes (`ulimit -f`) is reached, or another process holds "
        "the file, then run the same command again. Do not remove it: the servers are in there.",
    )


class Store:
    """One file with settings, things and a log. Several threads and several processes may use it at once.

    Every method is a transaction of its own, or part of the one that `transaction` has open.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make a new one. StateError if it is no world, or cannot be written."""
        self.path = path
        self._lock = threading.RLock()
        self._is_open = False
        self._now = 0.0
        self._settings: dict[str, Any] = {}
        try:
            make_folder(path.parent)
            _make_file(path)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            # Losing the last second in a power cut is fine for a simulated cloud; waiting for the disk is not.
            self._db.execute("PRAGMA synchronous = OFF")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._create_if_new()
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, sqlite3.OperationalError):
                raise _unusable(path, error) from error
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
        """All or nothing, and alone: yields the moment (`now`) that holds for all of it. May be nested.

        Raises StateError if the file cannot be read or written now.
        """
        with self._lock:
            if self._is_open:
                yield self._now
                return
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._load_settings()
                self._now = self._clock.now()
                self._is_open = True
                yield self._now
                self._db.execute("COMMIT")
            except BaseException as error:
                # SQLite itself has done so when the disk is full.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise _unusable(self.path, error) from error
                raise
            finally:
                self._is_open = False

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the block did if it raises, and keep the transaction around it."""
        self._db.execute("SAVEPOINT request")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
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

    def chance(self, share: float) -> bool:
        """Whether something happens that happens to this share of all: the same in each world, draw by draw."""
        if share <= 0:
            return False
        with self.transaction():
            drawn = int(self._settings.get("drawn", 0)) + 1
            self.set("drawn", drawn)
            return random.Random(drawn).random() < share  # noqa: S311 - no secret

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
        """What a new file has from the start."""

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
        if not 0 < id < _IDS:
            return None
        found = self._select("id = ? AND cloud = ? AND kind = ?", (id, cloud, kind))
        return found[0] if found else None

    def find(self, cloud: CloudName, kind: str, name: str) -> list[Thing]:
        """The things of a kind and name, in order of their ids."""
        return self._select("cloud = ? AND kind = ? AND name = ?", (cloud, kind, name))

    def things(self, cloud: CloudName, kind: str, *, at: float | None = None) -> list[Thing]:
        """All things of a kind, in order of their ids; as they were `at` an earlier moment, if one is given."""
        return self._select("cloud = ? AND kind = ?", (cloud, kind), at=at)

    def held(self, cloud: CloudName, kind: str) -> list[Thing]:
        """The things of a kind whose name and places are taken: those that exist, and those still being deleted."""
        with self.transaction() as now:
            things = self._select("cloud = ? AND kind = ?", (cloud, kind), gone_since=now - GONE_KEPT_S)
            return [thing for thing in things if thing.exists(now) or thing.body.get("held_until", 0.0) > now]

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

    def _select(
        self, where: str, parameters: tuple[Any, ...], *, at: float | None = None, gone_since: float | None = None
    ) -> list[Thing]:
        with self.transaction() as now:
            moment = now if at is None else at
            rows = self._db.execute(
                "SELECT cloud, kind, name, body, created, gone, parent, id FROM things "  # noqa: S608 - our own words
                f"WHERE {where} AND created <= ? AND (gone IS NULL OR gone > ?) ORDER BY id",
                (*parameters, moment, moment if gone_since is None else gone_since),
            ).fetchall()
        return [
            Thing(cloud, kind, name, json.loads(body), created, gone, parent, number).at(moment)
            for cloud, kind, name, body, created, gone, parent, number in rows
        ]

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
