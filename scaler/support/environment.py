"""The environment of the commands that a spec names: what scaler has itself, without its credentials. Pure.

A drain needs PATH and HOME, and has no use for the cloud's token. A variable counts as a credential by
its name, by where it comes from, or by its value: a URL with a password or a token in it, a private key.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_CREDENTIAL = re.compile(
    r"""(^|_)(TOKENS?|SECRETS?|PASSWORDS?|PASSWD|PASSPHRASE|CREDENTIALS?|KEY|KEYS|PAT|AUTH|DSN)(_|$)   # as a word
        |(^|_)(PASS|CREDS?|JWT|OAUTH|BEARER|COOKIES?|WEBHOOKS?)(_|$)|_PWD$|SSHPASS|TOKEN$|PW$
        |CONNECTION_?STRING|^(OP|BW)_SESSION|^GIT_CONFIG_(VALUE|PARAMETERS)
        |PASSWORD|PASSPHRASE|APIKEY|ACCESSKEY|SECRETKEY|PRIVATEKEY                                     # in a word
        |^(HCLOUD|HETZNER|DIGITALOCEAN|SPACES|AWS|AZURE|ARM|GOOGLE|GCLOUD|CLOUDSDK)_                   # clouds
        |^PULUMI_(ACCESS|CONFIG|BACKEND)
        |^PGPASS""",
    re.VERBOSE | re.IGNORECASE,
)
"""Names of credentials, and all that belongs to a cloud or a state backend, such as the path of a file with a token."""

_SCALER_S = re.compile(r"^(HCLOUD|DIGITALOCEAN|PULUMI|AWS|AZURE|ARM|GOOGLE|GCLOUD|VAULT)_|^PG(PASS|SSL)")

_HARMLESS = frozenset({"SSH_AUTH_SOCK", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PAGER", "CLOUDSDK_PYTHON"})
"""Variables that only look like credentials. An agent's socket is no secret, and most drains use ssh."""

_SECRET_VALUE = re.compile(
    r"""\w[\w+.-]*://[^/?#\s]*:[^/?#\s]*@      # a URL with a password
        |https?://[^/?#\s]+@                     # or with a token in the place of a user
        |-----BEGIN\ [A-Z ]*PRIVATE\ KEY-----""",
    re.VERBOSE | re.IGNORECASE,
)


def ordinary_environment(environ: Mapping[str, str], named: Collection[str] = ()) -> dict[str, str]:
    """Return the variables that a command of the spec gets: those that hold no credential, and the `named` ones."""
    return {name: value for name, value in environ.items() if name in named or not is_credential(name, value)}


def withheld(environ: Mapping[str, str], named: Collection[str] = ()) -> list[str]:
    """Return the names of the variables that a command of the spec does not get, sorted."""
    return sorted(set(environ) - set(ordinary_environment(environ, named)))


def belongs_to_scaler(name: str) -> bool:
    """Return whether a variable is of the clouds, of the engine, or of where that keeps the state."""
    return bool(_SCALER_S.search(name))


def is_credential(name: str, value: str) -> bool:
    """Return whether a variable may hold a credential, or lead to one."""
    if name in _HARMLESS:
        return False
    return bool(_CREDENTIAL.search(name) or _SECRET_VALUE.search(value))
