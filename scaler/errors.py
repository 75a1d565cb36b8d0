"""The one error family: what happened, why, and how to mend it.

Every failure that a person or a pipeline sees is a `ScalerError`. Only
`scaler.commands.main` prints it and turns it into an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """The process's exit codes; they are a contract (64, 65, 69 and 77 are sysexits numbers)."""

    OK = 0
    ERROR = 1
    CHANGES_PENDING = 2
    REFUSED = 3
    UNCONFIRMED = 4
    LOCKED = 5
    STALE_PLAN = 6
    USAGE = 64
    SPEC = 65
    UNAVAILABLE = 69
    CREDENTIALS = 77
    INTERRUPTED = 130
    TERMINATED = 143


class ScalerError(Exception):
    """A failure with its cause and its cure.

    `what` is one sentence; `why` keeps the other side's own code and words; `fix` is what to do
    next. `code` is a stable machine-readable name.
    """

    exit_code: ExitCode = ExitCode.ERROR
    code: str = "error"

    def __init__(self, what: str, *, why: str = "", fix: str = "", code: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.what} ({self.why})" if self.why else self.what

    @property
    def facts(self) -> dict[str, str]:
        """As documents tell it: `{code, message, why, fix}`."""
        return {"code": self.code, "message": self.what, "why": self.why, "fix": self.fix}


class UsageError(ScalerError):
    """A wrong option, argument, stack, group or server name on the command line."""

    exit_code = ExitCode.USAGE
    code = "usage"


class SpecError(ScalerError):
    """The spec file is missing or invalid."""

    exit_code = ExitCode.SPEC
    code = "spec_invalid"


class ExtensionError(ScalerError):
    """A function that the spec names raised, or answered what cannot be used."""

    code = "extension_failed"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file: where (line 1 is the first), what, and how to mend it (may be empty)."""

    file: str
    line: int
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" + (f"; {self.fix}" if self.fix else "")


class InvalidSpecError(SpecError):
    """Everything that is wrong with one or more specs, in the order of the files and their lines."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        files = list(dict.fromkeys(problem.file for problem in problems))
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count} in {', '.join(files)}.", fix="mend these lines; nothing was touched")
        self.problems = tuple(problems)


class RefusedError(ScalerError):
    """A guard or a policy said no; nothing was changed."""

    exit_code = ExitCode.REFUSED
    code = "refused"


class StalePlanError(ScalerError):
    """The world, the spec or the tool is no longer the one that a plan was made for; nothing was changed."""

    exit_code = ExitCode.STALE_PLAN
    code = "plan_stale"


class LimitError(RefusedError):
    """More servers, or fewer, than a bound of the spec or the account allows."""

    code = "limit"


class LockedError(ScalerError):
    """Another run holds the stack."""

    exit_code = ExitCode.LOCKED
    code = "locked"


class UnavailableError(ScalerError):
    """The cloud or the engine cannot be reached."""

    exit_code = ExitCode.UNAVAILABLE
    code = "unavailable"


class CredentialsError(ScalerError):
    """Credentials are missing or were refused."""

    exit_code = ExitCode.CREDENTIALS
    code = "credentials"


class EngineError(ScalerError):
    """The engine failed, or did something that was not asked of it."""

    code = "engine_failed"


class StateError(ScalerError):
    """The state file cannot be read or written."""

    code = "state"


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. It is caught wherever Ctrl-C is; `scaler.commands.main` raises it."""
