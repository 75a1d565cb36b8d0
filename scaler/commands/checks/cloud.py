"""Checks of a cloud: the token, the API, requests left, the catalogue, announced ends, the clock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from scaler.clouds import AuthError, Cloud, CloudError, GoneError, InvalidError
from scaler.clouds.registry import find_vendor
from scaler.commands.checks.finding import Finding, Level
from scaler.commands.checks.identity import KnownServers
from scaler.commands.checks.machine import EMBEDDED
from scaler.config.project import Project
from scaler.converge.references import find_references, missing_names
from scaler.errors import ExitCode, ScalerError
from scaler.model import Action, Group, Spec, Step
from scaler.output.words import format_count
from scaler.planning.claims import describe_unclaimed
from scaler.planning.template import Templates
from scaler.support.clock import Clock, format_time
from scaler.support.values import dataclass

LOW_BUDGET = 100
"""With fewer requests left, a run may have to wait for the vendor's rate limit."""

_NO_SERVER = "0"
"""An id that no cloud gives."""

LARGEST_SKEW = timedelta(seconds=30)


@dataclass(frozen=True)
class _Subject:
    """What the checks of a cloud look at."""

    spec: Spec
    """The first of `specs`."""
    specs: Sequence[Spec]
    known: Mapping[str, KnownServers]
    """By stack."""
    cloud: Cloud
    clock: Clock
    notices: list[str]
    """What the answers so far said about the end of what was asked for."""


def by_account(specs: Iterable[Spec]) -> list[list[Spec]]:
    """Return the specs of each cloud and endpoint: all of them ask the same with the same token."""
    found: dict[tuple[str, str | None], list[Spec]] = {}
    for spec in specs:
        found.setdefault((spec.cloud, spec.endpoint), []).append(spec)
    return list(found.values())


def check_cloud(
    project: Project,
    specs: Sequence[Spec],
    known: Mapping[str, KnownServers],
    environ: Mapping[str, str],
    clock: Clock,
) -> Iterator[Finding]:
    """Run the checks of one cloud, and of what each spec names there.

    The first check that fails ends those of the cloud, and only the clock is still compared.
    """
    from scaler.wiring import opened_cloud

    spec = specs[0]
    check = f"{spec.cloud} token"
    try:
        with _deprecation_notices() as notices, opened_cloud(project, spec, environ, clock) as cloud:
            yield Finding(check=check, message="not needed" if spec.endpoint == EMBEDDED else "present")
            for name, examine in _CHECKS.items():
                check = f"{spec.cloud} {name}"
                yield examine(check, _Subject(spec, specs, known, cloud, clock, notices))
            for one in specs:
                check = f"names {one.stack}"
                yield from _check_names(one, cloud, clock)
    except ScalerError as error:
        yield Finding.failed(check, error)
        if not isinstance(error, CloudError):
            return
    if spec.endpoint != EMBEDDED:
        yield _check_clock(spec, environ, clock)


def _check_api(check: str, subject: _Subject) -> Finding:
    """Count the servers of each stack there: those that are its own by its id or its records, and not by its names."""
    counts, others = [], []
    for spec in subject.specs:
        listed = subject.cloud.list_owned(spec.owner)
        known = subject.known[spec.stack]
        if not known.is_readable:
            # Whoever claimed them might claim another's.
            counts.append(f"{format_count(len(listed), 'server')} with the names of {spec.stack}")
            continue
        found = known.sort_out(spec, listed)
        counts.append(f"{spec.stack} has {format_count(len(found.ours), 'server')}")
        others += [describe_unclaimed(machine, subject.clock.now()) for machine in found.unclaimed]
    message = f"answers; {', '.join(counts)} there"
    if not others:
        return Finding(check=check, message=message)
    return Finding(
        check=check,
        level=Level.WARN,
        message="\n".join([message, *(f"not known to be its own: {one}" for one in others)]),
        fix="`scaler adopt` claims them. If they are of another folder's stack, use another stack name here.",
    )


def _check_limits(check: str, subject: _Subject) -> Finding:
    limits = subject.cloud.limits()
    servers = f"; at most {limits.servers} servers" if limits.servers is not None else ""
    if limits.requests_left is None:
        return Finding(check=check, message=f"the cloud does not say how many requests are left{servers}")
    message = f"{limits.requests_left} requests left{servers}"
    if limits.requests_left >= LOW_BUDGET:
        return Finding(check=check, message=message)
    reset = f" until {format_time(limits.requests_reset)}" if limits.requests_reset else ""
    fix = f"Wait{reset}, or stop the other programs that use this account's requests."
    return Finding(check=check, level=Level.WARN, message=message, fix=fix)


def _check_rights(check: str, subject: _Subject) -> Finding:
    """Check that the token may change servers, by starting one that does not exist."""
    try:
        subject.cloud.power_on(_NO_SERVER)
    except GoneError:
        return Finding(check=check, message="the token may change servers")
    except AuthError:
        return Finding(
            check=check,
            level=Level.FAIL,
            message="the token may only read",
            fix="Make a token that may read and write.",
            exit_code=ExitCode.CREDENTIALS,
        )
    except CloudError as error:
        return Finding(check=check, level=Level.WARN, message=f"it is not known whether the token may write: {error}")
    return Finding(check=check, level=Level.WARN, message="it is not known whether the token may write")


def _check_names(spec: Spec, cloud: Cloud, clock: Clock) -> Iterator[Finding]:
    """Check that there is what a spec names at its cloud: images, keys, networks, and types in locations."""
    catalogue = cloud.catalogue()
    if not catalogue.offers:
        message = "the cloud's catalogue is empty, so it is not known whether what the spec names is there"
        yield Finding(check=f"names {spec.stack}", level=Level.WARN, message=message)
        return
    for group in spec.groups.values():
        check = f"names {spec.stack} {group.name}"
        missing = missing_names(group, cloud)
        yield from (Finding.failed(check, error) for error in missing)
        # Its image and its places are looked up all the same.
        found = _check_places(check, _without_names(spec, group) if missing else spec, group, cloud, clock)
        if not missing or found.level is not Level.OK:
            yield found


def _without_names(spec: Spec, group: Group) -> Spec:
    bare = replace(group, ssh_keys=(), networks=(), firewalls=(), placement_group=None, vpc=None)
    return replace(spec, groups={**spec.groups, group.name: bare})


def _check_places(check: str, spec: Spec, group: Group, cloud: Cloud, clock: Clock) -> Finding:
    """Check that the types of a group are sold in its locations, and that its image is there and fits."""
    catalogue = cloud.catalogue()
    places = [(kind, place) for kind in group.types for place in group.locations]
    creates = [
        Step(action=Action.CREATE, server="", group=group.name, reason="", type=kind, location=place)
        for kind, place in places
    ]
    try:
        found = find_references(spec, creates, cloud, catalogue, Templates(), clock.now())
    except InvalidError as error:
        return Finding.failed(check, error)
    unfit = list(dict.fromkeys(str(error) for error in found.unfit.values()))
    if len(found.unfit) == len(places):
        first = next(iter(found.unfit.values()))
        message = "\n".join([*unfit, f"so {group.name} can have no new server"])
        return Finding(check=check, level=Level.FAIL, message=message, fix=first.fix, exit_code=first.exit_code)
    if unfit:
        return Finding(check=check, level=Level.WARN, message="\n".join(unfit), fix="Remove what is not there.")
    return Finding(check=check, message=f"what {group.name} names is there")


def _check_catalogue(check: str, subject: _Subject) -> Finding:
    """Check that the end of the specs' types is not announced. Whether they are sold is asked group by group."""
    catalogue = subject.cloud.catalogue()
    groups = [group for spec in subject.specs for group in spec.groups.values()]
    named = {(kind, place) for group in groups for kind in group.types for place in group.locations}
    ending = [
        f"{offer.type} in {offer.location} is deprecated, and not sold from {format_time(offer.deprecated_after)} on"
        for offer in catalogue.offers
        if (offer.type, offer.location) in named and offer.deprecated_after
    ]
    if ending:
        fix = "Name other types or locations in the spec."
        return Finding(check=check, level=Level.WARN, message="\n".join(ending), fix=fix)
    return Finding(check=check, message=f"{len(catalogue.types)} types; the end of none that a spec names is announced")


def _check_notices(check: str, subject: _Subject) -> Finding:
    found = list(dict.fromkeys(subject.notices))
    if found:
        return Finding(check=check, level=Level.WARN, message="\n".join(found), fix="Look for a newer scaler.")
    return Finding(check=check, message="the cloud announces no end of what scaler uses")


_CHECKS: Mapping[str, Callable[[str, _Subject], Finding]] = {
    "API": _check_api,
    "limits": _check_limits,
    "catalogue": _check_catalogue,
    "notices": _check_notices,
    "rights": _check_rights,
}
"""By name, in order: the notices are those of the answers before."""


@contextmanager
def _deprecation_notices() -> Iterator[list[str]]:
    """Collect what the answers say, while the block runs, about the end of what was asked for."""
    found: list[str] = []
    logger = logging.getLogger("scaler.clouds.transport")
    listener = logging.Handler(logging.INFO)
    listener.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(listener)
    try:
        yield found
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before)


def _aware(date: datetime) -> datetime:
    """Return a header's date with its time zone: one that ends with `-0000` is read without."""
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _check_clock(spec: Spec, environ: Mapping[str, str], clock: Clock) -> Finding:
    """Compare this machine's clock with the date of an answer of the API, which even a refusal carries."""
    import requests

    from scaler.support.http import Session

    vendor = find_vendor(spec.cloud)
    url = spec.endpoint or environ.get(vendor.endpoint_variable) or vendor.endpoint
    try:
        with Session() as session:
            answer = session.head(url, timeout=(5, 5), allow_redirects=False)
    except requests.exceptions.InvalidProxyURL as error:
        return Finding(check="clock", level=Level.WARN, message=f"could not be compared: {error}")
    except requests.RequestException as error:
        return Finding(check="clock", level=Level.WARN, message=f"could not be compared: {type(error).__name__}")
    try:
        skew = abs(clock.now() - _aware(parsedate_to_datetime(answer.headers.get("Date", ""))))
    except (ValueError, OverflowError):
        return Finding(check="clock", level=Level.WARN, message="could not be compared: the answers carry no date")
    if skew <= LARGEST_SKEW:
        return Finding(check="clock", message=f"within {LARGEST_SKEW.seconds} s of {vendor.title}'s")
    return Finding(
        check="clock",
        level=Level.WARN,
        message=f"{skew.total_seconds():.0f} s away from {vendor.title}'s: deadlines and waits will be wrong",
        fix="Set this machine's clock, for instance with NTP.",
    )
