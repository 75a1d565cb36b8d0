"""The sql source on real databases, and the recipes of its page on tables as the systems' migrations make them."""

import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scaler.autoscale.metrics import MetricError, MetricRead, read
from scaler.model.autoscaling import SqlSource
from scaler.support.clock import SystemClock
from tests.autoscale.reading import number, refusal, request
from tests.autoscale.test_queue_pages import examples, metrics
from tests.support import servers

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed (make test installs it)")

pytestmark = pytest.mark.server

Query = Callable[..., SqlSource]

PASSWORD = {"DB_PASSWORD": servers.POSTGRESQL_PASSWORD}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with servers.postgresql_server() as port:
        yield port


@pytest.fixture
def database(port: int) -> Iterator[Any]:
    """Runs statements in an empty schema of PostgreSQL."""
    import psycopg

    with psycopg.connect(
        f"postgresql://postgres:{servers.POSTGRESQL_PASSWORD}@127.0.0.1:{port}/postgres", autocommit=True
    ) as connection:
        connection.execute("drop schema if exists public cascade; drop schema if exists pgboss cascade")
        connection.execute("create schema public")
        yield connection


@pytest.fixture
def query(port: int) -> Query:
    def source(text: str) -> SqlSource:
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        return SqlSource(url=url, password_env="DB_PASSWORD", query=text)

    return source


# ---------------------------------------------------------------------------------------------
# Queries


@pytest.mark.parametrize("text", ["select 42", "select 42.0", "select '42'", "select 42::numeric", "select 42 % 100"])
def test_a_number_is_read_from_any_type_of_column(database: Any, query: Query, text: str) -> None:
    assert number(query(text), **PASSWORD) == 42


@pytest.mark.parametrize(
    "second",
    ["timestamptz '2026-01-01 01:00:00+01'", "timestamp '2026-01-01 00:00:00'", "1767225600", "1767225600000"],
)
def test_a_number_with_its_time(database: Any, query: Query, second: str) -> None:
    request = MetricRead(5, datetime.now(UTC), PASSWORD, Path("/"), SystemClock())
    assert read(query(f"select 1, {second}"), request).at == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("select 1 where false", "the query returns no row: it must return one"),
        ("select generate_series(1, 5)", "the query returns several rows: it must return one"),
        ("select null::int", "the query returns NULL: write coalesce(…, 0) if that means 0"),
        ("select 1, 2, 3", "the query returns 3 columns"),
        ("select 'many'", "the first column is no number but '\"many\"'"),
        ("select true", "the first column is no number but 'true'"),
        ("select now() - timestamptz '2026-01-01'", "the first column is an interval: write extract(epoch from …)"),
        ("select now()", "the first column is no number but of type datetime"),
        ("select array[1]", "the first column is no number but '\"{1}\"'"),
        ("select '\\x00'::bytea", "the first column is no number but"),
        ("select count(*) from nothing", 'relation "nothing" does not exist'),
    ],
)
def test_what_is_no_number(database: Any, query: Query, text: str, words: str) -> None:
    assert words in refusal(query(text), 5, **PASSWORD)


def test_no_more_than_two_rows_are_kept(database: Any, query: Query, mariadb: str) -> None:
    """All at once, they would take gigabytes."""
    assert "several rows" in refusal(query("select generate_series(1, 2000000000)"), 20, **PASSWORD)
    many = "select a.seq from seq_1_to_1000000 a, seq_1_to_1000000 b"
    assert "several rows" in refusal(SqlSource(url=mariadb, query=many), 20)


GIANT = """
import datetime, pathlib, resource, sys
from scaler.autoscale.metrics import MetricError, MetricRead, read, MetricError
from scaler.model.autoscaling import SqlSource
from scaler.support.clock import SystemClock
environ = {"PASSWORD": sys.argv[3]}
source = SqlSource(url=sys.argv[1], query="select 1", password_env="PASSWORD" if sys.argv[3] else None)
request = MetricRead(60, datetime.datetime.now(datetime.UTC), environ, pathlib.Path(), SystemClock())
read(source, request)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(read(SqlSource(url=source.url, query=sys.argv[2], password_env=source.password_env), request).number)
except MetricError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def giant(url: str, text: str, password: str = "") -> tuple[str, int]:
    """What a query with one giant value says, and by how many MiB the process grew."""
    command = [sys.executable, "-c", GIANT, url, text, password]
    said, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return said, int(grown)


def test_one_giant_value_does_not_fill_the_memory(
    database: Any, query: Query, port: int, mariadb: str, tmp_path: Path
) -> None:
    sqlite3.connect(tmp_path / "a.db").close()
    said, grown = giant(query("").url or "", "select repeat('1', 200000000)", servers.POSTGRESQL_PASSWORD)
    assert (said, grown < 60) == ("inf", True)
    said, grown = giant(mariadb, "select repeat('1', 15000000)")
    assert (said, grown < 10) == ("the query returns a value of more than 1 MiB", True)
    said, grown = giant(f"sqlite:///{tmp_path}/a.db", "select hex(zeroblob(200000000))")
    assert (said, grown < 60) == ("string or blob too big", True)


def test_a_text_with_a_comment_or_a_semicolon_at_its_end_is_a_number_too(database: Any, query: Query) -> None:
    assert number(query("select '7', now();"), **PASSWORD) == 7
    assert number(query("with a as (select '7'::text as b) select b from a -- the last"), **PASSWORD) == 7


def test_the_session_cannot_write(database: Any, query: Query) -> None:
    database.execute("create table jobs (id int)")
    words = refusal(query("insert into jobs values (1) returning id"), 5, **PASSWORD)
    assert words == "cannot execute INSERT in a read-only transaction"
    assert database.execute("select count(*) from jobs").fetchone() == (0,)


def test_a_statement_is_cancelled_by_the_server_after_the_time_out(database: Any, query: Query) -> None:
    assert refusal(query("select pg_sleep(600)"), seconds=0.5, **PASSWORD) == "no answer within 0.5s"
    running = "select count(*) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()"
    servers.await_true(lambda: database.execute(running + " and state = 'active'").fetchone() == (0,), "its end")


def test_passwords_are_in_variables_and_in_no_message(database: Any, query: Query, port: int) -> None:
    url = f"postgresql://postgres:{servers.POSTGRESQL_PASSWORD}@127.0.0.1:{port}/postgres"
    assert number(SqlSource(url_env="DATABASE_URL", query="select 1"), DATABASE_URL=url) == 1
    words = refusal(query("select 1"), DB_PASSWORD="wrong-guess")
    assert 'password authentication failed for user "postgres"' in words
    assert "wrong-guess" not in words
    assert refusal(query("select 1")) == "the environment variable DB_PASSWORD is not set"
    for odd in ("postgres//:secret-word@x", "oracle://u:secret-word@h/x"):
        assert "secret-word" not in refusal(SqlSource(url_env="DATABASE_URL", query="select 1"), DATABASE_URL=odd)


def test_no_server() -> None:
    url = f"postgresql://x@127.0.0.1:{servers.free_port()}/x"
    assert "Connection refused" in refusal(SqlSource(url=url, query="select 1"))


@contextmanager
def _asking_for_a_password() -> Iterator[tuple[int, list[bytes]]]:
    """A server that speaks PostgreSQL's protocol far enough to ask for a password in clear text, and keeps answers."""
    answers: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError), server.accept()[0] as connection:
                connection.settimeout(30)
                connection.recv(1000)
                connection.sendall(b"R\0\0\0\x08\0\0\0\x03")
                answers.append(connection.recv(1000))

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], answers
        thread.join()


@pytest.mark.parametrize("named", [False, True])
def test_a_server_gets_no_password_that_the_spec_does_not_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    (tmp_path / ".pgpass").write_text("*:*:*:*:from-the-file")
    (tmp_path / ".pgpass").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PGPASSWORD", "from-the-environment")
    with _asking_for_a_password() as (port, answers):
        source = SqlSource(url=f"postgresql://me@127.0.0.1:{port}/x?sslmode=disable", query="select 1")
        with pytest.raises(MetricError):
            read(source, replace(request(30), named=("PGPASSWORD",) if named else ()))
    assert (b"from-the-environment" in answers[0]) is named
    assert b"from-the-file" not in answers[0]


@pytest.mark.parametrize(
    "parameter", ["sslkeylogfile=keys", "service=prod", "passfile=/root/.pgpass", "requirepeer=x", "krbsrvname=x"]
)
def test_the_url_of_postgresql_names_no_file_with_passwords_or_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameter: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name = parameter.partition("=")[0]
    with pytest.raises(MetricError, match=f"the parameter {name}, which a metric may not set"):
        read(SqlSource(url=f"postgresql://me@127.0.0.1:1/x?{parameter}", query="select 1"), request(30))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("parameter", ["local_infile=1", "read_default_file=/root/.my.cnf", "init_command=drop"])
def test_the_url_of_mysql_opens_no_file_of_this_machine(parameter: str) -> None:
    for url in (f"mysql://me@127.0.0.1:1/x?{parameter}", f"mariadb://me@127.0.0.1:1/x?charset=utf8mb4&{parameter}"):
        words = f"the parameter {parameter.partition('=')[0]}, which a metric may not set"
        assert words in refusal(SqlSource(url=url, query="select 1"))


def test_sqlite(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "app #1.db") as connection:
        connection.execute("create table jobs (id int)")
        connection.executemany("insert into jobs values (?)", [(1,), (2,)])
    connection.close()
    here = MetricRead(1, datetime.now(UTC), {}, tmp_path, SystemClock())
    source = SqlSource(url="sqlite:///app #1.db", query="select count(*) from jobs")
    assert read(source, here).number == 2
    assert number(SqlSource(url=f"sqlite:///{tmp_path}/app #1.db", query="select 3")) == 3
    path = f"sqlite:///{tmp_path}/app #1.db"
    assert "readonly database" in refusal(SqlSource(url=path, query="insert into jobs values (3) returning 1"))
    assert refusal(SqlSource(url=f"sqlite:///{tmp_path}/none.db", query="select 1")) == "unable to open database file"
    endless = "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n"
    assert refusal(SqlSource(url=path, query=endless), seconds=0.5) == "no answer within 0.5s"


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    servers.needs("mariadbd", "mariadb-server")
    folder = tmp_path_factory.mktemp("mariadb")
    port, data = servers.free_port(), folder / "data"
    user = "--user=root"
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"]
    subprocess.run([*install, user], check=True, capture_output=True)
    server = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--port={port}", f"--socket={folder}/s", user]
    with servers.running([*server, "--bind-address=127.0.0.1", "--skip-name-resolve"], folder):
        # The root user of the installation may come in by 127.0.0.1 with an empty password.
        servers.await_true(lambda: servers.listens(port), "mariadbd")
        yield f"mariadb://root@127.0.0.1:{port}/mysql"
    shutil.rmtree(data)


def test_mariadb(mariadb: str) -> None:
    assert number(SqlSource(url=mariadb, query="select 42.5, now()")) == 42.5
    assert number(SqlSource(url=mariadb.replace("mariadb", "mysql", 1), query="select 5 % 3")) == 2
    words = refusal(SqlSource(url=mariadb, query="create table a (b int)"))
    assert "READ ONLY transaction" in words
    endless = "select sum(a.seq * b.seq) from seq_1_to_1000000 a, seq_1_to_1000000 b"
    assert refusal(SqlSource(url=mariadb, query=endless), seconds=1) == "no answer within 1s"


# ---------------------------------------------------------------------------------------------
# Recipes

# The columns that the queries use, with the types of the systems' own migrations. UTC_NOW is what Rails and Ecto write:
# UTC, in a column without a time zone. In each table, two jobs of the recipe's queue could be started now, and in some
# a third, whose worker is dead.
TABLES = {
    "Laravel's database queue": """
        create table jobs (id bigserial primary key, queue varchar(255) not null, payload text not null,
          attempts smallint not null, reserved_at integer, available_at integer not null, created_at integer not null);
        insert into jobs (queue, payload, attempts, reserved_at, available_at, created_at)
          select q, '{}', 0, now + r, now + a, now from (select extract(epoch from now())::int as now) t, (values
            ('default', null, -5), ('default', null, 3600), ('default', -10, -20), ('default', -100, -200),
            ('mail', null, -5)) v (q, r, a)
    """,
    "Solid Queue": """
        create table solid_queue_ready_executions (id bigserial primary key, job_id bigint not null,
          queue_name varchar not null, priority int not null default 0, created_at timestamp(6) not null);
        create table solid_queue_scheduled_executions (id bigserial primary key, job_id bigint not null,
          queue_name varchar not null, priority int not null default 0, scheduled_at timestamp(6) not null,
          created_at timestamp(6) not null);
        insert into solid_queue_ready_executions (job_id, queue_name, created_at) values
          (1, 'default', UTC_NOW), (2, 'mail', UTC_NOW);
        insert into solid_queue_scheduled_executions (job_id, queue_name, scheduled_at, created_at) values
          (3, 'default', UTC_NOW - interval '1 minute', UTC_NOW), (4, 'default', UTC_NOW + interval '1 hour', UTC_NOW)
    """,
    "GoodJob": """
        create table good_jobs (id uuid primary key default gen_random_uuid(), queue_name text, priority int,
          serialized_params jsonb, scheduled_at timestamp(6), performed_at timestamp(6), finished_at timestamp(6),
          error text, created_at timestamp(6) not null default UTC_NOW,
          updated_at timestamp(6) not null default UTC_NOW);
        insert into good_jobs (queue_name, scheduled_at, performed_at, finished_at) values
          ('default', null, null, null), ('default', UTC_NOW - interval '1 minute', null, null),
          ('default', UTC_NOW + interval '1 hour', null, null), ('default', null, UTC_NOW, null),
          ('default', null, UTC_NOW, UTC_NOW), ('mail', null, null, null)
    """,
    "Oban": """
        create type oban_job_state as enum
          ('available', 'scheduled', 'executing', 'retryable', 'completed', 'discarded', 'cancelled');
        create table oban_jobs (id bigserial primary key, state oban_job_state not null default 'available',
          queue text not null default 'default', worker text not null, args jsonb not null default '{}',
          inserted_at timestamp not null default UTC_NOW, scheduled_at timestamp not null default UTC_NOW,
          attempted_at timestamp);
        insert into oban_jobs (state, queue, worker, scheduled_at, attempted_at) values
          ('executing', 'default', 'A', UTC_NOW, UTC_NOW - interval '61 minutes'),
          ('executing', 'default', 'A', UTC_NOW, UTC_NOW - interval '59 minutes');
        insert into oban_jobs (state, queue, worker, scheduled_at) values
          ('available', 'default', 'A', UTC_NOW), ('scheduled', 'default', 'A', UTC_NOW + interval '1 hour'),
          ('retryable', 'default', 'A', UTC_NOW - interval '1 minute'), ('executing', 'default', 'A', UTC_NOW),
          ('completed', 'default', 'A', UTC_NOW), ('available', 'mail', 'A', UTC_NOW)
    """,
    "pg-boss": """
        create schema pgboss;
        create type pgboss.job_state as enum ('created', 'retry', 'active', 'completed', 'cancelled', 'failed');
        create table pgboss.job (id uuid not null default gen_random_uuid(), name text not null, data jsonb,
          state pgboss.job_state not null default 'created', start_after timestamptz not null default now(),
          created_on timestamptz not null default now());
        insert into pgboss.job (name, state, start_after) values
          ('mail', 'created', now()), ('mail', 'retry', now() - interval '1 minute'),
          ('mail', 'created', now() + interval '1 hour'), ('mail', 'active', now()), ('other', 'created', now())
    """,
    "River": """
        create type river_job_state as enum
          ('available', 'cancelled', 'completed', 'discarded', 'pending', 'retryable', 'running', 'scheduled');
        create table river_job (id bigserial primary key, state river_job_state not null default 'available',
          attempt smallint not null default 0, max_attempts smallint not null default 25,
          created_at timestamptz not null default now(), scheduled_at timestamptz not null default now(),
          args jsonb, kind text not null, queue text not null default 'default', attempted_at timestamptz);
        insert into river_job (state, kind, queue, attempted_at) values
          ('running', 'a', 'default', now() - interval '61 minutes'),
          ('running', 'a', 'default', now() - interval '59 minutes');
        insert into river_job (state, kind, queue, scheduled_at) values
          ('available', 'a', 'default', now() - interval '90 seconds'),
          ('scheduled', 'a', 'default', now() - interval '5 seconds'),
          ('scheduled', 'a', 'default', now() + interval '1 hour'), ('running', 'a', 'default', now()),
          ('available', 'a', 'mail', now() - interval '1 hour')
    """,
    "Procrastinate": """
        create type procrastinate_job_status as enum
          ('todo', 'doing', 'succeeded', 'failed', 'cancelled', 'aborting', 'aborted');
        create table procrastinate_jobs (id bigserial primary key, queue_name varchar(128) not null,
          task_name varchar(128) not null, priority int not null default 0, args jsonb not null default '{}',
          status procrastinate_job_status not null default 'todo', scheduled_at timestamptz, attempts int default 0);
        insert into procrastinate_jobs (queue_name, task_name, status, scheduled_at) values
          ('default', 'a', 'todo', null), ('default', 'a', 'todo', now() - interval '1 minute'),
          ('default', 'a', 'todo', now() + interval '1 hour'), ('default', 'a', 'doing', null),
          ('mail', 'a', 'todo', null)
    """,
}
TABLES["The age of the oldest job"] = TABLES["River"]
JOBS = dict.fromkeys(TABLES, 2) | {"Oban": 3, "River": 3}
BLOCKS = examples("queues-in-a-database.md")


def recipe(folder: Path, name: str) -> SqlSource:
    [metric] = metrics(folder, BLOCKS[name]).values()
    assert isinstance(metric.source, SqlSource)
    return metric.source


def test_every_recipe_of_the_page_is_tested() -> None:
    assert set(BLOCKS) == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_each_recipe_reads_the_table_of_its_system(database: Any, query: Query, tmp_path: Path, name: str) -> None:
    for zone in ("UTC", "Pacific/Auckland"):
        database.execute(f"alter database postgres set timezone to '{zone}'")
        database.execute("drop schema public cascade; create schema public; drop schema if exists pgboss cascade")
        database.execute(f"set timezone to '{zone}'")
        database.execute(TABLES[name].replace("UTC_NOW", "(now() at time zone 'utc')"))
        found = number(query(recipe(tmp_path, name).query), **PASSWORD)
        assert found == pytest.approx(90, abs=20) if name.startswith("The age") else found == JOBS[name], zone


def test_laravels_recipe_on_mariadb(mariadb: str, tmp_path: Path) -> None:
    import pymysql

    host = mariadb.rpartition("@")[2].partition("/")[0]
    connection = pymysql.connect(host="127.0.0.1", port=int(host.partition(":")[2]), user="root", autocommit=True)
    with connection, connection.cursor() as cursor:
        cursor.execute("create database shop")
        cursor.execute("use shop")
        cursor.execute(
            "create table jobs (id bigint unsigned auto_increment primary key, queue varchar(255) not null, payload "
            "longtext not null, attempts tinyint unsigned not null, reserved_at int unsigned, available_at int "
            "unsigned not null, created_at int unsigned not null)"
        )
        for reserved, available in ((None, -5), (None, 3600), (-10, -20), (-100, -200)):
            moment = int(datetime.now(UTC).timestamp())
            values = (None if reserved is None else moment + reserved, moment + available, moment)
            cursor.execute("insert into jobs values (default, 'default', '{}', 0, %s, %s, %s)", values)
    text = recipe(tmp_path, "Laravel's database queue").query.replace("extract(epoch from now())", "unix_timestamp()")
    assert number(SqlSource(url=mariadb.replace("/mysql", "/shop"), query=text)) == 2
