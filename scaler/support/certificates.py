"""Trust the certificates that the environment names, as the engine and most programs do."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path

from scaler.support.files import failure_reason

_OF_REQUESTS = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""What the library requests reads; it does not read SSL_CERT_FILE and SSL_CERT_DIR, which OpenSSL and Go do."""


def trust_named_certificates(environ: MutableMapping[str, str]) -> None:
    """Have SSL_CERT_FILE, or else SSL_CERT_DIR, count for all HTTPS requests of this process."""
    named = environ.get("SSL_CERT_FILE") or environ.get("SSL_CERT_DIR")
    if named and not any(environ.get(name) for name in _OF_REQUESTS):
        environ[_OF_REQUESTS[0]] = named


def certificates_problem(environ: Mapping[str, str]) -> str | None:
    """Return which variable names certificates that cannot be read, and why; None if all can. Reads the files."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", *_OF_REQUESTS):
        path = environ.get(name)
        if path and (problem := _problem_of(Path(path), is_folder=name == "SSL_CERT_DIR")):
            return f"{name} names certificates that cannot be read: {path} ({problem})"
    return None


def _problem_of(path: Path, *, is_folder: bool) -> str:
    if is_folder or path.is_dir():
        return "" if path.is_dir() else "no folder"
    if path.exists() and not path.is_file():
        return "no file"
    import ssl

    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError:
        return "no certificates in it"
    except OSError as error:
        return failure_reason(error)
    return ""
