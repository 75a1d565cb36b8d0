"""The official plugin (`plugin: official`): where it sends its requests, and what its errors mean.

It is a process of its own. It takes endpoint and token from its configuration in the stack, else from
environment variables; scaler uses the variables, since a configured token would be saved in the state.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from scaler.clouds import AmbiguousError, CloudError, GoneError, InvalidError, NameTakenError
from scaler.clouds.registry import Vendor
from scaler.clouds.transport import Refusal, meaning_of_status
from scaler.engine.settings_files import checked, project_files, settings_files
from scaler.errors import RefusedError

_PLACES = ("token", "endpoint", "apiEndpoint")
"""The settings of both plugins that would send requests elsewhere, or with another token, than scaler does."""

_PROGRAMS = frozenset({"packages", "plugins"})
"""The keys of a project that name programs, as paths or addresses, which the engine starts in a plugin's place."""

_UNANSWERED = re.compile(
    r"\bEOF\b|connection (reset|refused)|broken pipe|time(d )?out|deadline exceeded|transport is closing|no such host"
    r"|status(?: code)?:? 5\d\d",
    re.IGNORECASE,
)
"""What Go's HTTP client, hcloud-go and a plugin that died say of a request that may have been carried out."""

_HCLOUD_CODE = re.compile(r"\((\w+)(?:, [\w-]+)?\)|\b(?:error )?code:? `?(\w+)", re.IGNORECASE)
"""hcloud-go (v2, `Error.Error`): `message (code)` or `message (code, correlation id)`; the provider's newer errors
have a line `Error code: …`."""

_GODO = re.compile(r"(?:GET|POST|PUT|DELETE) \S+: (\d{3}) (?:\(request \"[^\"]*\"\) )?(.*)")
"""godo (`ErrorResponse.Error`): `POST https://…: 422 (request "id") message`."""

_STATUS = re.compile(r"\bstatus(?: code)?:? (\d{3})\b", re.IGNORECASE)
_HEADING = re.compile(r"^(error: ?)?(\d+ errors? occurred:)?$")


def environ_of_plugin(vendor: Vendor, *, endpoint: str, token: str) -> dict[str, str]:
    """Return the variables that point the official plugin at the endpoint and account that scaler works on."""
    return {vendor.endpoint_variable: endpoint, **dict.fromkeys(vendor.token_variables, token)}


def refuse_other_place(directory: Path, stack: str, package: str) -> None:
    """Refuse files of Pulumi's that name an endpoint, a token or a program for the plugin: they would win over scaler.

    Raises RefusedError, or SpecError for a file that cannot be read with certainty.
    """
    for path in project_files(directory):
        programs = [name for name in checked(path) if name.lower() in _PROGRAMS]
        if programs:
            raise RefusedError(
                f"{path.name} names programs to start in place of the official plugin; nothing was changed.",
                why=f"a program that {' or '.join(programs)} names would get the token of the environment",
                fix="Remove it there: the engine finds the official plugin itself.",
                code="plugin_config",
            )
    for path in (*project_files(directory), *settings_files(directory, stack)):
        configs = (value for name, value in checked(path).items() if name.lower() == "config")
        names = [f"{package}:{name}".lower() for name in _PLACES]
        found = [name for config in configs if isinstance(config, Mapping) for name in config if _key(name) in names]
        if found:
            raise RefusedError(
                f"{path.name} says where the official plugin works; nothing was changed.",
                why=f"{', '.join(found)} in its `config` would win over the endpoint and token that scaler uses",
                fix="Remove it there: scaler gives the plugin `endpoint` of the spec and the token of the environment.",
                code="plugin_config",
            )


def _key(name: object) -> str:
    """Return a configuration key in the short form: `hcloud:config:token` is the old one of `hcloud:token`."""
    return str(name).lower().replace(":config:", ":")


def error_of(cloud: str, server: str, text: str) -> CloudError:
    """Return what the plugin's error about a server means; a plain CloudError if its words do not say it."""
    meaning = _MEANINGS[cloud](text)
    if meaning is None:
        meaning = AmbiguousError if _UNANSWERED.search(text) else CloudError
    if meaning is GoneError:
        # To the plugin a server that is gone is no error; this is about something that the server refers to.
        meaning = InvalidError
    did = "may or may not have changed" if issubclass(meaning, AmbiguousError) else "could not change"
    return meaning(f"The official plugin {did} {server}.", why=_without_frames(text))


def is_unanswered(error: CloudError) -> bool:
    """Return whether a request may have been carried out, or was by an earlier one whose answer was lost."""
    return isinstance(error, AmbiguousError | NameTakenError)


def _hetzner(text: str) -> type[CloudError] | None:
    from scaler.clouds.hetzner import meaning_of

    status = _STATUS.search(text)
    for found in _HCLOUD_CODE.finditer(text):
        refusal = _refusal(int(status[1]) if status else 0, found[1] or found[2], text)
        if meaning := meaning_of(refusal):
            return meaning
    return None


def _digitalocean(text: str) -> type[CloudError] | None:
    from scaler.clouds.digitalocean import meaning_of

    answer = _GODO.search(text)
    if answer is None:
        return None
    # godo leaves out the API's own code, which is always this one for 403.
    refusal = _refusal(int(answer[1]), "forbidden" if answer[1] == "403" else "", answer[2])
    return meaning_of(refusal) or meaning_of_status(refusal.status)


def _refusal(status: int, code: str, message: str) -> Refusal:
    return Refusal(method="", path="", status=status, code=code, message=message, request_id="")


_MEANINGS: Mapping[str, Callable[[str], type[CloudError] | None]] = {
    "hetzner": _hetzner,
    "digitalocean": _digitalocean,
}


def _without_frames(text: str) -> str:
    """Return the plugin's own words, each line once, without the headings around them."""
    lines = (line.strip(" *\t") for line in text.splitlines())
    return "; ".join(dict.fromkeys(line for line in lines if line and not _HEADING.search(line)))
