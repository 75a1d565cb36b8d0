"""Keep the records in the state folder and those beside the engine's state the same.

A run pulls before it looks at anything, works on the files of its folder, and pushes what became of them: before
the engine changes servers, and at its end. So the folder is a copy, which says how old it is, and a run that
cannot reach the shared records works on with the copy: servers are found by their id, whatever the records say.

`<stack>.shared.json` holds the shared records as this folder saw them last. What differs from them in the
folder's files is what was not pushed yet.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path
from urllib.parse import urlsplit

from scaler.errors import ScalerError, StateError
from scaler.records.json_fields import Fields
from scaler.records.shared import NOTHING, Json, Shared, decode, encode, events_in, lines_of, split_off
from scaler.records.state import State
from scaler.records.state_file import CorruptStateError, StateFile
from scaler.records.store import PATIENCE, ConflictError, DocumentStore, open_store, save
from scaler.support.clock import Clock, format_time, parse_time
from scaler.support.documents import LARGEST_FILE, read_file, read_json
from scaler.support.files import failure_reason, make_folder, open_file, replace_file
from scaler.support.values import dataclass

DOCUMENT = "records.json"
"""The name of the document."""

_MOST_EVENTS = 256 << 10
"""Bytes of events in the document; each run reads them."""

_EVENTS_KEPT = 128 << 10
"""Bytes of events that stay in it: enough to know how long servers boot."""

_SEGMENTS = 300
"""The most segments: about as much as the logs that a folder keeps."""

_FOLDER = "events/"
"""Where the segments are."""

_TRIES = 8
"""How often a push meets a document that others replaced meanwhile."""


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """The shared records as this folder saw them last."""

    version: str | None = None
    """None: there were none."""
    seen: datetime | None = None
    shared: Shared = NOTHING
    logged: int = 0
    """Bytes at the beginning of the folder's event log that hold the events of `shared`."""


@contextmanager
def open_sharing(
    state_dir: Path,
    project: str,
    stack: str,
    url: str,
    environ: Mapping[str, str],
    clock: Clock,
    *,
    warn: Callable[[str], None],
    patience: timedelta = PATIENCE,
) -> Iterator[Sharing | None]:
    """Open the shared records of a stack whose backend is at this URL; None where there are none. Sends no request.

    What is missing for them, such as a package, is a warning: a run does without them, as versions before did.
    """
    try:
        store = open_store(url, project, stack, environ, patience=patience)
    except ScalerError as error:
        warn(f"this machine shares no records with others: {error}" + (f" {error.fix}" if error.fix else ""))
        store = None
    if store is None:
        yield None
        return
    try:
        parts = urlsplit(url)
        yield Sharing(store, state_dir, stack, clock, warn=warn, place=f"{parts.scheme}://{parts.hostname}{parts.path}")
    finally:
        store.close()


class Sharing:
    """The shared records of one stack, and their copy in a state folder.

    The caller holds the run's lock of that folder, except for `look` and `seen`, which change nothing.
    """

    def __init__(
        self,
        store: DocumentStore,
        state_dir: Path,
        stack: str,
        clock: Clock,
        *,
        warn: Callable[[str], None],
        place: str,
    ) -> None:
        """`place` says where the records are, without what is secret; another one has nothing in common with a copy."""
        self._store = store
        self._stack = stack
        self._clock = clock
        self._warn = warn
        self._place = place
        self._state = StateFile(state_dir, stack)
        self._log = self._state.events_path
        self._memory = state_dir / f"{stack}.autoscale.json"
        self._shortages = state_dir / f"{stack}.shortages.json"
        self._copy_path = state_dir / f"{stack}.shared.json"

    # -- runs ----------------------------------------------------------------------------------

    def pull(self) -> None:
        """Take over what other machines recorded; StateError if a newer scaler wrote it, else a warning of trouble."""
        with self._tolerated("read"):
            self._meet(self._copy())

    def _meet(self, copy: _Copy) -> None:
        """Read the shared records, and join them with what is new here."""
        make_folder(self._copy_path.parent)
        found = self._store.read(DOCUMENT, copy.version)
        if found is None:
            # None yet, or somebody deleted them: what this folder knows becomes the records.
            self._keep(replace(copy, version=None))
        elif found.content is None:
            self._keep(copy)
            if copy.shared.state and self._loaded() is None:
                self._state.take_over(copy.shared.state)
        elif (theirs := self._readable(found.content)) is None:
            self._keep(_Copy(version=found.version))
        else:
            self._take_over(copy, found.version, theirs)

    def _readable(self, content: bytes) -> Shared | None:
        """Return what a document says; one that says nothing is kept under another name, and is replaced."""
        try:
            return decode(content, self._stack)
        except ValueError as error:
            name = f"damaged/{secrets.token_hex(4)}.json"
            self._store.write(name, content)
            self._warn(
                f"the shared records are damaged ({error}); they are kept as {name} and made again of this folder's"
            )
            return None

    def push(self) -> None:
        """Share what changed in the folder; nothing is sent if nothing did. Warn if that is not possible."""
        with self._tolerated("written"):
            copy = self._copy()
            for _ in range(_TRIES):
                ours = self._ours(copy)
                if copy.version is not None and not ours.has_news(copy.shared):
                    return
                if copy.version is None and ours.state is None and not ours.events:
                    return
                theirs = replace(copy.shared, events=self._logged(copy))
                try:
                    self._write(copy, ours.joined(copy.shared, theirs))
                except ConflictError:
                    self._meet(copy)
                    copy = self._copy()
                else:
                    return
            self._warn("others replaced the shared records again and again; the next run shares what this one did")

    def _write(self, copy: _Copy, joined: Shared) -> None:
        """Write the document, and before it the segment that its oldest events become."""
        moved, shared = split_off(joined, _MOST_EVENTS, _EVENTS_KEPT)
        segment = None
        if moved:
            number = int(shared.segments[-1].partition("-")[0].rpartition("/")[2]) + 1 if shared.segments else 1
            segment = f"{_FOLDER}{number:08}-{secrets.token_hex(4)}.jsonl"
            save(self._store, segment, lines_of(moved))
            shared = replace(shared, segments=(*shared.segments, segment))
        surplus, shared = shared.segments[:-_SEGMENTS], replace(shared, segments=shared.segments[-_SEGMENTS:])
        try:
            version = save(self._store, DOCUMENT, encode(shared), copy.version)
        except ConflictError:
            if segment:
                self._store.delete(segment)
            raise
        self._adopt(version, shared, b"")
        for name in surplus:
            self._store.delete(name)

    def _take_over(self, copy: _Copy, version: str, theirs: Shared) -> None:
        """Make the folder's files of what was read and what is new in them."""
        if copy.seen is None:
            # A folder that never saw the shared records has nothing that they lack: contract 7.4.
            with suppress(FileNotFoundError):
                self._log.replace(self._log.with_name(f"{self._log.name}.1"))
            self._adopt(version, theirs, b"")
            return
        ours = self._ours(copy)
        joined = ours.joined(copy.shared, theirs)
        self._adopt(version, theirs, lines_of(ours.events), files=joined)

    def _adopt(self, version: str, shared: Shared, new_lines: bytes, files: Shared | None = None) -> None:
        """Replace the folder's files by `files` and its copy by `shared`; `new_lines` of the log are not shared."""
        files = files or shared
        lines = lines_of(shared.events)
        # The copy comes last: a run that is killed before it finds what it was, and joins once more.
        if files.state and files.state != self._loaded():
            self._state.take_over(files.state)
        _replace_json(self._memory, files.memory)
        _replace_json(self._shortages, files.shortages)
        replace_file(self._log, lines + new_lines)
        without_events = replace(shared, events=())
        self._keep(_Copy(version=version, shared=without_events, logged=len(lines)))

    def prune(self, before: datetime, *, preview: bool = False) -> int:
        """Delete the parts of the event log that are all older, and return how many; with `preview` only count them.

        The document's own events stay: from them it is learned how long servers boot. Warn of trouble.
        """
        with self._tolerated("pruned"):
            # Also what a run left that was killed before its document named it.
            old = list(takewhile(lambda name: self._is_older(name, before), self._segments()))
            if not preview:
                self._disown(old)
                for name in old:
                    self._store.delete(name)
            return len(old)
        return 0

    def _segments(self) -> list[str]:
        return [name for name in self._store.names() if name.startswith(_FOLDER)]

    def _is_older(self, name: str, before: datetime) -> bool:
        times = [at for event in self.segment(name) if isinstance(at := event.get("at"), str)]
        return not times or parse_time(max(times)) < before

    def _disown(self, old: Collection[str]) -> None:
        """Have the document name none of these, so that nobody is sent to what will be gone."""
        for _ in range(_TRIES):
            found = self._store.read(DOCUMENT)
            if found is None or found.content is None:
                return
            shared = decode(found.content, self._stack)
            left = tuple(name for name in shared.segments if name not in old)
            if left == shared.segments:
                return
            with suppress(ConflictError):
                save(self._store, DOCUMENT, encode(replace(shared, segments=left)), found.version)
                return
        raise ConflictError("Others replaced the shared records again and again.", fix="Try again.")

    # -- who only looks ------------------------------------------------------------------------

    def look(self) -> Shared:
        """Return the records with what other machines and this one know, and change no file."""
        copy = self._copy()
        found = self._store.read(DOCUMENT, copy.version)
        if found is None:
            return self.local()
        if found.content is None:
            theirs = replace(copy.shared, events=self._logged(copy))
        else:
            theirs = decode(found.content, self._stack)
        return theirs if copy.seen is None else self._ours(copy).joined(copy.shared, theirs)

    def local(self) -> Shared:
        """Return what the folder's files say."""
        copy = self._copy()
        return replace(self._ours(copy), events=(*self._logged(copy), *self._ours(copy).events))

    def seen(self) -> datetime | None:
        """Return when this folder saw the shared records last."""
        return self._copy().seen

    def segment(self, name: str) -> tuple[Json, ...]:
        """Return the events of a segment; none if it is gone."""
        found = self._store.read(name)
        return events_in(found.content) if found and found.content else ()

    # -- files ---------------------------------------------------------------------------------

    def _ours(self, copy: _Copy) -> Shared:
        """Return what the files hold; of the events, those that are not shared yet."""
        return Shared(
            state=self._loaded() or copy.shared.state,
            memory=_json_of(self._memory),
            shortages=_json_of(self._shortages),
            events=events_in(self._log_bytes()[copy.logged :]),
        )

    def _loaded(self) -> State | None:
        try:
            return self._state.load()
        except CorruptStateError:
            # The run that meets it says so; the shared records have another.
            return None

    def _logged(self, copy: _Copy) -> tuple[Json, ...]:
        return events_in(self._log_bytes()[: copy.logged])

    def _log_bytes(self) -> bytes:
        try:
            with os.fdopen(open_file(self._log, os.O_RDONLY), "rb") as file:
                return file.read(LARGEST_FILE)
        except FileNotFoundError:
            return b""

    def _copy(self) -> _Copy:
        try:
            fields = Fields(read_json(self._copy_path))
            if fields.text("place") != self._place:
                return _Copy()
            shared = decode(json.dumps(fields.optional_object("shared")).encode(), self._stack)
            logged = fields.whole_number("logged")
            is_whole = logged <= self._log.stat().st_size if self._log.exists() else logged == 0
            return _Copy(
                version=fields.optional_text("version"),
                seen=parse_time(fields.text("seen")),
                shared=shared,
                # A log that was set aside since, because it was full: none of the rest is shared.
                logged=logged if is_whole else 0,
            )
        except FileNotFoundError:
            return _Copy()
        except (ValueError, OSError):
            return _Copy()

    def _keep(self, copy: _Copy) -> None:
        document = {
            "place": self._place,
            "version": copy.version,
            "seen": format_time(self._clock.now()),
            "logged": copy.logged,
            "shared": json.loads(encode(copy.shared)),
        }
        replace_file(self._copy_path, json.dumps(document).encode() + b"\n")

    @contextmanager
    def _tolerated(self, what: str) -> Iterator[None]:
        """Warn of what keeps the records from being shared; a newer scaler's are an error."""
        try:
            yield
        except StateError as error:
            if error.code == "state_newer":
                raise
            self._warn(f"the shared records cannot be {what}: {error}")
        except (ScalerError, OSError, ValueError) as error:
            why = failure_reason(error)
            self._warn(f"the shared records cannot be {what}, so this run knows what this folder does: {why}")


def copy_records(source: Path, target: Path, stack: str) -> None:
    """Copy the records of a stack that are shared, and what a folder knows of that, to another folder."""
    make_folder(target)
    for name in ("json", "autoscale.json", "shortages.json", "events.jsonl", "shared.json"):
        with suppress(FileNotFoundError):
            replace_file(target / f"{stack}.{name}", read_file(source / f"{stack}.{name}"))


def _json_of(path: Path) -> Json | None:
    try:
        document = read_json(path)
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _replace_json(path: Path, document: Json | None) -> None:
    """Make a file hold this document, None: no file; one that does already is left as it is."""
    if _json_of(path) == document:
        return
    if document is None:
        path.unlink(missing_ok=True)
    else:
        replace_file(path, json.dumps(document, indent=2).encode() + b"\n")
