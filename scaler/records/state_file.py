"""The JSON state file of a stack (`contract.md` §5).

It is replaced whole, so it survives a kill at any moment. `scaler status` imports this module, so it
loads nothing heavy.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from scaler.errors import StateError
from scaler.model.roll import Roll
from scaler.records.codec import from_json, to_json
from scaler.records.state import State
from scaler.support.documents import read_json
from scaler.support.files import FILE, failure_reason, make_folder, replace_file


class CorruptStateError(StateError):
    """The state file exists but is not a state file of this stack."""

    code = "state_corrupt"


class StateFile:
    """`<directory>/<stack>.json`, a whole document at any moment."""

    def __init__(self, directory: Path, stack: str) -> None:
        self._stack = stack
        self.path = directory / f"{stack}.json"
        self.events_path = directory / f"{stack}.events.jsonl"

    def load(self) -> State | None:
        """Return the recorded state, or None if nothing was recorded.

        CorruptStateError if the file is damaged or belongs to another stack; StateError if it
        cannot be read or a newer scaler wrote it.
        """
        try:
            document = read_json(self.path)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise self._corrupt(str(error)) from error
        except OSError as error:
            raise StateError(
                f"The state file {self.path} cannot be read.",
                why=failure_reason(error),
                fix="Make it readable for this user, or name another folder with --state-dir.",
                code="state_unreadable",
            ) from error
        return self._parse(document)

    def save(self, state: State) -> State:
        """Replace the content of the file in one step; return the state as written, with its new serial.

        A damaged file is set aside, never overwritten. StateError if the folder cannot be written
        or a newer scaler wrote the file; the old content then stays.
        """
        # Late: filelock loads asyncio, and `scaler status` only reads.
        from filelock import FileLock, Timeout

        try:
            make_folder(self.path.parent)
            with FileLock(f"{self.path}.lock", timeout=10, mode=FILE):
                saved = replace(state, serial=max(state.serial, self._recorded_serial()) + 1)
                replace_file(self.path, _document(saved))
        except (OSError, Timeout) as error:
            raise StateError(
                f"The state file {self.path} cannot be written.",
                why=failure_reason(error),
                fix="Free disk space and make the folder writable, or name another folder with --state-dir; "
                f"then run: scaler status --refresh --stack {self._stack}",
                code="state_unwritable",
            ) from error
        return saved

    def take_over(self, state: State) -> None:
        """Replace the content by what other machines recorded, with its serial; a damaged file is set aside."""
        from filelock import FileLock

        make_folder(self.path.parent)
        with FileLock(f"{self.path}.lock", timeout=10, mode=FILE):
            self._recorded_serial()
            replace_file(self.path, _document(state))

    def set_aside(self) -> Path:
        """Rename the file to `<stack>.json.corrupt-<n>` with the lowest free number; return its new path."""
        number = 1
        while (target := self.path.with_name(f"{self.path.name}.corrupt-{number}")).exists():
            number += 1
        try:
            return self.path.rename(target)
        except OSError as error:
            raise StateError(
                f"The damaged state file {self.path} cannot be renamed.",
                why=failure_reason(error),
                fix=f"Move it away by hand, then run: scaler status --refresh --stack {self._stack}",
                code="state_unwritable",
            ) from error

    def _parse(self, document: object) -> State:
        try:
            state = from_json(document)
        except ValueError as error:
            raise self._corrupt(str(error)) from error
        if state.stack != self._stack:
            raise self._corrupt(f"it is the state of the stack `{state.stack}`")
        return state

    def _corrupt(self, why: str) -> CorruptStateError:
        return CorruptStateError(
            f"The state file {self.path} is damaged.",
            why=why,
            fix=f"Run: scaler status --refresh --stack {self._stack} "
            "(keeps the damaged file beside it and rebuilds the state from the stack and the cloud)",
        )

    def _recorded_serial(self) -> int:
        try:
            recorded = self.load()
        except CorruptStateError:
            self.set_aside()
            return 0
        return recorded.serial if recorded else 0


def _document(state: State) -> bytes:
    return json.dumps(to_json(state), indent=2).encode() + b"\n"


def stacks_without_spec(directory: Path, specs: Collection[str]) -> dict[str, State]:
    """Return the stacks in a state folder that have servers and none of these specs, by name.

    What cannot be read is left out: it is no state file, or its stack's next run says what is wrong with it.
    """
    found = {}
    for path in sorted(directory.glob("*.json")):
        if path.stem in specs or "." in path.stem:
            continue
        with suppress(StateError):
            state = StateFile(directory, path.stem).load()
            if state and any(server.id and not server.finished for server in state.servers):
                found[path.stem] = state
    return found


def rolls_of_others(directory: Path, stack: str) -> list[Roll]:
    """Return the rolls of all other stacks in a state folder, as far as they can be read."""
    found: list[Roll] = []
    for path in sorted(directory.glob("*.json")):
        if path.stem == stack or "." in path.stem:
            continue
        with suppress(StateError):
            state = StateFile(directory, path.stem).load()
            found += state.orders.rolls.values() if state else ()
    return found
