"""Documents in a table of the database that holds the engine's state: PostgreSQL, through psycopg."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import errors, sql

from scaler.errors import UsageError
from scaler.records.store import ConflictError, Stored, StoreRefusedError, StoreUnavailableError, check_size
from scaler.support.documents import LARGEST_FILE
from scaler.support.hosts import is_loopback
from scaler.support.text import LONGEST, one_line

_ENGINES_TABLE = "pulumi_state"
"""Where the engine keeps its state, unless the URL says `table=` (pulumi: backend/diy/postgres/bucket.go)."""

_TABLE = "scaler_records"

_LATE_S = 1.0
"""How much longer than the database the connection waits: the database says why."""

_CREATE = "CREATE TABLE IF NOT EXISTS {} (name text PRIMARY KEY, version bigint NOT NULL, content bytea NOT NULL)"


class _Database:
    """The database of a backend, and one table in it, which may not be there yet."""

    def __init__(
        self, url: str, folder: str, environ: Mapping[str, str], patience: timedelta, largest: int = LARGEST_FILE
    ) -> None:
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        table = given.pop("table", "") or _ENGINES_TABLE
        if not re.fullmatch(r"[A-Za-z0-9_.]{1,100}", table):
            raise UsageError("The backend's URL names a table that cannot be one.", fix="Correct `table` in it.")
        host = parts.hostname or given.get("host") or environ.get("PGHOST") or "localhost"
        if "PGSSLMODE" not in environ and "service" not in given and not (host.startswith("/") or is_loopback(host)):
            # As the engine's library does. libpq goes on in clear text where the server offers no TLS.
            given.setdefault("sslmode", "require")
        self._table = sql.Identifier(*self._table_beside(table).split("."))
        self._url = urlunsplit(parts._replace(query=urlencode(given)))
        self._place = f"{parts.hostname or 'PostgreSQL'}{parts.path}"
        self._folder = folder
        self._patience = patience
        self._largest = largest
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def _table_beside(self, engines: str) -> str:
        """Return the table's name, where the engine's is this one."""
        return _TABLE if engines == _ENGINES_TABLE else f"{engines}_{_TABLE}"

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _below(self, folder: str, query: str) -> list[str]:
        """Return the names below a folder of this one, sorted; the query gets what their keys begin with."""
        rows = self._run(query, self._key(f"{folder}/" if folder else ""))
        return sorted(row[0].removeprefix(self._key("")) for row in rows)

    def close(self) -> None:
        if self._connection:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None

    def _run(self, query: str, *values: object, makes: bool = False) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; none where the table is not there, unless `makes` it."""
        statement = sql.SQL(query).format(self._table)
        with self._reported():
            try:
                return self._execute(statement, values)
            except errors.UndefinedTable:
                if not makes:
                    return []
            # Two that make it at once: one of them fails, and finds it made.
            with suppress(errors.UniqueViolation, errors.DuplicateTable):
                self._execute(sql.SQL(_CREATE).format(self._table))
            return self._execute(statement, values)

    def _execute(self, statement: sql.Composed, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        connection = self._connected()
        with self._in_time(connection):
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _in_time(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        """Break the connection if the block takes too long: where a network loses all packets, no answer ever comes."""
        timer = threading.Timer(self._patience.total_seconds() + _LATE_S, _break, (connection,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            limit_ms = int(self._patience.total_seconds() * 1000)
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=max(2, limit_ms // 1000),
                # A poolers' connection refuses options: the limit is set by a statement.
                prepare_threshold=None,
            )
            with self._in_time(self._connection):
                self._connection.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(limit_ms)))
        return self._connection

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            self.close()
            is_refused = isinstance(error, errors.InsufficientPrivilege)
            raise (StoreRefusedError if is_refused else StoreUnavailableError)(
                f"The shared records in {self._place} cannot be read or written.",
                why=one_line(str(error), LONGEST),
                fix="Check the backend's URL and the password; the user must be allowed to make a table, "
                f"or to read and write {_TABLE}.",
            ) from error


def _break(connection: psycopg.Connection[Any]) -> None:
    """Have whoever waits for an answer on this connection get an error instead."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as found:
        found.shutdown(socket.SHUT_RDWR)


class DatabaseStore(_Database):
    """`store.DocumentStore` in PostgreSQL. The table is made with the first write; versions count the writes."""

    def read(self, name: str, known: str | None = None) -> Stored | None:
        # One round trip, and no content that is known or too large.
        query = "SELECT version, octet_length(content), CASE WHEN version = %s OR octet_length(content) > %s THEN NULL "
        query += "ELSE content END FROM {} WHERE name = %s"
        rows = self._run(query, int(known or 0), self._largest, self._key(name))
        if not rows:
            return None
        version, size, content = rows[0]
        if str(version) == known:
            return Stored(known, None)
        check_size(size, self._largest)
        return Stored(str(version), bytes(content))

    def write(self, name: str, content: bytes, after: str | None = None) -> str:
        # The first version is a time and not 1, so that a document that was deleted and made anew has another one.
        if after is None:
            query = "INSERT INTO {} (name, version, content) VALUES (%s, {first}, %s) "
            query += "ON CONFLICT DO NOTHING RETURNING version"
            first = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
            rows = self._run(query.replace("{first}", first), self._key(name), content, makes=True)
        else:
            query = "UPDATE {} SET version = version + 1, content = %s WHERE name = %s AND version = %s "
            query += "RETURNING version"
            rows = self._run(query, content, self._key(name), int(after))
        if not rows:
            raise ConflictError(f"Another machine has written {name} in {self._place}.")
        return f"{rows[0][0]}"

    def names(self, folder: str = "") -> Sequence[str]:
        return self._below(folder, "SELECT name FROM {} WHERE starts_with(name, %s)")

    def delete(self, name: str) -> None:
        self._run("DELETE FROM {} WHERE name = %s RETURNING name", self._key(name))


class EngineRows(_Database):
    """`store.EngineFiles` in PostgreSQL: the rows of the engine's table below one folder.

    Source of their form: pulumi's pkg/backend/diy/postgres/bucket.go.
    """

    def __init__(self, url: str, folder: str, environ: Mapping[str, str], patience: timedelta, largest: int) -> None:
        # The engine takes the path of the URL for a folder, and it is the name of the database.
        database = unquote(urlsplit(url).path).strip("/")
        super().__init__(url, f"{database}/{folder}" if database else folder, environ, patience, largest)

    def names(self, folder: str = "") -> Sequence[str]:
        return self._below(folder, "SELECT key FROM {} WHERE starts_with(key, %s)")

    def read(self, name: str, known: str | None = None) -> Stored | None:
        # The size is that of base64 and of JSON around it.
        query = "SELECT updated_at::text, octet_length(data::text) / 4 * 3, "
        query += "CASE WHEN updated_at::text = %s OR octet_length(data::text) / 4 * 3 > %s THEN NULL "
        query += "ELSE decode(data->>'data', 'base64') END FROM {} WHERE key = %s"
        rows = self._run(query, known or "", self._largest, self._key(name))
        if not rows:
            return None
        version, size, content = rows[0]
        if version == known:
            return Stored(version, None)
        check_size(size, self._largest)
        return Stored(version, bytes(content or b""))

    def delete(self, name: str) -> None:
        self._run("DELETE FROM {} WHERE key = %s RETURNING key", self._key(name))

    def _table_beside(self, engines: str) -> str:
        return engines
