"""`scaler init`: create the files of a project."""

from __future__ import annotations

import errno
import os
import re
from importlib import resources
from pathlib import Path

import click

from scaler.commands.command import Command, common_options
from scaler.commands.completers import complete_cloud
from scaler.commands.context import Context, Output
from scaler.commands.document import dump
from scaler.commands.engine import install_engine
from scaler.commands.first_spec import FirstSpec, asked, defaults_of
from scaler.commands.printing import print_note, print_result
from scaler.config.strict_yaml import displayed
from scaler.engine import binary
from scaler.errors import ScalerError, UnavailableError
from scaler.support.documents import read_file

PULUMI = """\
# The project as Pulumi knows it: `pulumi stack output` and `pulumi preview` work here too.
name: {name} # every server carries it as a label; do not change it while servers exist
description: Servers kept by scaler
main: stacks
runtime: python
backend:
  url: file://.scaler/pulumi # the spec's `backend` and PULUMI_BACKEND_URL win
"""

ENTRY = '''\
"""What `pulumi preview` and `pulumi up` run by hand; scaler itself does not need it."""

from scaler.program import run_by_hand

run_by_hand()
'''

SPEC = """\
# yaml-language-server: $schema=spec.schema.json
# The stack `dev`: `scaler preview` shows what would be done, `scaler ensure` does it.
cloud: {cloud}
{endpoint}limit: 10 # the most servers this stack may ever hold
groups:
  worker: # servers are named dev-worker-1, dev-worker-2, …
    count: 2
    # min: 0
    # max: 10
    image: {image} # {{name: …}}, {{selector: "role=worker"}}, an image's id, or {vendor_image}
    type: [{types}] # tried in this order when one has no capacity
    location: [{locations}] # likewise
    ssh_keys: [{ssh_keys}]
    # user_data: worker.cloud-init.yaml # a file beside this one
    # labels: {{team: shop}}
    # start_within: 10m # a server that takes longer is hanging, and is replaced
    # protect: [dev-worker-1] # never chosen for scale-down
    # scale_down: newest # or oldest
"""

EMBEDDED = """\
endpoint: embedded # a cloud inside scaler: no account, no cost; remove this line to use the real one
"""

POLICIES = """\
# Policies

Put a Pulumi policy pack (CrossGuard) here to have rules of your own checked against every plan.
"""

INSTALL_ENGINE = "The Pulumi engine is missing. Install it in your cache folder (about 120 MB)?"
IGNORED = ".scaler/"
SPEC_PATH = "stacks/dev.yaml"


@click.command(cls=Command)
@click.option(
    "--yes", "-y", is_flag=True, help="Do not ask: the embedded cloud, its defaults, and the engine if it is missing."
)
@click.option(
    "--cloud",
    metavar="CLOUD",
    shell_complete=complete_cloud,
    help="The cloud of the first stack: hetzner (default), digitalocean, or one that an installed package offers.",
)
@common_options
def init(context: Context, cloud: str | None, yes: bool) -> None:
    """Create a project in the current folder. Files that exist already are kept as they are.

    At a terminal, it asks for the cloud. Where a token is set, it also asks for the location, type, image and SSH
    keys, and checks them in the account; nothing is changed there. Otherwise the new stack uses the embedded cloud,
    so you can try everything without an account. If there is no Pulumi engine, it asks whether to install one.

    \b
    Examples:
      scaler init
      scaler init --cloud digitalocean --yes
      scaler init -C servers

    \b
    Exit codes: 0 written or kept, 1 a file cannot be written, 64 usage, 69 the engine cannot be installed.
    """
    asks = context.interactive and not yes and not (context.directory / SPEC_PATH).exists()
    first = asked(cloud, os.environ, context.clock) if asks else defaults_of(cloud or "hetzner")
    written = {path: _write(context.directory / path, content) for path, content in _files(context.directory, first)}
    written[".gitignore"] = _ignore(context.directory / ".gitignore")
    if context.output in (Output.JSON, Output.YAML):
        files = [{"path": path, "result": _word(new)} for path, new in written.items()]
        click.echo(dump({"files": files}, context.output))
    else:
        for path, new in written.items():
            print_result(f"{_word(new):<7}  {path}")
    has_engine = _has_engine(context, yes=yes)
    if context.verbosity >= 0:
        steps = [] if has_engine else [binary.INSTALL]
        steps += ["scaler preview"] if first.is_embedded else ["scaler doctor", "scaler preview"]
        print_note(f"Next: {', then '.join(steps)}")


def _has_engine(context: Context, *, yes: bool) -> bool:
    """Return whether there is an engine; with `yes`, or if a person agrees, install a missing one."""
    if os.environ.get("SCALER_ENGINE"):
        return True  # whatever is wrong with the user's own, an install does not change it
    try:
        binary.find(os.environ)
    except UnavailableError:
        if not yes and not (context.interactive and click.confirm(INSTALL_ENGINE, default=True, err=True)):
            return False
        install_engine(context)
    return True


def _files(directory: Path, first: FirstSpec) -> list[tuple[str, str]]:
    schema = (resources.files("scaler") / "config" / "schema" / "spec.schema.json").read_text(encoding="utf-8")
    return [
        ("Pulumi.yaml", PULUMI.format(name=_project_name(directory))),
        ("stacks/__main__.py", ENTRY),
        (SPEC_PATH, _spec(first)),
        ("stacks/spec.schema.json", schema),
        ("policies/README.md", POLICIES),
    ]


def _spec(first: FirstSpec) -> str:
    return SPEC.format(
        cloud=first.cloud,
        endpoint=EMBEDDED if first.is_embedded else "",
        image=first.image,
        vendor_image=first.vendor_image,
        types=", ".join(first.types),
        locations=", ".join(first.locations),
        ssh_keys=", ".join(first.ssh_keys),
    )


def _project_name(directory: Path) -> str:
    """The folder's name as a project's: two projects of one account must not share theirs."""
    return re.sub(r"[^a-z0-9_-]+", "-", directory.name.lower())[:63].strip("-_") or "scaler"


def _write(path: Path, content: str) -> bool:
    """Write a new file, whole or not at all; False if there is one."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        if path.exists():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        # Never through what others have put there.
        draft.unlink(missing_ok=True)
        with draft.open("x", encoding="utf-8") as file:
            file.write(content)
        draft.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    return True


def _ignore(path: Path) -> bool:
    """Have git ignore the state folder; False if it does already."""
    try:
        if path.is_symlink():
            raise OSError(errno.ELOOP, "it is a link, which git does not follow", str(path))
        text = read_file(path).decode() if path.exists() else ""
        if {IGNORED, IGNORED.rstrip("/"), f"/{IGNORED}"} & {line.strip() for line in text.splitlines()}:
            return False
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{IGNORED}\n" if not text or text.endswith("\n") else f"\n{IGNORED}\n")
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error
    return True


def _unwritable(path: Path, error: Exception) -> ScalerError:
    why = getattr(error, "strerror", None) or str(error)
    return ScalerError(
        f"Cannot write {displayed(path)}.", why=why, fix="Fix this and run again; the files written so far are kept."
    )


def _word(new: bool) -> str:
    return "written" if new else "kept"
