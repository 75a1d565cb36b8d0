"""Which secrets provider encrypts a stack's secrets, and what the engine needs to know for that.

Source of the rules: pulumi (pkg/secrets/passphrase/manager.go, pkg/cmd/pulumi/stack/secrets.go). The engine
reads PULUMI_CONFIG_PASSPHRASE first, even if it is empty, and ignores PULUMI_CONFIG_PASSPHRASE_FILE then. It
makes a new stack with a passphrase, whatever the stack's settings file says, unless it is told otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from scaler.engine.settings_files import SUFFIXES, checked, folder_in, settings_files
from scaler.engine.yaml_file import read_yaml
from scaler.errors import EngineError, RefusedError, SpecError
from scaler.support.documents import read_file
from scaler.support.engine_urls import Destination, provider_of
from scaler.support.hosts import ALLOWED, allowed_hosts

PASSPHRASE = "PULUMI_CONFIG_PASSPHRASE"  # noqa: S105 - a name, no secret
PASSPHRASE_FILE = "PULUMI_CONFIG_PASSPHRASE_FILE"  # noqa: S105

_BY_PASSPHRASE = ("", "default", "passphrase")
_PULUMI_CLOUD = "https://api.pulumi.com"
_WRONG = "incorrect passphrase"

_LARGEST_PASSPHRASE = 64 << 10
"""Bytes of the file with the passphrase."""


def chosen_provider(directory: Path, stack: str) -> str | None:
    """Return the secrets provider that the stack's settings file names, such as `awskms://…`.

    None: the file names none, or a passphrase.
    """
    folder = directory / settings_folder(directory)
    for suffix in SUFFIXES:
        provider = str(_read(folder / f"Pulumi.{stack}{suffix}").get("secretsprovider") or "")
        if provider not in _BY_PASSPHRASE:
            return provider
    return None


def settings_folder(directory: Path) -> str:
    """Return the folder of the stacks' settings files as a project names it, empty for its own."""
    return folder_in(_read(directory / "Pulumi.yaml"))


def require_allowed_settings(directory: Path, stack: str, environ: Mapping[str, str]) -> None:
    """Check the secrets providers that the stack's settings files name, as `require_allowed_provider` does.

    Raises SpecError for a file in which the engine may see another provider than scaler does.
    """
    for path in settings_files(directory, stack):
        for provider in _providers_in(path):
            if provider not in _BY_PASSPHRASE:
                require_allowed_provider(provider, environ, path.name)


def require_allowed_provider(
    url: str, environ: Mapping[str, str], place: str, destination_of: Callable[[str], Destination] = provider_of
) -> None:
    """Raise RefusedError if a stack's key would go to a host that only `place` names, or there in clear text.

    The engine sends the credentials of a cloud, or a Pulumi Cloud's token, along. SpecError for a URL that is not
    understood.
    """
    try:
        destination = destination_of(url)
    except ValueError as error:
        raise SpecError(
            f"{place} names a secrets provider that scaler does not understand.",
            why=str(error),
            fix="Name one of awskms://, azurekeyvault://, gcpkms:// and hashivault://, or leave out `secretsprovider`.",
            code="provider_invalid",
        ) from None
    foreign = destination.foreign(allowed_hosts(environ, _PULUMI_CLOUD))
    if foreign or destination.is_clear:
        host = foreign[0] if foreign else "another machine in clear text"
        raise RefusedError(
            f"The engine would send the key of the stack's secrets, and credentials, to {host}.",
            why=f"only {place} says so",
            fix=f"Set {ALLOWED}={host} where scaler runs, if that is right." if foreign else "Use https.",
            code="provider_not_allowed",
        )


def _providers_in(path: Path) -> Iterator[str]:
    # Of JSON, Go reads names in any case.
    yield from (str(value or "") for name, value in checked(path).items() if name.lower() == "secretsprovider")


def default_passphrase(environ: Mapping[str, str], provider: str | None) -> dict[str, str]:
    """Return the empty passphrase as a variable, but nothing where the environment or the stack has its own choice."""
    if PASSPHRASE in environ or environ.get(PASSPHRASE_FILE) or provider:
        return {}
    return {PASSPHRASE: ""}


def passphrase_file_problem(environ: Mapping[str, str]) -> str | None:
    """Return why the file with the passphrase cannot be used; None if it can, or if the engine does not need it."""
    path = environ.get(PASSPHRASE_FILE)
    if not path or PASSPHRASE in environ:
        return None
    try:
        # The engine does the same. Each of its processes reads it, which a pipe does not bear.
        passphrase = read_file(Path(path), _LARGEST_PASSPHRASE).strip()
    except OSError as error:
        return f"the file that {PASSPHRASE_FILE} names cannot be read: {error.strerror}"
    except ValueError as error:
        return f"the file that {PASSPHRASE_FILE} names cannot be used: {error}"
    return None if passphrase else f"the file that {PASSPHRASE_FILE} names is empty"


def require_passphrase_file(environ: Mapping[str, str]) -> None:
    """EngineError if there is something in the place of the file with the passphrase that is none.

    The engine would take what it reads there, nothing at /dev/stdin, and encrypt with the empty passphrase.
    """
    problem = passphrase_file_problem(environ)
    if problem and Path(environ[PASSPHRASE_FILE]).exists():
        raise EngineError(
            "The stack's secrets cannot be encrypted or decrypted.",
            why=problem,
            fix=f"Name a regular file with a passphrase in {PASSPHRASE_FILE}, or set {PASSPHRASE}, to nothing if you "
            "mean the empty passphrase.",
            code="secrets",
        )


def name_variable(error: str) -> str:
    """Return the engine's error; that of a wrong passphrase names the variable that holds it."""
    if _WRONG not in error or PASSPHRASE in error:
        return error
    return f"{error}\nSet {PASSPHRASE} or {PASSPHRASE_FILE} to the passphrase that the stack was made with."


def is_about_secrets(error: str) -> bool:
    """Return whether the engine failed at its secrets provider, and not at its backend: both may be out of reach."""
    return _WRONG in error or "secrets manager" in error


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = read_yaml(path)
    except (OSError, ValueError):
        # The engine reads it too, and says what is wrong.
        return {}
    return content if isinstance(content, dict) else {}
