"""Trust the certificates that the environment names, as the engine and most programs do."""

from __future__ import annotations

from collections.abc import MutableMapping

_OF_REQUESTS = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""What the library requests reads; it does not read SSL_CERT_FILE and SSL_CERT_DIR, which OpenSSL and Go do."""


def trust_named_certificates(environ: MutableMapping[str, str]) -> None:
    """Have SSL_CERT_FILE, or else SSL_CERT_DIR, count for all HTTPS requests of this process."""
    named = environ.get("SSL_CERT_FILE") or environ.get("SSL_CERT_DIR")
    if named and not any(environ.get(name) for name in _OF_REQUESTS):
        environ[_OF_REQUESTS[0]] = named
