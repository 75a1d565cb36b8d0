"""One number from a query on PostgreSQL, MySQL, MariaDB or SQLite."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.autoscale.metrics.documents import LARGEST, number_of
from scaler.autoscale.metrics.http import secret
from scaler.autoscale.metrics.moments import seconds_since_1970
from scaler.model.autoscaling import SqlSource
from scaler.support.clock import time_at, usable
from scaler.support.documents import size_text

_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite",
}

_MYSQL_PARAMETERS = frozenset(
    {"charset", "collation", "unix_socket", "sql_mode", "program_name", "ssl", "ssl_ca", "ssl_cert", "ssl_key"}
    | {"ssl_check_hostname", "ssl_disabled", "ssl_verify_cert", "ssl_verify_identity"}
)
"""What a URL of MySQL may set. With `local_infile`, the server may ask for any file of this machine."""

_POSTGRESQL_PARAMETERS = frozenset(
    {"host", "hostaddr", "port", "dbname", "user", "password", "options", "application_name", "client_encoding"}
    | {"connect_timeout", "target_session_attrs", "load_balance_hosts", "channel_binding", "gssencmode"}
    | {"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
    | {"sslmode", "sslnegotiation", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslsni"}
    | {"ssl_min_protocol_version", "ssl_max_protocol_version"}
)
"""What a URL of PostgreSQL may set. `sslkeylogfile` is written to; `service` and `passfile` bring passwords along."""

_POSTGRESQL_NO_PASSWORD = {"password": "", "passfile": f"{os.devnull}/none"}
"""Parameters that keep libpq from looking for a password of its own, in PGPASSWORD or ~/.pgpass."""

_COMMAND_OK = 1
"""libpq's status of what succeeded and returns no rows."""

_MOST_COLUMNS = 2

_SHORT_TYPES = frozenset({16, 20, 21, 23, 26, 700, 701, 1082, 1083, 1114, 1184, 1186, 1266, 1700})
"""PostgreSQL's types whose values have a bounded size (catalog/pg_type.dat): boolean, numbers, times."""

_LONGEST_TEXT = 1000
"""Characters of a text that may be a number."""

_TOO_LARGE = f"the query returns a value of more than {size_text(LARGEST)}"

_STEPS = 10_000
"""Instructions of SQLite between two checks of the time."""


def read(source: SqlSource, request: MetricRead) -> Value:
    """Return the number in the only row of the query, and the time in its second column if it has one.

    The session can only read, and a statement is cancelled by the server when the metric's time is over.
    """
    url = _url(source, request)
    with _connected(url, request) as connection:
        _LIMITS[url.get_backend_name()](connection, request.seconds)
        rows = _first_rows(connection, source.query, request.seconds)
    if len(rows) != 1:
        count = "several rows" if rows else "no row"
        raise MetricError(f"the query returns {count}: it must return one, as count(*) and max() do")
    return _value(tuple(rows[0]))


def _first_rows(connection: Connection, query: str, seconds: float) -> Sequence[Sequence[Any]]:
    """Return at most two rows. Without a bound, a driver keeps all that a query returns in memory."""
    if connection.dialect.name != "postgresql":
        # Without parameters, so that a % in the query is not a placeholder.
        return connection.execution_options(no_parameters=True).exec_driver_sql(query).fetchmany(2)
    import psycopg

    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, closing(cursor.stream(_with_short_cells(driver, query))) as rows:
            return list(islice(rows, 2))
    except psycopg.Error as error:
        raise MetricError(_reason(error, seconds)) from None


def _with_short_cells(driver: Any, query: str) -> str:
    """Return the query, with columns of types without a bound cut off by the server: the client keeps a row whole."""
    from psycopg.errors import error_from_result

    statement = driver.pgconn.prepare(b"", query.encode())
    if statement.status != _COMMAND_OK:
        raise error_from_result(statement)
    described = driver.pgconn.describe_prepared(b"")
    types = [described.ftype(column) for column in range(described.nfields)]
    _require_columns(types)
    if all(kind in _SHORT_TYPES for kind in types):
        return query
    names = ", ".join(f"c{number}" for number in range(len(types)))
    cells = ", ".join(
        f"c{number}" if kind in _SHORT_TYPES else f"left(c{number}::text, {_LONGEST_TEXT})"
        for number, kind in enumerate(types)
    )
    return f"select {cells} from ({query.strip().rstrip(';')}\n) as scaler_metric({names})"  # noqa: S608 - it is the query


def _url(source: SqlSource, request: MetricRead) -> URL:
    """Return the database's address with its driver and password. No message repeats it: it may hold a password."""
    text = secret(source.url_env, request) if source.url_env else source.url or ""
    try:
        url = make_url(text)
    except ArgumentError:
        raise MetricError("the database's URL cannot be read: write it as postgresql://user@host:5432/name") from None
    scheme = url.drivername.partition("+")[0]
    if scheme not in _DRIVERS:
        raise MetricError(f"a {scheme} database is not known: write {', '.join(_DRIVERS)}")
    url = url.set(drivername=_DRIVERS[scheme])
    if scheme != "sqlite":
        _require_harmless(url, _POSTGRESQL_PARAMETERS if scheme.startswith("postgres") else _MYSQL_PARAMETERS)
    if source.password_env:
        url = url.set(password=secret(source.password_env, request))
    if scheme == "sqlite":
        path = (request.directory / (url.database or "")).resolve()
        return url.set(database=f"file:{_quoted(path)}", query={"mode": "ro", "uri": "true"})
    return url


def _require_harmless(url: URL, parameters: frozenset[str]) -> None:
    odd = sorted(url.query.keys() - parameters)
    if odd:
        known = ", ".join(sorted(parameters))
        raise MetricError(f"the database's URL has the parameter {odd[0]}, which a metric may not set: only {known}")


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path))


@contextmanager
def _connected(url: URL, request: MetricRead) -> Iterator[Connection]:
    seconds = request.seconds
    has_password = url.password or "PGPASSWORD" in request.named
    arguments: Mapping[str, Mapping[str, Any]] = {
        "postgresql": {
            "connect_timeout": max(1, round(seconds)),
            **({} if has_password else _POSTGRESQL_NO_PASSWORD),
        },
        "mysql": {"connect_timeout": max(1, round(seconds)), "read_timeout": seconds, "write_timeout": seconds},
        "sqlite": {"timeout": seconds},
    }
    backend = url.get_backend_name()
    connect_args = dict(arguments["mysql" if backend == "mariadb" else backend])
    try:
        engine = create_engine(url, poolclass=NullPool, connect_args=connect_args)
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise _metric_error(error, seconds) from None


def _metric_error(error: SQLAlchemyError, seconds: float) -> MetricError:
    """Return what went wrong: our own error, where the connection was closed for it, or the database's."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, MetricError):
        cause = cause.__context__
    if cause is not None:
        return cause
    return MetricError(_reason(error.orig, seconds) if isinstance(error, DBAPIError) else type(error).__name__)


def _reason(error: BaseException | None, seconds: float) -> str:
    """Return the database's own words, which drivers hold in different places."""
    words = error.args[-1] if error is not None and error.args else error
    text = str(words).strip() or type(error).__name__
    late = ("statement timeout", "interrupted", "max_statement_time", "maximum statement execution time", "timed out")
    return f"no answer within {seconds:g}s" if any(one in text for one in late) else text


# ---------------------------------------------------------------------------------------------
# Read-only, for a limited time, and no cell that fills the memory


def _limit_postgresql(connection: Connection, seconds: float) -> None:
    # In the transaction and not at the connection, because a pooler may share the connection.
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {_milliseconds(seconds)}")


def _limit_mysql(connection: Connection, seconds: float) -> None:
    if connection.dialect.is_mariadb:  # type: ignore[attr-defined] # of MySQL's dialect
        connection.exec_driver_sql(f"SET SESSION max_statement_time = {seconds:g}")
    else:
        connection.exec_driver_sql(f"SET SESSION max_execution_time = {_milliseconds(seconds)}")
    _limit_packets(connection.connection.driver_connection)
    connection.exec_driver_sql("SET SESSION sql_select_limit = 2")
    connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
    # The session's mode holds from the next transaction on.
    connection.rollback()


def _limit_packets(driver: Any) -> None:
    """Have the driver refuse a packet that is too large, before it reads it: a row is one or more of them."""
    read_bytes = driver._read_bytes

    def read_short(size: int) -> bytes:
        if size > LARGEST:
            driver._force_close()
            raise MetricError(_TOO_LARGE)
        data: bytes = read_bytes(size)
        return data

    driver._read_bytes = read_short


def _limit_sqlite(connection: Connection, seconds: float) -> None:
    # The file is opened read-only by its URL.
    deadline = time.monotonic() + seconds
    driver: Any = connection.connection.driver_connection
    driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
    driver.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


_LIMITS: Mapping[str, Callable[[Connection, float], None]] = {
    "postgresql": _limit_postgresql,
    "mysql": _limit_mysql,
    "mariadb": _limit_mysql,
    "sqlite": _limit_sqlite,
}

# ---------------------------------------------------------------------------------------------
# The row


def _require_columns(columns: Sequence[Any]) -> None:
    if len(columns) > _MOST_COLUMNS:
        count = len(columns)
        raise MetricError(f"the query returns {count} columns: a number, and its time if you want, are all it may")


def _value(row: tuple[Any, ...]) -> Value:
    _require_columns(row)
    number = row[0]
    if number is None:
        raise MetricError("the query returns NULL: write coalesce(…, 0) if that means 0")
    if isinstance(number, Decimal):
        number = float(number)
    if isinstance(number, timedelta):
        raise MetricError("the first column is an interval: write extract(epoch from …), or time_to_sec(…) on MySQL")
    if not isinstance(number, int | float | str):
        raise MetricError(f"the first column is no number but of type {type(number).__name__}")
    at = _moment(row[1]) if len(row) == 2 else None
    return Value(number_of(number, "the first column"), at)


def _moment(value: Any) -> datetime:
    try:
        if isinstance(value, datetime):
            return usable(value)
        if isinstance(value, Decimal):
            value = float(value)
        return time_at(seconds_since_1970(value, None, "the second column"))
    except ValueError:
        raise MetricError("the second column is not a time") from None
