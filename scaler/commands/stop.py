"""`scaler stop`: another name of `scaler remove`."""

from __future__ import annotations

import copy

from scaler.commands.remove import remove

stop = copy.copy(remove)
stop.name = "stop"
stop.help = """Delete exactly these servers: another name of `scaler remove`.

They are drained, shut down, and deleted for good. The servers must be running.

\b
Examples:
  scaler stop prod-worker-2 prod-worker-5 --yes

\b
Exit codes: 0 deleted, 1 error, 3 refused (protected, or below min), 4 not confirmed in time, 5 locked, 64 usage.
"""
