"""Snapshots at Hetzner Cloud: images with a description and labels, made by an action of their server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

import hcloud
from hcloud.actions import BoundAction
from hcloud.images import BoundImage, Image
from hcloud.servers import Server

from scaler.clouds import InvalidError, oldest_first
from scaler.clouds.paging import Page, read_all
from scaler.clouds.snapshots import Making, MakingState, Snapshot
from scaler.clouds.transport import given, number_of
from scaler.support.clock import usable

_PER_PAGE = 50
_STATES = {"running": MakingState.RUNNING, "success": MakingState.DONE, "error": MakingState.FAILED}

Asking = Callable[..., AbstractContextManager[None]]
Pages = Callable[..., Callable[[int], Page[Any]]]


class HetznerSnapshots:
    """The snapshots of one Hetzner Cloud project."""

    def __init__(self, client: hcloud.Client, asking: Asking, pages: Pages) -> None:
        """`asking` names what is asked for in errors; `pages` reads a list of the client's."""
        self._client = client
        self._asking = asking
        self._pages = pages

    def all(self) -> list[Snapshot]:
        with self._asking("list the snapshots"):
            return oldest_first([snapshot_of(row) for row in self._rows()])

    def used(self) -> frozenset[str]:
        with self._asking("list the images of all servers"):
            return frozenset(read_all(self._images_of_servers))

    def newest(self, server: str) -> str:
        with self._asking(f"read the actions of server {server}"):
            return str(max((action.id for action in self._actions(server)), default=0))

    def make(self, server: str, name: str, labels: Mapping[str, str]) -> Making:
        with self._asking(f"make a snapshot of server {server}", changing=True):
            answer = self._client.servers.create_image(
                Server(id=int(server)), description=name, type="snapshot", labels=dict(labels)
            )
            return _making(answer.action, str(given(answer.image, "image").id))

    def find(self, server: str, name: str, after: str) -> Making | None:
        with self._asking(f"look for the snapshot {name}"):
            actions = [action for action in self._actions(server) if action.id > int(after)]
            for row in self._rows():
                if row.description == name:
                    made = next((action for action in actions if _is_about(action, row.id)), None)
                    done = MakingState.DONE if row.status == "available" else MakingState.RUNNING
                    return _making(made, str(row.id)) if made else Making(action="", state=done, snapshot=str(row.id))
        return None

    def look(self, server: str, name: str, making: Making) -> Making:
        if not making.action:
            return self.find(server, name, "0") or making
        with self._asking(f"read how far the snapshot {name} is"):
            return _making(self._client.actions.get_by_id(int(making.action)), making.snapshot)

    def label(self, id: str, labels: Mapping[str, str]) -> None:
        with self._asking(f"label snapshot {id}", changing=True):
            row = self._client.images.get_by_id(int(id))
            wanted = {**(row.labels or {}), **labels}
            if wanted != row.labels:
                self._client.images.update(Image(id=row.id), labels=wanted)

    def delete(self, id: str) -> None:
        with self._asking(f"delete snapshot {id}", changing=True):
            try:
                self._client.images.delete(Image(id=int(id)))
            except InvalidError:
                if self._exists(id):
                    raise

    def _exists(self, id: str) -> bool:
        with suppress(InvalidError):
            self._client.images.get_by_id(int(id))
            return True
        return False

    def _rows(self) -> list[BoundImage]:
        return read_all(self._pages(self._client.images.get_list, type=["snapshot"]))

    def _actions(self, server: str) -> list[BoundAction]:
        """Return the actions that make images of a server."""

        def some(**asked: Any) -> Any:
            return self._client.servers.get_actions_list(Server(id=int(server)), **asked)

        return [action for action in read_all(self._pages(some)) if action.command == "create_image"]

    def _images_of_servers(self, number: int) -> Page[str]:
        # Of others' servers nothing but the image is read: they need not be such as scaler creates.
        answer = self._client.request("GET", "/servers", params={"page": number, "per_page": _PER_PAGE})
        pagination = answer["meta"]["pagination"]
        rows = [(row["id"], str(row["image"]["id"]) if row["image"] else "") for row in answer["servers"]]
        return Page(rows, pagination["next_page"] is not None, pagination["total_entries"])


def snapshot_of(row: BoundImage) -> Snapshot:
    """Return what the API says of a snapshot; ValueError if a required field is missing."""
    return Snapshot(
        id=number_of(row.id, "image.id"),
        name=given(row.description, "image.description"),
        labels=row.labels or {},
        created=usable(given(row.created, "image.created")),
        available=row.status == "available",
        protected=bool(dict(row.protection or {}).get("delete")),
    )


def _making(action: BoundAction, snapshot: str | None) -> Making:
    state = _STATES[given(action.status, "action.status")]
    error = words_of(action.error) if action.error else ""
    return Making(action=str(action.id), state=state, snapshot=snapshot, error=error)


def words_of(error: Mapping[str, Any] | None) -> str:
    """Return what the cloud says of an action that failed."""
    known = error or {}
    return f"{known.get('code', 'error')}: {known.get('message', 'no reason was given')}"


def _is_about(action: BoundAction, image: int | None) -> bool:
    return any(resource["type"] == "image" and resource["id"] == image for resource in action.resources or ())
