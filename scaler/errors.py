"""The errors of scaler: what happened, why, and how to fix it.

Every failure that a person or a pipeline sees is a `ScalerError`. `scaler.commands.main` alone prints
it and turns it into an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the process. Users rely on them; 64, 65, 69 and 77 are those of sysexits.h."""

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
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


SEE_DOCTOR = "`scaler doctor` checks the set-up."

_LONGEST_WHY = 20_000
"""Characters."""


class ScalerError(Exception):
    """A failure: what happened, why, and how to fix it.

    `what` is one sentence. `why` is the cause, with the code and message of the cloud or engine
    unchanged. `fix` says what to do next. `code` is a stable name for programs.
    """

    exit_code: ExitCode = ExitCode.ERROR
    code: str = "error"

    def __init__(self, what: str, *, why: str = "", fix: str = "", code: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        # Other sides' words have no bounds, and errors are printed, logged and sent.
        self.why = why if len(why) <= _LONGEST_WHY else f"{why[:_LONGEST_WHY]}…"
        self.fix = fix
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.what} ({self.why})" if self.why else self.what

    @property
    def facts(self) -> dict[str, str]:
        """The error as JSON documents have it: `{code, message, why, fix}`."""
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
    """A function that the spec names raised an exception, or returned a value that cannot be used."""

    code = "extension_failed"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in a file: its line (the first is 1), what is wrong, and how to correct it (may be empty)."""

    file: str
    line: int
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" + (f"; {self.fix}" if self.fix else "")


class InvalidSpecError(SpecError):
    """One or more specs are invalid; `problems` are all problems, in the order of files and lines."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        files = list(dict.fromkeys(problem.file for problem in problems))
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count} in {', '.join(files)}.", fix="Correct these lines; nothing was changed.")
        self.problems = tuple(problems)


class RefusedError(ScalerError):
    """A guard or a policy refused the plan; nothing was changed."""

    exit_code = ExitCode.REFUSED
    code = "refused"


class UnrecognisedError(RefusedError):
    """The world is not the one that the stack's records are of; nothing was changed and nothing recorded."""

    code = "unrecognised"


class StalePlanError(ScalerError):
    """The servers, the spec or scaler itself have changed since the plan was made; it was not applied."""

    exit_code = ExitCode.STALE_PLAN
    code = "plan_stale"


class LimitError(RefusedError):
    """The spec or the account does not allow so many servers, or so few."""

    code = "limit"


class TimeUpError(ScalerError):
    """The run's time, `--timeout`, ended before it could do what was asked; the next run goes on."""

    exit_code = ExitCode.UNCONFIRMED
    code = "time_up"


class LockedError(ScalerError):
    """Another run has locked the stack."""

    exit_code = ExitCode.LOCKED
    code = "locked"


class UnavailableError(ScalerError):
    """The cloud or the engine cannot be reached."""

    exit_code = ExitCode.UNAVAILABLE
    code = "unavailable"


class UnsoundError(UnavailableError, ValueError):
    """What was read of a server, an image or an offer cannot be; nothing was done with it."""


class CredentialsError(ScalerError):
    """Credentials are missing or were refused."""

    exit_code = ExitCode.CREDENTIALS
    code = "credentials"


class EngineError(ScalerError):
    """The engine failed, or did something that was not requested."""

    code = "engine_failed"


class StateError(ScalerError):
    """The state file cannot be read or written."""

    code = "state"


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. `scaler.commands.main` raises it; code that handles Ctrl-C handles it too."""


class HungUp(KeyboardInterrupt):
    """SIGHUP arrived: the terminal was closed. As with `Terminated`, code that handles Ctrl-C handles it too."""
