"""The Protocol that every cloud satisfies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from scaler.clouds.facts import Catalogue, Image, Limits, Reference
from scaler.model import ImageRef, Machine, MachineRequest, Requests
from scaler.model.ownership import Owner


class Cloud(Protocol):
    """One account at one cloud. Safe to call from several threads.

    If the cloud does not do what is asked, a method raises a `CloudError`, and nothing else. Every
    request has a deadline of its own.

    A cloud may have one method more, `account() -> str | None`: the account's own id, which is the same
    for all its tokens. A run compares it before it acts with a token that it has not seen before. And where
    a machine's status and lock do not show a reboot, `is_busy(id) -> bool`: whether an action runs on it.
    And where what a request names must fit together, `check_request(request) -> Sequence[Room]`: InvalidError if the
    cloud would refuse the request for what it names, whatever its capacity; else what of it has room for a number
    of servers only. It is asked after `reference`, before anything is created.
    And where it tells what becomes of a request that it accepted, `failed(ids, work) -> Mapping[str, str]`: of
    machines whose deletion (`delete`) or reboot (`reboot`) was accepted and that are not at work, those where it has
    failed, each with the cloud's words; a failure is told once.
    And where a machine is shown as before until its deletion has ended, `deleting(ids) -> frozenset[str]`: those of
    the machines whose deletion goes on, or has ended. Without it each machine is asked for by its address.
    And where it can say so of many machines at once, `prove_gone(ids) -> frozenset[str]`: of machines that a
    list lacks and whose deletion was accepted, those that are gone for sure, with their names free again.
    And where one request labels many machines, `label_many(ids, (key, value), *, on) -> None`: put the label on all of
    them, or take it off; GoneError if one of them does not exist, and then it may have labelled none of them.
    And where two machines cannot have one name, `names() -> Collection[str]`: the names of all machines of the
    account, whoever owns them. Without it, taken names are learned from refusals, if the cloud refuses any.
    And where it limits the rate, `rate_wait(requests) -> timedelta`: how long so many requests take at least.
    And where `scaler snapshot` can make snapshots of its machines: a value `snapshots` (`scaler.clouds.snapshots`).
    """

    name: str
    """`hetzner` or `digitalocean`."""

    def list_owned(self, owner: Owner) -> list[Machine]:
        """Return the owner's machines, oldest first: one request per page."""

    def get(self, id: str) -> Machine:
        """Return one machine by its id; GoneError if there is none."""

    def find(self, name: str, owner: Owner) -> list[Machine]:
        """Return the owner's machines of exactly this name, oldest first."""

    def create(self, request: MachineRequest) -> Machine:
        """Ask for a machine; return as soon as the cloud has accepted the request and answered with an id."""

    def delete(self, id: str) -> None:
        """Ask for a machine's deletion, and return on acceptance; GoneError if there is none."""

    def power_on(self, id: str) -> None:
        """Ask for it and return on acceptance, as do the next three."""

    def power_off(self, id: str) -> None: ...

    def shutdown(self, id: str) -> None: ...

    def reboot(self, id: str) -> None: ...

    def cpu(self, id: str) -> float | None:
        """Return how busy a machine is by the cloud's newest measurement: 1 is all its cores. None: not measured yet.

        InvalidError if the cloud does not measure it. A cloud without this method measures nothing.
        """

    def set_labels(self, id: str, labels: Mapping[str, str]) -> None:
        """Set the machine's labels to exactly these."""

    def find_image(self, image: ImageRef, architecture: str, location: str) -> Image:
        """Return the image that a spec names; InvalidError lists what exists instead."""

    def reference(self, kind: Reference, name: str) -> str:
        """Return the id (digits or a UUID) of what a spec names; InvalidError lists what exists instead."""

    def catalogue(self) -> Catalogue:
        """Return types, locations, prices and stock."""

    def limits(self) -> Limits:
        """Return what the account is allowed; ask the cloud only if it can say."""

    @property
    def requests(self) -> Requests:
        """Requests sent so far, by kind."""

    def close(self) -> None:
        """Close the connections."""
