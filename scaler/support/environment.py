"""The environment of the commands and policy packs that a spec names: what any program needs, and what `env` names.

A list of what is handed on, and not of what is kept back: any variable may hold a secret, whatever it is called.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from scaler.support.values import dataclass

_NAMES = """
    PATH HOME USER LOGNAME SHELL PWD TMPDIR TMP TEMP TZ HOSTNAME
    LANG LANGUAGE LOCPATH LOCALE_ARCHIVE
    TERM COLORTERM COLUMNS LINES NO_COLOR FORCE_COLOR
    PYTHONPATH PYTHONHOME PYTHONUTF8 PYTHONIOENCODING PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE VIRTUAL_ENV
    JAVA_HOME NODE_PATH GEM_HOME GEM_PATH PERL5LIB
    SSH_AUTH_SOCK
    HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY GRPC_PROXY NO_GRPC_PROXY
    SSL_CERT_FILE SSL_CERT_DIR NIX_SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS
    DISPLAY WAYLAND_DISPLAY DBUS_SESSION_BUS_ADDRESS
    CI GITHUB_ACTIONS GITLAB_CI FORGEJO_ACTIONS GITEA_ACTIONS
    SCALER_ENGINE SCALER_STACK SCALER_STATE_DIR
    PULUMI_PROJECT PULUMI_STACK PULUMI_ORGANIZATION PULUMI_DRY_RUN PULUMI_ROOT_DIRECTORY
"""
_NEEDED = frozenset(_NAMES.split())
"""Who, where and in which language; how to start, to reach others through a proxy, and to trust them. An agent's socket
is no secret, and most drains use ssh. The last line is what the engine tells a policy pack."""

_NEEDED_PREFIXES = ("LC_", "XDG_", "LD_", "DYLD_")

_SECRET_VALUE = re.compile(
    r"""\w[\w+.-]*://[^/?#\s]*:[^/?#\s]*@      # a URL with a password
        |https?://[^/?#\s]+@                     # or with a token in the place of a user
        |-----BEGIN\ [A-Z ]*PRIVATE\ KEY-----""",
    re.VERBOSE | re.IGNORECASE,
)
"""A proxy's URL, for example, may hold a password."""

_SCALER_S = re.compile(r"^(HCLOUD|DIGITALOCEAN|PULUMI|AWS|AZURE|ARM|GOOGLE|GCLOUD|VAULT)_|^PG(PASS|SSL)")

_SHOUTED = re.compile(r"(?<![A-Za-z0-9_])[A-Z][A-Z0-9_]{2,}(?![A-Za-z0-9_])")
"""A word that may be the name of a variable."""


@dataclass(frozen=True)
class CommandEnvironment:
    """The variables that commands get, and the names of the others, which are set for scaler alone."""

    given: Mapping[str, str]
    withheld: frozenset[str] = frozenset()

    @classmethod
    def of(cls, environ: Mapping[str, str], named: Collection[str] = ()) -> CommandEnvironment:
        """Hand over what any program needs, and the variables that are `named`."""
        given = {name: value for name, value in environ.items() if name in named or is_needed(name, value)}
        return cls(given, frozenset(environ) - frozenset(given))

    def missed_by(self, text: str) -> list[str]:
        """Return the variables that a command's text names and does not get, sorted."""
        return sorted(self.withheld.intersection(_SHOUTED.findall(text)))


def is_needed(name: str, value: str) -> bool:
    """Return whether a variable is handed to every command."""
    is_known = name.upper() in _NEEDED if name.lower().endswith("_proxy") else name in _NEEDED
    return (is_known or name.startswith(_NEEDED_PREFIXES)) and not _SECRET_VALUE.search(value)


def belongs_to_scaler(name: str) -> bool:
    """Return whether a variable is of the clouds, of the engine, or of where that keeps the state."""
    return bool(_SCALER_S.search(name))
