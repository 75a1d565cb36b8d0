"""URLs: of clouds, state backends, webhooks and servers. None may hold credentials."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.values import Text
from scaler.support.engine_urls import backend_of
from scaler.support.hosts import host_of, is_clear_text, is_endpoint
from scaler.support.suggestions import nearest_clause

BACKENDS = ("file", "s3", "gs", "azblob", "postgres", "https")
"""The URL schemes of Pulumi's state backends."""
PLACEHOLDERS = ("ip", "private_ip", "name")
"""The words in braces that are replaced for each server."""


def _endpoint(value: str) -> str:
    url = split_url(value)
    if value != "embedded" and (url is None or url[0] not in ("http", "https") or not url[1]):
        raise refusal(f"must be embedded or an http(s) URL, not {shown(value)}", nearest_clause(value, ["embedded"]))
    if value != "embedded" and is_clear_text(value):
        raise refusal(
            f"would send the token in clear text to {shown(host_of(value))}",
            "write https://; plain HTTP is for this machine only",
        )
    if value != "embedded" and not is_endpoint(value.rstrip("/")):
        has_more = re.search(r"[?#]", value)
        fix = "leave out what follows a ? or #" if has_more else "write it as https://host/path, in lower case"
        raise refusal("is a URL that no client of a cloud takes", fix)
    return value


def _backend(value: str) -> str:
    url = split_url(value)
    if url is None or url[0] not in BACKENDS or "://" not in value:
        scheme = value.partition(":")[0]
        raise refusal(
            f"must be the URL of a Pulumi backend, not {shown(value)}", nearest_clause(scheme, list(BACKENDS))
        )
    try:
        backend_of(value)
    except ValueError as error:
        raise refusal(f"is a URL that is not understood: {error}") from None
    return value


def split_url(value: str) -> tuple[str, str] | None:
    """Return a URL's scheme and host (`host_of`), None if the text is no URL. Refuse one with credentials."""
    try:
        url = urlsplit(value)
        if url.password is not None or (url.username is not None and url.scheme in ("http", "https")):
            raise refusal("must not hold credentials", "keep them in environment variables")
        _ = url.port  # Reading the port checks it.
    except PydanticCustomError:  # It is a ValueError, but has its message already.
        raise
    except ValueError:
        return None
    return url.scheme, host_of(value)


Endpoint = Annotated[
    Text,
    AfterValidator(_endpoint),
    WithJsonSchema({"type": "string", "pattern": r"^(embedded|https?://[^/?#\s].*)$"}),
]
Backend = Annotated[
    Text,
    AfterValidator(_backend),
    WithJsonSchema({"type": "string", "pattern": f"^({'|'.join(BACKENDS)})://"}),
]


def _url(value: str) -> str:
    """Check an http(s) URL without credentials. No message quotes it, since any part of it may be a secret."""
    url = split_url(value)
    if url is None or url[0] not in ("http", "https") or not url[1]:
        raise refusal("must be an http(s) URL", "write it as https://host/path")
    return value


def _server_url(value: str) -> str:
    for word in re.findall(r"\{([^{}]*)\}", value):
        if word not in PLACEHOLDERS:
            raise refusal(f"has an unknown placeholder {shown(word)}", nearest_clause(word, PLACEHOLDERS))
    _url(re.sub(r"\{(ip|private_ip)\}", "192.0.2.1", value).replace("{name}", "server"))
    return value


_URL_SCHEMA = {"type": "string", "pattern": r"^https?://[^/?#\s].*$"}
Url = Annotated[Text, AfterValidator(_url), WithJsonSchema(_URL_SCHEMA)]
ServerUrl = Annotated[Text, AfterValidator(_server_url), WithJsonSchema(_URL_SCHEMA)]
