"""Documents as objects beside the engine's: S3, Google Cloud Storage and Azure Blob Storage, through obstore.

The URL's parameters are those that the engine understands (gocloud.dev: aws/aws.go, blob/azureblob, blob/gcsblob).
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, S3Store

from scaler.errors import CredentialsError, UsageError
from scaler.records.store import ConflictError, Stored, StoreRefusedError, StoreUnavailableError, check_size
from scaler.support.documents import LARGEST_FILE
from scaler.support.engine_urls import backend_of
from scaler.support.text import LONGEST, one_line

_RETRIES = 2
_TRUE = ("true", "1", "t", "T", "TRUE", "True")


def open_objects(
    url: str, folder: str, environ: Mapping[str, str], patience: timedelta, largest: int = LARGEST_FILE
) -> ObjectStore:
    """Return the documents below `folder`, which is or lies beside the `.pulumi` of the backend at this URL.

    UsageError for a URL in which the engine and obstore might see different hosts.
    """
    try:
        backend_of(url)
    except ValueError as error:
        raise UsageError(
            "The backend's URL is none that scaler understands, so it finds no records there.",
            why=str(error),
            fix="Correct PULUMI_BACKEND_URL.",
        ) from None
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    prefix = "/".join(piece for piece in (unquote(parts.path).strip("/"), folder) if piece)
    makers: dict[str, Callable[..., S3Store | GCSStore | AzureStore]] = {"s3": _s3, "gs": _gcs, "azblob": _azure}
    make = makers[parts.scheme]
    return ObjectStore(
        make(parts.netloc, prefix, given, environ, _limits(patience)), f"{parts.scheme}://{parts.netloc}", largest
    )


class ObjectStore:
    """`store.DocumentStore` over one of obstore's stores. Its versions are entity tags, at Google also generations."""

    def __init__(self, objects: S3Store | GCSStore | AzureStore, place: str, largest: int) -> None:
        self._objects = objects
        self._place = place
        self._largest = largest

    def read(self, name: str, known: str | None = None) -> Stored | None:
        options: Any = {"if_none_match": known.partition("\n")[0]} if known else {}
        try:
            with self._reported():
                found = obstore.get(self._objects, name, options=options)
                check_size(found.meta["size"], self._largest)
                return Stored(_version(found.meta), bytes(found.bytes()))
        except FileNotFoundError:
            return None
        except NotModifiedError:
            assert known is not None  # noqa: S101 - only a condition has this answer
            return Stored(known, None)

    def write(self, name: str, content: bytes, after: str | None = None) -> str:
        try:
            with self._reported():
                done = obstore.put(self._objects, name, content, mode=_mode(after), use_multipart=False)
        except (AlreadyExistsError, PreconditionError) as error:
            raise ConflictError(f"Another machine has written {name} in {self._place}.") from error
        except FileNotFoundError as error:
            # S3 answers so where the version that is to be replaced was deleted.
            raise ConflictError(f"{name} in {self._place} was deleted.") from error
        return _version(done)

    def names(self, folder: str = "") -> Sequence[str]:
        prefix = f"{self._objects.prefix}/" if self._objects.prefix else ""
        with self._reported():
            pages = obstore.list(self._objects, prefix=folder or None)
            # Stores differ in whether they leave out their own prefix.
            return sorted(item["path"].removeprefix(prefix) for page in pages for item in page)

    def delete(self, name: str) -> None:
        try:
            with self._reported():
                obstore.delete(self._objects, name)
        except FileNotFoundError:
            return

    def close(self) -> None:
        return

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (AlreadyExistsError, PreconditionError, NotModifiedError, FileNotFoundError):
            raise
        except BaseException as error:
            # An address in the environment that is none makes the library panic, with an exception that it hides.
            if not isinstance(error, BaseError | OSError) and type(error).__name__ != "PanicException":
                raise
            is_refused = isinstance(error, PermissionDeniedError | UnauthenticatedError)
            raise (StoreRefusedError if is_refused else StoreUnavailableError)(
                f"The shared records in {self._place} cannot be read or written.",
                why=_reason(error),
                fix="Check the backend's URL and the credentials; they need to read, write, list and delete objects "
                "below .scaler/, beside Pulumi's own below .pulumi/.",
            ) from error


def _reason(error: BaseException) -> str:
    """Return what went wrong without obstore's internals, and without what an address in it may carry: a token."""
    text = str(error).partition("Debug source:")[0]
    return one_line(re.sub(r"\?\S+", "?…", text), LONGEST)


def _version(meta: Any) -> str:
    return f"{meta['e_tag'] or ''}\n{meta['version'] or ''}"


def _mode(after: str | None) -> Any:
    if after is None:
        return "create"
    tag, _, version = after.partition("\n")
    # obstore refuses a version that is None.
    return {"e_tag": tag} | ({"version": version} if version else {})


def _limits(patience: timedelta) -> dict[str, Any]:
    """Return how long obstore waits and how often it asks again; its own 180 s would hold a run up."""
    return {
        "client_options": {"timeout": patience, "connect_timeout": min(patience, timedelta(seconds=5))},
        "retry_config": {"max_retries": _RETRIES, "retry_timeout": patience},
    }


def _s3(
    bucket: str, prefix: str, given: Mapping[str, str], environ: Mapping[str, str], limits: dict[str, Any]
) -> S3Store:
    profile = given.get("profile") or environ.get("AWS_PROFILE")
    keys = {name: environ[name.upper()] for name in _KEYS.values() if name.upper() in environ}
    is_given = len(keys) >= len(_KEYS) - 1 and "profile" not in given
    of_profile = keys if is_given else _profile(profile or "default", environ, is_asked=profile is not None)
    is_path_style = _is_set(given, "use_path_style") or _is_set(given, "s3ForcePathStyle")
    config: dict[str, Any] = {
        "region": given.get("region")
        or environ.get("AWS_REGION")
        or environ.get("AWS_DEFAULT_REGION")
        or of_profile.get("region")
        or "us-east-1",
        "virtual_hosted_style_request": not is_path_style,
        **{key: of_profile[name] for key, name in _KEYS.items() if name in of_profile},
    }
    if endpoint := given.get("endpoint") or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL"):
        is_plain = _is_set(given, "disable_https") or _is_set(given, "disableSSL")
        scheme, _, host = endpoint.rpartition("://")
        scheme = scheme or ("http" if is_plain else "https")
        # With virtual hosts, obstore wants the bucket's own host.
        config["endpoint"] = f"{scheme}://{host}" if is_path_style else f"{scheme}://{bucket}.{host}"
        limits["client_options"]["allow_http"] = scheme == "http"
    if _is_set(given, "anonymous"):
        config["skip_signature"] = True
    return S3Store(bucket, prefix=prefix, config=cast(Any, config), **limits)


_KEYS = {
    "access_key_id": "aws_access_key_id",
    "secret_access_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
}


def _profile(name: str, environ: Mapping[str, str], *, is_asked: bool) -> Mapping[str, str]:
    """Return what the AWS files say of a profile: keys and region; CredentialsError if asked for, without keys."""
    home = Path(environ.get("HOME", "/")) / ".aws"
    found: dict[str, str] = {}
    for path, section in (
        (Path(environ.get("AWS_CONFIG_FILE") or home / "config"), name if name == "default" else f"profile {name}"),
        (Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials"), name),
    ):
        files = configparser.RawConfigParser(default_section="\n")
        try:
            files.read(path, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            raise CredentialsError(
                f"{path} cannot be read.",
                why=one_line(str(error), LONGEST),
                fix="Correct the file, or give the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            ) from error
        found |= dict(files.items(section)) if files.has_section(section) else {}
    if is_asked and not found.keys() >= {"aws_access_key_id", "aws_secret_access_key"}:
        raise CredentialsError(
            f"The AWS profile {name} has no keys that scaler can use for the shared records.",
            why="it reads aws_access_key_id and aws_secret_access_key, and takes on no role and signs nobody in",
            fix=f"Set what `aws configure export-credentials --profile {name} --format env` shows.",
        )
    return found


def _gcs(
    bucket: str, prefix: str, given: Mapping[str, str], environ: Mapping[str, str], limits: dict[str, Any]
) -> GCSStore:
    config: dict[str, Any] = {}
    if key := environ.get("GOOGLE_CREDENTIALS"):
        config = {"service_account_key": key} if key.lstrip().startswith("{") else {"service_account": key}
    elif token := environ.get("GOOGLE_OAUTH_ACCESS_TOKEN"):
        config = {"bearer_token": token}
    elif given.get("access_id") == "-" or _is_set(given, "anonymous"):
        config = {"skip_signature": True}
    if universe := given.get("universe_domain"):
        config["base_url"] = f"https://storage.{universe}"
    if emulator := environ.get("STORAGE_EMULATOR_HOST"):
        # Without a token, obstore asks the metadata server for one before it writes, `skip_signature` or not.
        base = emulator if "://" in emulator else f"http://{emulator}"
        config = {"base_url": base, "bearer_token": environ.get("GOOGLE_OAUTH_ACCESS_TOKEN") or "none"}
        limits["client_options"]["allow_http"] = True
    return GCSStore(bucket, prefix=prefix, config=cast(Any, config), **limits)


def _azure(
    container: str, prefix: str, given: Mapping[str, str], environ: Mapping[str, str], limits: dict[str, Any]
) -> AzureStore:
    words = dict(part.partition("=")[::2] for part in environ.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";"))
    account = given.get("storage_account") or environ.get("AZURE_STORAGE_ACCOUNT") or words.get("AccountName", "")
    domain = given.get("domain") or environ.get("AZURE_STORAGE_DOMAIN") or "blob.core.windows.net"
    protocol = given.get("protocol") or environ.get("AZURE_STORAGE_PROTOCOL") or "https"
    is_emulated = _is_set(given, "localemu") or environ.get("AZURE_STORAGE_IS_LOCAL_EMULATOR") in _TRUE
    is_network = _is_set(given, "cdn") or environ.get("AZURE_STORAGE_IS_CDN") in _TRUE
    if is_emulated or domain.startswith(("127.0.0.1", "localhost")):
        endpoint = f"{protocol}://{domain}/{account}"
    else:
        endpoint = f"{protocol}://{domain}" if is_network else f"{protocol}://{account}.{domain}"
    config: dict[str, Any] = {"account_name": account, "endpoint": words.get("BlobEndpoint") or endpoint}
    if key := environ.get("AZURE_STORAGE_KEY") or words.get("AccountKey"):
        config["account_key"] = key
    elif token := environ.get("AZURE_STORAGE_SAS_TOKEN") or words.get("SharedAccessSignature"):
        config["sas_key"] = token
    elif "AZURE_CLIENT_ID" not in environ:
        config["use_azure_cli"] = True
    limits["client_options"]["allow_http"] = config["endpoint"].startswith("http://")
    return AzureStore(container, prefix=prefix, config=cast(Any, config), **limits)


def _is_set(given: Mapping[str, str], name: str) -> bool:
    return given.get(name, "") in _TRUE
