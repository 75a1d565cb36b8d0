"""Where the records of a stack lie beside the engine's state: named documents, each replaced only by who read it.

The place is chosen by the URL of the engine's backend, with the same parameters, and reached with the same
credentials of the environment. A folder backend has its records in the state folder, and Pulumi Cloud has
no place for them: both have no store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Protocol

from scaler.errors import ScalerError, StateError, UnavailableError
from scaler.support.documents import size_text
from scaler.support.values import dataclass

PATIENCE = timedelta(seconds=15)
"""How long one request to a store may take."""

_ENGINES_FOLDER = ".pulumi"

SHARED_SCHEMES = ("s3", "gs", "azblob", "postgres", "postgresql")
"""The schemes of backends whose records are shared."""


class ConflictError(StateError):
    """Another writer was quicker: the document is not the version that was read."""

    code = "records_conflict"


class StoreUnavailableError(UnavailableError):
    """The shared records cannot be reached, or refused the credentials."""

    code = "records_unavailable"


class StoreRefusedError(StoreUnavailableError):
    """The credentials do not allow this, so nothing was done."""


@dataclass(frozen=True)
class Stored:
    """One version of a document."""

    version: str
    """Equal for equal versions; of no meaning beyond that."""
    content: bytes | None
    """None: as in the version that the reader knows."""


class DocumentStore(Protocol):
    """The documents of one stack. Every method raises StoreUnavailableError if the store does not answer."""

    def read(self, name: str, known: str | None = None) -> Stored | None:
        """Return a document, without its content if it is still the version `known`; None if there is none.

        ValueError if it is larger than any that scaler writes.
        """

    def write(self, name: str, content: bytes, after: str | None = None) -> str:
        """Replace the version `after` of a document; None: create it. Return the new version, or raise ConflictError.

        A ConflictError can be the answer to a repeat of this very write, whose first answer was lost: call `save`.
        """

    def names(self, folder: str = "") -> Sequence[str]:
        """Return the names of all documents, or of those in this folder, sorted."""

    def delete(self, name: str) -> None:
        """Delete a document; one that does not exist is no error."""

    def close(self) -> None:
        """End connections."""


class EngineFiles(Protocol):
    """Files of the engine, to look at and to delete. Every method raises StoreUnavailableError as `DocumentStore`'s."""

    def names(self, folder: str = "") -> Sequence[str]:
        """Return the names of those below this folder, sorted."""

    def read(self, name: str, known: str | None = None) -> Stored | None:
        """Return a file, as `DocumentStore.read` does."""

    def delete(self, name: str) -> None:
        """Delete a file; one that does not exist is no error."""

    def close(self) -> None:
        """End connections."""


def save(store: DocumentStore, name: str, content: bytes, after: str | None = None) -> str:
    """Write as `DocumentStore.write` does, and know a write of our own whose answer was lost.

    So the content must differ from what anybody else writes.
    """
    try:
        return store.write(name, content, after)
    except ConflictError:
        with suppress(ValueError):
            found = store.read(name)
            if found and found.content == content:
                return found.version
        raise


def check_size(size: int, largest: int) -> None:
    """ValueError if a document of so many bytes is too large."""
    if size > largest:
        raise ValueError(f"it has more than {size_text(largest)}")


def is_shared(url: str | None) -> bool:
    """Return whether the records of a backend at this URL are shared."""
    return url is not None and url.partition("://")[0] in SHARED_SCHEMES


def open_store(
    url: str, project: str, stack: str, environ: Mapping[str, str], *, patience: timedelta = PATIENCE
) -> DocumentStore | None:
    """Return the store beside the engine's state at this URL, or None if it has none.

    No request is sent yet. ScalerError if a package is not installed, or the URL cannot be used.
    """
    if not is_shared(url):
        return None
    with _packages(url):
        if url.startswith("postgres"):
            from scaler.records.database_store import DatabaseStore

            return DatabaseStore(url, f"{project}/{stack}", environ, patience)
        from scaler.records.object_store import open_objects

        return open_objects(url, f".scaler/{project}/{stack}", environ, patience)


def open_engine_files(
    url: str, environ: Mapping[str, str], *, largest: int, patience: timedelta = PATIENCE
) -> EngineFiles | None:
    """Return what the engine keeps below `.pulumi`, or None if this backend is not a bucket or a database.

    A file of more than `largest` bytes is a ValueError. Otherwise as `open_store`.
    """
    if not is_shared(url):
        return None
    with _packages(url):
        if url.startswith("postgres"):
            from scaler.records.database_store import EngineRows

            return EngineRows(url, _ENGINES_FOLDER, environ, patience, largest)
        from scaler.records.object_store import open_objects

        return open_objects(url, _ENGINES_FOLDER, environ, patience, largest)


@contextmanager
def _packages(url: str) -> Iterator[None]:
    """ScalerError for a package that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        # Late: `scaler status` imports this module.
        from scaler.support.installation import install_command

        raise ScalerError(
            f"Records in {url.partition(':')[0]} need {error.name}, which is not installed.",
            fix=install_command("shared"),
            code="extra_missing",
        ) from None
