"""`scaler unprotect`: end the protection of servers."""

from __future__ import annotations

from scaler.commands.protection import protection_command

unprotect = protection_command(
    "unprotect",
    protected=False,
    text="""Remove the protection that `scaler protect` gave to servers.

    Servers that the spec names under `protect` stay protected until you remove them there.

    \b
    Examples:
      scaler unprotect prod-worker-1
      scaler unprotect prod-worker-1 prod-worker-2

    \b
    Exit codes: 0 done, 1 error, 5 locked, 64 usage, such as a server that the spec protects.
    """,
)
