"""Cloud-init documents, in files or in the spec itself."""

from __future__ import annotations

from pathlib import Path

from scaler.config.schema.cloud_init import cloud_init_problem
from scaler.config.schema.context import SpecContext
from scaler.config.schema.refusals import refusal, shown
from scaler.support.documents import read_beginning
from scaler.support.text import named

USER_DATA_KIB = {"hetzner": 32, "digitalocean": 64}


def _is_inside(path: Path, folder: Path) -> bool:
    """Return whether a path is in a folder after following its links."""
    return path.resolve().is_relative_to(folder.resolve())


def read_user_data(name: str, here: SpecContext) -> str:
    path = here.folder / name
    try:
        inside = _is_inside(path, here.project_folder)
        content = read_beginning(path, 1 << 20) if inside else b""
        text = content.decode()
    except FileNotFoundError:
        inline = "a document itself belongs in user_data_inline" if "\n" in name.strip() else ""
        fix = inline or "the path is relative to the spec"
        raise refusal(f"names a file that does not exist: {named(name)}", fix) from None
    except UnicodeDecodeError:
        raise refusal(f"names a file that is not UTF-8 text: {named(name)}") from None
    except (OSError, ValueError) as error:  # ValueError: a character that is not allowed in file names
        reason = getattr(error, "strerror", None) or "no file can have this name"
        if "\n" in name.strip():
            reason = "a document itself belongs in user_data_inline"
        raise refusal(f"names a file that cannot be read: {named(name)} ({reason})") from None
    if not inside:
        # The content is sent to the cloud: a spec must not be able to send other files of this machine.
        raise refusal(f"must not lead out of the project folder, as {shown(name)} does", "copy the file into it")
    check_document(text, here)
    return text


def check_document(text: str, here: SpecContext) -> None:
    """Refuse a document that is too big, or that no server could use."""
    _check_size(len(text.encode()), here)
    problem, fix = cloud_init_problem(text)
    if problem:
        raise refusal(problem, fix)


def _check_size(size: int, here: SpecContext) -> None:
    most = USER_DATA_KIB.get(here.cloud or "", max(USER_DATA_KIB.values()))
    if size > most * 1024:
        raise refusal(f"is too big: {size} bytes; {here.cloud or 'the cloud'} takes {most} KiB")
