"""Every shell example of the documentation that calls scaler is run, or the table below says why not."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.support.project import ROOT, Project

SPEC = """
cloud: hetzner
endpoint: embedded
limit: 20
groups:
  worker: {count: 3, image: {selector: "role=worker"}, type: cx23, location: fsn1}
"""


@dataclass(frozen=True)
class Run:
    """Run it: in a project with the stack `dev`, after these commands, with this typed at a terminal."""

    code: int = 0
    before: tuple[str, ...] = ()
    typed: str = ""
    in_project: bool = True
    environ: dict[str, str] = field(default_factory=dict)
    tells: tuple[str, ...] = ()
    """What it must print."""
    left: int | None = None
    """Machines of `dev` afterwards."""


@dataclass(frozen=True)
class Elsewhere:
    """Another test runs all shell examples of this page."""

    test: str


@dataclass(frozen=True)
class Not:
    """It is not run, for this reason."""

    why: str


HOW: dict[tuple[str, str], Run | Elsewhere | Not] = {
    ("README.md", "pipx install"): Elsewhere("tests/packaging/test_first_screen.py"),
    ("README.md", "export HCLOUD_TOKEN=…"): Run(
        # The stack that `init` writes is embedded, and stays so with an editor that changes nothing.
        environ={"EDITOR": "true"},
        in_project=False,
        typed="y\ndev\n",
        tells=("Plan: 2 to add", "dev: 2 of 2 ready (+2, -0)", "dev-worker-2", "dev: 0 of 0 ready (+0, -2)"),
    ),
    ("README.md", "export DIGITALOCEAN_TOKEN=…"): Run(in_project=False, tells=("written  stacks/dev.yaml",)),
    ("README.md", "scaler increase 2 --yes"): Run(
        before=("ensure 2 --yes",),
        tells=("dev: 4 of 4 ready (+2, -0)", "Plan: 0 to add, 0 to change, 1 to remove.", "No orphans."),
        left=3,
    ),
    ("docs/how-to/ci.md", "*"): Elsewhere("tests/e2e/test_ci.py"),
    ("docs/how-to/team.md", "*"): Not(
        "needs accounts at four vendors; test_shared_records.py runs the same at servers that speak their protocols"
    ),
    ("docs/how-to/high-availability.md", "*"): Not(
        "needs a database on another machine; test_watches.py runs the same at one on this machine"
    ),
    ("docs/how-to/many-stacks.md", "*"): Elsewhere("tests/e2e/test_many_stacks.py"),
    ("docs/how-to/look-at-the-fleet.md", "scaler autoscale"): Not(
        "serves until it is ended; test_autoscale.py runs the same"
    ),
    ("docs/how-to/look-at-the-fleet.md", "scaler report"): Run(
        before=("ensure 2 --yes",), tells=("All wanted servers are ready: worker 2 of 2.", "wrote month.html"), left=2
    ),
    ("docs/tutorial/autoscale.md", "*"): Elsewhere("tests/e2e/test_autoscale_docs.py"),
    ("docs/how-to/limits-and-costs.md", "scaler ensure 12 --yes --max-change 4"): Run(
        before=("ensure 9 --yes",), tells=("dev: 12 of 12 ready (+3, -0)", "dev: 0 of 0 ready (+0, -12)"), left=0
    ),
    ("docs/how-to/recover.md", "scaler doctor"): Run(
        before=("ensure 2 --yes",),
        tells=("dev · hetzner · 2 of 2 ready", "No orphans.", "dev: 3 of 3 ready (+1, -0)", "run.finished"),
        left=3,
    ),
    ("docs/reference/embedded-cloud.md", "*"): Elsewhere("tests/simulator/test_command.py"),
    ("docs/reference/scripting.md", "code=0"): Run(tells=("reached",), left=3),
    ("docs/how-to/containers.md", "docker run"): Not(
        "needs a container engine; test_containers.py runs a cell like it"
    ),
    ("CONTRIBUTING.md", "go get -tool"): Not("raises the engine's version in this repository"),
    ("docs/how-to/roll-out-an-image.md", "scaler roll --preview"): Run(before=("ensure 2 --yes",), left=2),
    ("docs/how-to/golden-image.md", "scaler snapshot"): Run(
        before=("ensure 1 --yes",), tells=("was made of dev-worker-1: role=worker",), left=1
    ),
    ("docs/how-to/golden-image.md", "scaler roll"): Run(before=("ensure 2 --yes",), left=2),
}
"""By page and how the example begins; `*`: all of the page's."""

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = [
    (str(page.relative_to(ROOT)), block)
    for page in PAGES
    for block in re.findall(
        r"^```(?:sh|bash|shell|console)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    if re.search(r"\bscaler\s+[a-z-]", block)
]


def keys_of(page: str, block: str) -> list[tuple[str, str]]:
    return [key for key in HOW if key[0] == page and (key[1] == "*" or block.startswith(key[1]))]


def test_every_example_is_in_the_table_and_the_table_has_no_other() -> None:
    used = [keys_of(page, block) for page, block in EXAMPLES]
    for (page, block), keys in zip(EXAMPLES, used, strict=True):
        assert len(keys) == 1, f"{page}: say in HOW how this is run, or why not:\n{block}"
    assert {key for keys in used for key in keys} == set(HOW)


@pytest.mark.parametrize("key", [key for key, how in HOW.items() if isinstance(how, Elsewhere)], ids=lambda key: key[0])
def test_what_runs_elsewhere_does(key: tuple[str, str]) -> None:
    how = HOW[key]
    assert isinstance(how, Elsewhere)
    text = (ROOT / how.test).read_text(encoding="utf-8")
    assert key[0] in text
    assert '"sh"' in text, "it takes the page's shell blocks"


RUN = [
    (page, block, how) for page, block in EXAMPLES for key in keys_of(page, block) if isinstance(how := HOW[key], Run)
]


@pytest.mark.parametrize(
    ("page", "block", "how"), RUN, ids=[f"{page}: {block.splitlines()[0]}" for page, block, _ in RUN]
)
def test_the_example_does_what_it_says(hetzner: Project, page: str, block: str, how: Run) -> None:
    hetzner.spec_path.unlink()
    folder = hetzner.folder
    if how.in_project:
        (folder / "stacks" / "dev.yaml").write_text(SPEC, encoding="utf-8")
    else:
        folder = folder / "empty"
        folder.mkdir()
    programs = hetzner.folder / "bin"
    programs.mkdir()
    (programs / "scaler").write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m scaler "$@"\n', encoding="utf-8"
    )
    (programs / "scaler").chmod(0o755)
    environ = {**hetzner.environ, **how.environ, "PATH": f"{programs}:{hetzner.environ['PATH']}"}
    for command in how.before:
        hetzner.run(*shlex.split(command))
    told, code = at_a_terminal(block, folder, environ, how.typed)
    assert code == how.code, f"exit {code} of {page}:\n{block}\n{told}"
    for text in how.tells:
        assert text in told, f"{text!r} was not told by {page}:\n{told}"
    if how.left is not None:
        world = hetzner.world.servers("hetzner")
        assert sum(machine.body["labels"].get("scaler-stack") == "dev" for machine in world) == how.left


def at_a_terminal(script: str, folder: Path, environ: dict[str, str], typed: str) -> tuple[str, int]:
    """Run a script at a terminal where this has been typed; everything that it showed, and its exit code."""
    ours, theirs = pty.openpty()
    output = folder / "output.txt"
    try:
        os.write(ours, typed.encode())
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
                cwd=folder,
                env={**environ, "TERM": "dumb"},
                stdin=theirs,
                stdout=file,
                stderr=theirs if typed else file,
            )
            os.close(theirs)
            # A terminal that nobody reads from stops whoever writes to it.
            shown = read_to_end(ours) if typed else ""
            code = process.wait(timeout=300)
        return output.read_text(encoding="utf-8") + shown, code
    finally:
        os.close(ours)


def read_to_end(terminal: int) -> str:
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            return shown.decode(errors="replace")


def test_the_demo_does_what_the_readme_says(hetzner: Project) -> None:
    """`make demo` itself sets up a virtual environment; its commands are these."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [demo] = re.findall(r"^demo:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    commands = [shlex.split(line) for line in re.findall(r"^\trun (.*)$", demo, re.MULTILINE)]
    hetzner.spec_path.write_bytes((ROOT / "stacks" / "demo.yaml").read_bytes())
    ready = []
    for command in commands:
        ran = hetzner.run(*command)
        ready += re.findall(r"^demo: (\d+) of \d+ ready", ran.stdout, re.MULTILINE)
    assert ready == ["5", "2", "0"]
    assert hetzner.machines == {}


LINKS = [
    (str(page.relative_to(ROOT)), target)
    for page in [*PAGES, ROOT / "CHANGELOG.md"]
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
]


def test_every_link_leads_somewhere() -> None:
    dead = [(page, target) for page, target in LINKS if not ((ROOT / page).parent / target).exists()]
    assert LINKS
    assert dead == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs") for page in PAGES if ROOT / "docs" in page.parents]
    missing = [str(page) for page in pages if page.parts[0] != "adr" and page.parts[:2] != ("reference", "commands")]
    assert [page for page in missing if page != "README.md" and f"({page})" not in index] == []


def test_every_spec_in_the_pages_is_good(tmp_path: Path) -> None:
    """A YAML block with a cloud and groups is a whole spec."""
    from scaler.config.spec import load

    found = 0
    for page in PAGES:
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            value = yaml.safe_load(block)
            if isinstance(value, dict) and {"cloud", "groups"} <= value.keys() and "naming" not in block:
                path = tmp_path / "prod.yaml"
                path.write_text(block, encoding="utf-8")
                assert load(path, "shop").groups
                found += 1
    assert found >= 2


def test_the_walk_through_the_code_names_modules_that_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:[\w/]+/)?(\w+\.py)`", text))
    assert len(named) > 20
    there = {path.name for path in (ROOT / "scaler").rglob("*.py")} | {"test_docs_examples.py"}
    assert named - there == set()
