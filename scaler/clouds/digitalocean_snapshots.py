"""Snapshots at DigitalOcean: images with a name, made by an action of their droplet, and tagged afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pydo

from scaler.clouds import InvalidError, oldest_first
from scaler.clouds.paging import Page, read_all
from scaler.clouds.snapshots import Making, MakingState, Snapshot
from scaler.clouds.transport import number_of
from scaler.model.ownership import decode_tags
from scaler.support.clock import parse_time

_STATES = {"in-progress": MakingState.RUNNING, "completed": MakingState.DONE, "errored": MakingState.FAILED}

Row = Mapping[str, Any]
Asking = Callable[..., AbstractContextManager[None]]
Pages = Callable[..., Callable[[int], Page[Row]]]
Tags = Callable[[Mapping[str, str]], Sequence[str]]


class DigitalOceanSnapshots:
    """The snapshots of one DigitalOcean account."""

    def __init__(self, client: pydo.Client, asking: Asking, pages: Pages, tags: Tags) -> None:
        """`asking` names what is asked for in errors; `pages` reads a list of the client's; `tags` checks labels."""
        self._client = client
        self._asking = asking
        self._pages = pages
        self._tags = tags

    def all(self) -> list[Snapshot]:
        with self._asking("list the snapshots"):
            return oldest_first([snapshot_of(row) for row in self._rows()])

    def used(self) -> frozenset[str]:
        with self._asking("list the images of all droplets"):
            rows = read_all(self._pages(self._client.droplets.list, "droplets"))
            return frozenset(str(row["image"]["id"]) for row in rows if row["image"])

    def newest(self, server: str) -> str:
        with self._asking(f"read the actions of droplet {server}"):
            return str(max((int(action["id"]) for action in self._actions(server)), default=0))

    def make(self, server: str, name: str, labels: Mapping[str, str]) -> Making:
        self._tags(labels)
        with self._asking(f"make a snapshot of droplet {server}", changing=True):
            answer = self._client.droplet_actions.post(int(server), body={"type": "snapshot", "name": name})
            return self._made(answer["action"], None)

    def find(self, server: str, name: str, after: str) -> Making | None:
        with self._asking(f"look for the snapshot {name}"):
            action = max(
                (each for each in self._actions(server) if int(each["id"]) > int(after)),
                key=lambda each: int(each["id"]),
                default=None,
            )
            row = self._named(name)
            if row is None:
                # An action tells no name: until it ends, it may be ours. One that failed left nothing.
                going_on = action is not None and action["status"] == "in-progress"
                return self._made(action, None) if action and going_on else None
            if action is not None:
                return self._made(action, row)
            done = MakingState.DONE if _is_available(row) else MakingState.RUNNING
            return Making(action="", state=done, snapshot=str(row["id"]))

    def look(self, server: str, name: str, making: Making) -> Making:
        if not making.action:
            return self.find(server, name, "0") or making
        with self._asking(f"read how far the snapshot {name} is"):
            action = self._client.droplet_actions.get(int(server), int(making.action))["action"]
            return self._made(action, self._named(name) if action["status"] == "completed" else None)

    def label(self, id: str, labels: Mapping[str, str]) -> None:
        tags = self._tags(labels)
        with self._asking(f"tag snapshot {id}", changing=True):
            current = self._client.images.get(int(id))["image"]["tags"]
            resources = {"resources": [{"resource_id": id, "resource_type": "image"}]}
            for tag in tags:
                if tag in current:
                    continue
                made = self._client.tags.create(body={"name": tag})["tag"]["name"]
                if made != tag:
                    raise InvalidError(f"The tag {tag} exists as {made}.", fix=f"Write {made} in the spec.")
                self._client.tags.assign_resources(tag, body=resources)

    def delete(self, id: str) -> None:
        with self._asking(f"delete snapshot {id}", changing=True):
            try:
                self._client.images.delete(int(id))
            except InvalidError:
                if any(str(row["id"]) == id for row in self._rows()):
                    raise

    def _rows(self) -> list[Row]:
        rows = read_all(self._pages(self._client.images.list, "images", private=True))
        return [row for row in rows if row["type"] == "snapshot"]

    def _named(self, name: str) -> Row | None:
        return next((row for row in self._rows() if row["name"] == name), None)

    def _actions(self, server: str) -> list[Row]:
        """Return the actions that make snapshots of a droplet."""

        def some(**asked: Any) -> Any:
            return self._client.droplet_actions.list(int(server), **asked)

        return [row for row in read_all(self._pages(some, "actions")) if row["type"] == "snapshot"]

    def _made(self, action: Row, row: Row | None) -> Making:
        """Return how far an action is: done only when its snapshot is there and finished."""
        state = _STATES[action["status"]]
        if state is MakingState.DONE and not (row and _is_available(row)):
            state = MakingState.RUNNING
        error = "its action ended with an error" if state is MakingState.FAILED else ""
        return Making(action=str(action["id"]), state=state, snapshot=str(row["id"]) if row else None, error=error)


def snapshot_of(row: Row) -> Snapshot:
    """Return what the API says of a snapshot; KeyError or ValueError if a required field is missing."""
    return Snapshot(
        id=number_of(row["id"], "image.id"),
        name=row["name"],
        labels=decode_tags(row["tags"]),
        created=parse_time(row["created_at"]),
        available=_is_available(row),
    )


def _is_available(row: Row) -> bool:
    return bool(row.get("status", "available") == "available")
