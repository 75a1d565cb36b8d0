"""What a check of `scaler doctor` found."""

from __future__ import annotations

from enum import StrEnum

from scaler.errors import ExitCode, ScalerError
from scaler.support.values import dataclass


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check and its result."""

    check: str
    level: Level = Level.OK
    message: str
    fix: str = ""
    exit_code: ExitCode = ExitCode.OK

    @classmethod
    def failed(cls, check: str, error: ScalerError) -> Finding:
        """Make the finding of a check that raised an error."""
        problems = [str(problem) for problem in getattr(error, "problems", ())]
        message = "\n".join([str(error), *problems])
        # Who reads this is there already.
        fix = "" if "scaler doctor" in error.fix else error.fix
        return cls(check=check, level=Level.FAIL, message=message, fix=fix, exit_code=error.exit_code)
