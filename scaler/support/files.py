"""Write the files of the state folder: complete at any moment, and never writable by others, whatever the umask."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

FILE = 0o640
"""The permissions of files: the owner writes, the group reads, others have none."""
_FOLDER = 0o750
_NO_FILE = "it is no file of its own but a link, a device or a pipe, which is not followed"
_SHARED_FILE = "it has a second name elsewhere (a hard link), and what is written to it would be written there too"


def make_folder(folder: Path) -> None:
    """Create the folder and its parents unless they exist. Raises OSError."""
    folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)


def make_own_folder(folder: Path, root: Path) -> None:
    """Create a folder below `root` and its parents unless they exist. Raises OSError, also where a link leads to it."""
    if not is_below(folder, root):
        raise OSError(errno.ELOOP, "a link leads to it, and it is not followed", str(folder))
    make_folder(folder)


def is_below(folder: Path, root: Path) -> bool:
    """Return whether a folder below `root` is reached without a link: what is removed in it belongs to `root`.

    Others may have put a link to a folder of this user's in its place, so that its files are removed.
    """
    steps = [folder, *folder.parents]
    return root in steps and not any(step.is_symlink() for step in steps[: steps.index(root)])


def open_file(path: str | Path, flags: int) -> int:
    """Open a file with our permissions and return its descriptor; fits as the `opener` of `open`.

    Raises OSError, also for a symbolic link, a device or a pipe, and to write to for a hard link: others may have put
    it where they can write too, so that this user overwrites another file or waits for ever.
    """
    # Without blocking: a pipe that nobody reads would hold the open up. For a regular file it means nothing.
    try:
        descriptor = os.open(path, flags & ~os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, FILE)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise OSError(error.errno, _NO_FILE, str(path)) from error
        raise
    try:
        _require_own(os.fstat(descriptor), path, writes=flags & os.O_ACCMODE != os.O_RDONLY)
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def require_regular(path: Path) -> None:
    """Raise OSError where `open_file` would to write to the file, without opening it."""
    _require_own(path.lstat(), path, writes=True)


def _require_own(found: os.stat_result, path: str | Path, *, writes: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, _NO_FILE, str(path))
    if writes and found.st_nlink > 1:
        raise OSError(errno.EMLINK, _SHARED_FILE, str(path))


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file's content atomically: a reader, also after a crash, finds the old or the new content.

    The caller must hold a lock, since all writers use the same temporary file; one that a killed
    writer left is overwritten. Raises OSError and leaves the file unchanged if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    # Also what others have planted there: to open a link and cut it off would empty another file.
    temporary.unlink(missing_ok=True)
    try:
        with open(temporary, "xb", opener=open_file) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Write the folder itself to disk, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def failure_reason(error: BaseException) -> str:
    """Return the operating system's words for an error, such as `No space left on device`, else its text.

    With the path where something else is in the place of a file or a folder, whatever the message is about.
    """
    if isinstance(error, IsADirectoryError | NotADirectoryError) and error.filename:
        return f"{error.strerror}: {error.filename}"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
