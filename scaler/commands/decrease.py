"""`scaler decrease`: remove servers."""

from __future__ import annotations

from scaler.commands.relative import relative_command

decrease = relative_command(
    "decrease",
    -1,
    """Remove BY servers. BY is 1 if you leave it out.

    Servers that are not ready go first, then the newest or the oldest, as the spec says. Protected servers
    are never removed. Prints the plan and asks before it acts, unless you give --yes. More than there are is
    refused then, unless you give --allow-zero.

    \b
    Examples:
      scaler decrease                          one fewer
      scaler decrease 3 --group worker --yes
      scaler decrease --expect-current 5       only if there are 5 now

    \b
    Exit codes: 0 reached, 1 error, 3 refused, 4 not confirmed in time, 5 locked, 64 usage.
    """,
)
