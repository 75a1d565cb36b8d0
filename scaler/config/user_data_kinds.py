"""How user data begins, which tells its kind. Pure, and nothing heavy is imported: `scaler.config.project` needs it.

Source: cloud-init (cloudinit/handlers/__init__.py): white space before the beginning and the case of letters do not
count.
"""

from __future__ import annotations

KINDS = (
    "#!",
    "#cloud-config",
    "#cloud-boothook",
    "#include",
    "#part-handler",
    "#upstart-job",
    "## template:",
    "#template:",
    "content-type:",
    "mime-version:",
    "from ",
)
"""How documents begin that cloud-init understands. `#cloud-config-archive` and `#include-once` are among them."""

OTHER_KINDS = ("{", "version:", "variant:", "apiversion:", "---")
"""How documents of other systems begin: Ignition, Talos and the like."""

_HEADER_LINES = 20
"""The first lines of a document, in which a header may stand that is not where servers look for it."""

_KEYS = frozenset(
    {"bootcmd", "packages", "package_update", "package_upgrade", "runcmd", "ssh_authorized_keys", "users"}
)
"""Keys of a cloud-config, none of which a spec has."""


def beginning_of(text: str) -> str:
    """Return a text as servers compare its beginning."""
    return text.lstrip().lower()


def is_user_data(text: str) -> bool:
    """Return whether a text, or its first part, begins as cloud-init documents do and specs do not."""
    return beginning_of(text.removeprefix("\ufeff")).startswith(KINDS)


def misplaced_header(text: str) -> int | None:
    """Return the line in which a document has the header of a cloud-config, if it is one of the first."""
    lines = text.splitlines()[:_HEADER_LINES]
    return next((number for number, line in enumerate(lines, 1) if line.lstrip().startswith("#cloud-config")), None)


def has_keys_of_user_data(keys: object) -> bool:
    """Return whether the keys of a document are those of a cloud-config."""
    return isinstance(keys, dict) and not keys.keys() & {"cloud", "groups"} and bool(keys.keys() & _KEYS)
