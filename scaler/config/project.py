"""Find the project folder: Pulumi.yaml, `stacks/` and the state folder.

Nothing heavy is imported here, since `scaler status` needs no more than this to find the state file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaler.config.user_data_kinds import is_user_data
from scaler.errors import InvalidSpecError, UsageError
from scaler.support.documents import read_beginning
from scaler.support.suggestions import nearest
from scaler.support.text import quoted
from scaler.support.values import dataclass

_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
"""What every cloud accepts as a label's value, in lower case since some clouds change the case."""


@dataclass(frozen=True)
class Project:
    """A folder with a Pulumi.yaml."""

    directory: Path
    name: str
    """The name in Pulumi.yaml; every server carries it as a label."""
    state_dir: Path
    backend: str | None = None
    """`backend.url` of Pulumi.yaml: where the engine keeps its state, if neither spec nor environment says it."""

    @classmethod
    def find(cls, directory: Path, state_dir: Path | None = None) -> Project:
        """Return the project in this folder; folders above it are not searched. `state_dir` is `.scaler` by default.

        Raises UsageError if the folder has no Pulumi.yaml, InvalidSpecError if that has no usable name.
        """
        name, backend = _read_file(directory)
        return cls(directory, name, state_dir or directory / ".scaler", backend)

    def stacks(self) -> list[str]:
        """Return the names of all stacks, sorted: those of the specs in `stacks/`.

        YAML files are no specs if their name begins with an underscore or has a second dot
        (`worker.cloud-init.yaml`), or if they begin as cloud-init documents do.
        """
        return sorted(path.stem for path in (self.directory / "stacks").glob("*.yaml") if _is_spec(path))

    def spec_path(self, stack: str) -> Path:
        """Return the path of a stack's spec, which need not exist."""
        return self.directory / "stacks" / f"{stack}.yaml"

    def backend_of(self, stack: str, environ: Mapping[str, str]) -> str | None:
        """Return the URL of a stack's backend as spec, environment or Pulumi.yaml have it; None: the default folder.

        The spec is not validated: for those who only look at records, and must be quick. Raises what
        `choose_backend` raises.
        """
        from scaler.config.backend import choose_backend

        own = self._described(stack).get("backend")
        return choose_backend(own if isinstance(own, str) else None, self.backend, environ)

    def protected_of(self, stack: str) -> frozenset[str]:
        """Return the servers that a stack's spec protects by name, without validating the spec."""
        groups = self._described(stack).get("groups")
        lists = [group.get("protect") for group in _values(groups) if isinstance(group, dict)]
        return frozenset(name for names in lists if isinstance(names, list) for name in names if isinstance(name, str))

    def _described(self, stack: str) -> dict[str, Any]:
        """Return a spec as it is written; empty if it cannot be read."""
        from scaler.config.strict_yaml import read

        try:
            document = read(self.spec_path(stack)).value
        except (OSError, InvalidSpecError):
            return {}
        return document if isinstance(document, dict) else {}

    def choose(self, stack: str | None) -> str:
        """Return the given stack; if None, the only one. Raises UsageError if that is none, or one of several."""
        known = self.stacks()
        if stack in known:
            return stack
        if not known:
            raise UsageError("There is no spec in stacks/.", fix="Run `scaler init` to write one.")
        if stack is not None:
            raise UsageError(f"There is no stack {quoted(stack)}.", why=_listed(known), fix=self._fix(stack, known))
        if len(known) > 1:
            raise UsageError(
                f"The project has {len(known)} stacks, and none was named.",
                why=_listed(known),
                fix="Name one with --stack.",
            )
        return known[0]

    def _fix(self, stack: str, known: list[str]) -> str:
        if self.spec_path(stack).with_suffix(".yml").exists():
            return f"Rename stacks/{stack}.yml to stacks/{stack}.yaml."
        if self.spec_path(stack).is_file():
            return f"stacks/{stack}.yaml begins as user data does, and not as a spec."
        return nearest(stack, known)


def _is_spec(path: Path) -> bool:
    if path.name.startswith(("_", ".")) or "." in path.stem or path.is_dir():
        return False
    try:
        return not is_user_data(read_beginning(path, 256).decode(errors="replace"))
    except OSError:
        return True  # Who reads it says what is wrong with it.


def _values(mapping: object) -> list[object]:
    return list(mapping.values()) if isinstance(mapping, dict) else []


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else quoted(str(value))


def _listed(stacks: list[str]) -> str:
    return f"stacks/ has {', '.join(stacks)}"


def _read_file(directory: Path) -> tuple[str, str | None]:
    from scaler.config.strict_yaml import read

    path = directory / "Pulumi.yaml"
    if not path.exists():
        raise UsageError(
            "This folder is not a scaler project: it has no Pulumi.yaml.",
            fix="Run `scaler init`, or name the folder with -C.",
        )
    document = read(path)
    values = document.value if isinstance(document.value, dict) else {}
    name, backend = values.get("name"), values.get("backend")
    url = backend.get("url") if isinstance(backend, dict) else None
    if not isinstance(backend, dict | None):
        document.report(document.line(("backend",)), f"backend must be a mapping with a url, not {_kind(backend)}")
    if not isinstance(url, str | None):
        document.report(document.line(("backend", "url")), "backend.url must be a text")
    if not document.problems and not _NAME.fullmatch(str(name)):
        document.report(
            document.line(("name",)),
            f"name must be at most 63 lower-case letters, digits, - and _, not {quoted(str(name))}"
            if name is not None
            else "name is missing",
            "every server carries it as a label",
        )
    if document.problems:
        raise InvalidSpecError(document.problems)
    return str(name), None if url is None else str(url)
