"""`scaler protect`: never choose these servers for scale-down."""

from __future__ import annotations

from scaler.commands.protection import protection_command

protect = protection_command(
    "protect",
    protected=True,
    text="""Protect servers: scaler does not choose them for scale-down, and does not stop or replace them.

    The protection is kept in the stack's outputs, so every machine knows it, and it survives the loss of the
    state file. `scaler destroy` removes protected servers too.

    \b
    Examples:
      scaler protect prod-worker-1
      scaler protect prod-worker-1 prod-worker-2

    \b
    Exit codes: 0 protected, 1 error, 5 locked, 64 usage, such as a server that does not exist.
    """,
)
