"""`scaler increase`: add servers."""

from __future__ import annotations

from scaler.commands.relative import relative_command

increase = relative_command(
    "increase",
    +1,
    """Add BY servers to those that exist. BY is 1 if you leave it out.

    Prints the plan and asks before it acts, unless you give --yes. Hanging and errored servers do not count
    as existing, and are replaced in the same run.

    \b
    Examples:
      scaler increase                          one more
      scaler increase 3 --group worker --yes
      scaler increase --expect-current 5       only if there are 5 now

    \b
    Exit codes: 0 reached, 1 error, 3 refused, 4 not confirmed in time, 5 locked, 64 usage.
    """,
)
