"""Policy packs as programs that the engine starts: no language host is needed.

The engine accepts a pack's folder only where Pulumi's language host for Python is installed, but a
program instead of a folder everywhere. So each Python pack gets a launcher of two lines, which does
what the language host does. Packs in other languages, and programs, are passed on as they are.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scaler.engine.yaml_file import read_yaml
from scaler.errors import SEE_DOCTOR, EngineError, ScalerError
from scaler.model import PolicyPack
from scaler.support.installation import install_command
from scaler.support.text import visible
from scaler.support.values import dataclass

PROJECT_FILE = "PulumiPolicy.yaml"


class PolicyPackError(ScalerError):
    """A policy pack cannot be run: its verdict is unknown, so nothing is done."""

    code = "policy_pack"


@dataclass(frozen=True)
class PackFiles:
    """What the engine starts for a pack, and the pack's configuration as a JSON file."""

    path: Path
    config: Path


@contextmanager
def launchers(packs: Sequence[PolicyPack], withheld: Sequence[str] = ()) -> Iterator[list[PackFiles]]:
    """Yield the packs as the engine can start them; the files exist while the block runs.

    `withheld` are variables of the engine's environment that packs do not get. A pack in another
    language than Python gets them: the engine starts it by itself.
    """
    if not packs:
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="scaler-policies-") as folder:
        yield [_prepare(pack, Path(folder) / str(number), withheld) for number, pack in enumerate(packs)]


def is_unjudged(message: str) -> bool:
    """Return whether a finding says that its policy could not be judged, since a value is not known yet."""
    return message.startswith("can't run policy ")


def explain(error: str, last_line: str, packs: Sequence[PolicyPack], files: Sequence[PackFiles]) -> ScalerError:
    """Return the error of a preview without a verdict: the engine's message, and the last line that a pack wrote."""
    if not packs:
        return EngineError("The engine's preview failed.", why=error, fix=SEE_DOCTOR)
    for pack, given in zip(packs, files, strict=True):
        error = error.replace(str(given.path), str(pack.path))
    return PolicyPackError(
        "The engine's preview with the policy packs failed; nothing was changed.",
        why="\n".join(dict.fromkeys(filter(None, (error, last_line)))),
        fix="Fix the pack, or its names and values in `policies` of the spec.",
    )


def not_started(packs: Sequence[PolicyPack]) -> PolicyPackError:
    """Return the error of a preview that was ended since these packs, or one of them, did not start."""
    names = " or ".join(visible(str(pack.path)) for pack in packs)
    return PolicyPackError(
        f"The policy pack {names} did not start; nothing was changed.",
        why="it did not write the number of its port, a line of its own and the first one, within a minute",
        fix="Fix the pack. Its program must call PolicyPack at once, and print nothing before.",
    )


def _prepare(pack: PolicyPack, folder: Path, withheld: Sequence[str]) -> PackFiles:
    folder.mkdir()
    config = folder / "config.json"
    config.write_text(json.dumps(_config(pack)), encoding="utf-8")
    launcher = folder / pack.path.name
    if pack.path.is_file():
        _write_launcher(launcher, [str(pack.path)], '"$@"', withheld)
        return PackFiles(launcher, config)
    project = _read(pack.path / PROJECT_FILE)
    runtime = project.get("runtime")
    language = runtime.get("name") if isinstance(runtime, dict) else runtime
    if language != "python":
        return PackFiles(pack.path, config)
    options = runtime.get("options") if isinstance(runtime, dict) else None
    program = pack.path / str(project.get("main") or ".")
    _refuse_odd_program(program)
    words = [str(_python(pack, options or {})), "-u", "-m", "pulumi.policy"]
    _write_launcher(launcher, words, f'"$1" {shlex.quote(str(program))}', withheld)
    return PackFiles(launcher, config)


def _write_launcher(path: Path, words: Sequence[str], arguments: str, withheld: Sequence[str]) -> None:
    """Write a program that runs `words` with `arguments`, a shell's text, and without the `withheld` variables."""
    without = [word for name in withheld for word in ("-u", name)]
    path.write_text(f"#!/bin/sh\nexec {shlex.join(['/usr/bin/env', *without, *words])} {arguments}\n", encoding="utf-8")
    path.chmod(0o700)


def _refuse_odd_program(program: Path) -> None:
    """PolicyPackError for a pipe or a device in the place of the pack's program: Python would wait in it for ever."""
    for path in (program, program / "__main__.py", program / "__init__.py"):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise PolicyPackError(
                f"{path} cannot be read.",
                why="it is a pipe, a device or a socket, and no file",
                fix="Put the file there.",
            )


def _config(pack: PolicyPack) -> Mapping[str, object]:
    return {**({"all": pack.level} if pack.level else {}), **pack.config}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        project = read_yaml(path)
    except (OSError, ValueError) as error:
        raise PolicyPackError(f"{path} cannot be read.", why=str(error), fix="Fix the file.") from error
    return project if isinstance(project, dict) else {}


def _python(pack: PolicyPack, options: Mapping[str, Any]) -> Path:
    """Return the interpreter that the pack names, or scaler's own."""
    if options.get("virtualenv"):
        python = pack.path / str(options["virtualenv"]) / "bin" / "python"
        if not python.exists():
            raise PolicyPackError(
                f"The policy pack {pack.path} names a virtual environment that does not exist.",
                why=str(python),
                fix="Make it and install the pack's requirements in it, or take `virtualenv` out of PulumiPolicy.yaml.",
            )
        return python
    if importlib.util.find_spec("pulumi_policy") is None:
        raise PolicyPackError(
            "Policy packs need the package pulumi-policy, which is not installed.",
            why=f"the spec names {pack.path}",
            fix=install_command("policies"),
        )
    return Path(sys.executable)
