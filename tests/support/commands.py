"""Many commands one after the other, each a process of its own that need not load scaler again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.support.project import Ran

_FORKS = """
import importlib, json, os, sys, tempfile
from scaler.commands import cli, main
MORE = ("wiring", "config.spec", "config.conversion", "converge.ensure", "converge.operate", "converge.pausing",
    "autoscale.tick", "autoscale.metrics", "output.render", "output.progress", "clouds.hetzner", "clouds.digitalocean")
for name in (*MORE, *(f"commands.{command}" for command in cli.COMMANDS)):
    importlib.import_module(f"scaler.{name}")
for line in sys.stdin:
    files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number, file in enumerate(files, 1):
                os.dup2(file.fileno(), number)
            sys.argv[1:] = json.loads(line)
            main.entry()
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    texts = [(file.seek(0), file.read().decode())[1] for file in files]
    print(json.dumps([code, *texts]), flush=True)
"""


class Surroundings(Protocol):
    """Where the commands run."""

    @property
    def folder(self) -> Path: ...
    @property
    def environ(self) -> Mapping[str, str]: ...


@contextmanager
def forked_commands(project: Surroundings, environ: Mapping[str, str]) -> Iterator[Callable[..., Ran]]:
    """Return what runs `scaler ...` in the project's folder, each time in a new process, while the block runs."""
    with subprocess.Popen(
        [sys.executable, "-c", _FORKS],
        cwd=project.folder,
        env={**project.environ, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as forks:
        assert forks.stdin
        assert forks.stdout
        asking, answers = forks.stdin, forks.stdout

        def run(*arguments: str) -> Ran:
            asking.write(json.dumps(arguments) + "\n")
            asking.flush()
            return Ran(*json.loads(answers.readline()))

        yield run
        asking.close()
