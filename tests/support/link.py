"""A machine's way to the shared records, with its troubles."""

from __future__ import annotations

from scaler.records.folder_store import FolderStore
from scaler.records.store import Stored, StoreRefusedError, StoreUnavailableError


class Link(FolderStore):
    """Can be cut, also after a request has arrived, and may be one on which nothing may be written."""

    is_cut = False
    refuses = False
    loses_answers = False

    def read(self, name: str, known: str | None = None) -> Stored | None:
        self._pass()
        return super().read(name, known)

    def write(self, name: str, content: bytes, after: str | None = None) -> str:
        self._pass()
        if self.refuses:
            raise StoreRefusedError("not you")
        version = super().write(name, content, after)
        if self.loses_answers:
            self.is_cut = True
            self._pass()
        return version

    def _pass(self) -> None:
        if self.is_cut:
            raise StoreUnavailableError("nobody answers")
