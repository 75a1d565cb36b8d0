"""Events as messages in a chat, on a phone or by mail: Apprise knows the services.

A service is a URL, such as `slack://…` or `mailto://…`, and holds its own secret. So the spec names an
environment variable, which has one URL or several, separated by white space or commas.
"""

from __future__ import annotations

from collections.abc import Mapping

from scaler.support.installation import install_command

Payload = Mapping[str, object]


def tell(variable: str, environ: Mapping[str, str], event: Payload) -> str | None:
    """Send an event to the services that a variable of the environment names; return what went wrong, without URLs."""
    try:
        from apprise import Apprise
        from apprise.logger import logger
    except ImportError:
        return f"not installed: {install_command('apprise')}"
    logger.disabled = True  # it writes URLs, which are secrets
    services = Apprise()
    if not environ.get(variable):
        return "the variable is not set"
    if not services.add(environ[variable]):
        return "it holds no URL that Apprise knows"
    told = services.notify(title=title_of(event), body=body_of(event))
    return None if told else f"a service did not take it ({len(services)} named)"


def title_of(event: Payload) -> str:
    """Return such as `prod: server.hanging`."""
    return f"{event['stack']}: {event['event']}"


def body_of(event: Payload) -> str:
    """Return who, what and why, in one sentence."""
    moved = " → ".join(str(event[key]) for key in ("from", "to") if event.get(key))
    parts = [str(event[key]) for key in ("reason", "cause") if event.get(key)]
    what = " ".join(part for part in (str(event.get("server") or ""), moved) if part)
    return "; ".join(part for part in (what, *parts) if part) or str(event["event"])
