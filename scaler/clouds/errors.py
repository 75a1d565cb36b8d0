"""Errors of a cloud: what a refused or lost request means for the caller."""

from __future__ import annotations

import copy
import re
from datetime import datetime
from typing import Self

from scaler.errors import ExitCode, ScalerError


class CloudError(ScalerError):
    """The cloud did not do what was asked. Its own code and message are in `why`."""

    code = "cloud_error"

    def about(self, named: str, instead: str) -> Self:
        """Return the same error for another machine: where its message names the one, it names the other instead."""
        error = copy.copy(self)
        error.what = re.sub(rf"(?<![\w-]){re.escape(named)}(?![\w-])", lambda _: instead, self.what)
        error.args = (error.what,)
        return error


class GoneError(CloudError):
    """The machine does not exist (any more)."""

    code = "gone"


class NoCapacityError(CloudError):
    """No machine of this type is available at this location now; another type or location may have one."""

    code = "no_capacity"


class QuotaError(CloudError):
    """The account is not allowed more."""

    code = "quota"


class AddressQuotaError(QuotaError):
    """The account is not allowed more public addresses; a server that needs fewer may be allowed."""


class NameTakenError(CloudError):
    """A machine of this name exists."""

    code = "name_taken"


class RateLimitedError(CloudError):
    """Too many requests; nothing was changed. `reset` is when to ask again."""

    exit_code = ExitCode.UNAVAILABLE
    code = "rate_limited"

    def __init__(self, what: str, *, why: str = "", fix: str = "", reset: datetime | None = None) -> None:
        super().__init__(what, why=why, fix=fix)
        self.reset = reset


class TransientError(CloudError):
    """A temporary failure, and nothing was changed: the request can be sent again."""

    exit_code = ExitCode.UNAVAILABLE
    code = "transient"


class AmbiguousError(CloudError):
    """A changing request got no answer: it may have been carried out."""

    code = "ambiguous"


class AuthError(CloudError):
    """The credentials were refused."""

    exit_code = ExitCode.CREDENTIALS
    code = "credentials"


class InvalidError(CloudError):
    """The request is wrong; sending it again does not help."""

    code = "invalid"


class UnfitError(InvalidError):
    """What a spec names is not at the cloud, or does not fit there, by the cloud's own catalogue."""

    exit_code = ExitCode.SPEC


class ProtectedError(CloudError):
    """The machine is protected against this in the cloud."""

    code = "protected"


class BusyError(CloudError):
    """Another action runs on the machine; nothing was changed, and the request can be sent again."""

    code = "busy"


class ActionFailedError(CloudError):
    """The cloud accepted a request, and failed to carry it out afterwards."""

    code = "action_failed"


PASSING = (TransientError, RateLimitedError, AmbiguousError)
"""Errors that say nothing about the servers: the same request may succeed a moment later."""
