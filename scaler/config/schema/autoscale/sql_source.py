"""The source `sql`: a query on a database."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BaseModel, WithJsonSchema

from scaler.config.schema.autoscale.quantities import Variable
from scaler.config.schema.fields import given_key, one_of_required, spec_key, strict_config
from scaler.config.schema.refusals import refusal
from scaler.config.schema.values import Lines, Text

_SCHEMES = ("postgresql", "postgres", "mysql", "mariadb", "sqlite")
_PASSWORDS = ("password", "passwd", "sslpassword", "ssl_key_password")
"""Parameters of drivers that hold a password."""

_FORM = "write it as postgresql://user@host:5432/name, mysql://user@host/name or sqlite:///path"


def _database_url(value: str) -> str:
    """Check a database's URL. No message quotes it, since any part of it may be a secret."""
    try:
        url = urlsplit(value)
        parameters = {name.lower() for name, _ in parse_qsl(url.query, keep_blank_values=True)}
        has_password, _ = url.password is not None or not parameters.isdisjoint(_PASSWORDS), url.port
    except ValueError:
        raise refusal("must be the URL of a database", _FORM) from None
    if has_password:
        raise refusal("must not hold a password", "name the environment variable that does in password_env or url_env")
    if url.scheme not in _SCHEMES or not (url.hostname or url.scheme == "sqlite") or not url.path.strip("/"):
        raise refusal("must be the URL of a database", _FORM)
    return value


def _one_statement(value: str) -> str:
    statement = value.strip().rstrip(";").rstrip()
    if ";" in statement:
        raise refusal("must be one statement, without a ;")
    return statement


DatabaseUrl = Annotated[
    Text,
    AfterValidator(_database_url),
    WithJsonSchema({"type": "string", "pattern": f"^({'|'.join(_SCHEMES)})://"}),
]


class SqlSchema(BaseModel):
    """A query on PostgreSQL, MySQL, MariaDB or SQLite that returns one number."""

    model_config = strict_config("Sql", one_of_required("url", "url_env"))

    url: DatabaseUrl | None = spec_key(
        "The database, such as postgresql://user@host:5432/name, without a password.", default=None
    )
    url_env: Variable | None = spec_key("The environment variable that holds the whole URL.", default=None)
    password_env: Variable | None = spec_key("The environment variable that holds the password.", default=None)
    query: Annotated[Lines, AfterValidator(_one_statement)] = spec_key(
        "One statement that returns one row: the number, and in a second column its time, if you want."
    )


def one_address(value: SqlSchema) -> SqlSchema:
    given_key(value, ("url", "url_env"))
    return value
