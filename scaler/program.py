"""The program that `pulumi preview` and `pulumi up` run by hand in the project folder.

`stacks/__main__.py` calls `run_by_hand`. A scaler run does not use this module: it hands the engine
its own program, with the same declarations.
"""

from __future__ import annotations

import os
from pathlib import Path

import pulumi

from scaler.config.project import Project
from scaler.config.spec import load
from scaler.engine.declarations import declare
from scaler.errors import ScalerError, UsageError
from scaler.model import Declared
from scaler.model.lifecycle import Status
from scaler.planning.template import recorded_server
from scaler.records.codec import own_output, server_to_json
from scaler.records.state_file import StateFile


def run_by_hand() -> None:
    """What `pulumi preview` and `pulumi up` in the project folder run: the servers of the state file.

    Without a state file it stops, rather than plan the deletion of every server that it cannot see.
    """
    try:
        _declare_recorded()
    except ScalerError as error:
        # The engine prints a RunError as it is, and a traceback for anything else.
        raise pulumi.RunError(f"{error} {error.fix}") from error


def _declare_recorded() -> None:
    directory = Path.cwd() if Path("Pulumi.yaml").exists() else Path.cwd().parent
    project = Project.find(directory, directory / (os.environ.get("SCALER_STATE_DIR") or ".scaler"))
    stack = project.choose(pulumi.get_stack())
    spec = load(project.spec_path(stack), project.name)
    state = StateFile(project.state_dir, stack).load()
    if state is None:
        raise UsageError(
            f"There is no state file for {stack}.", fix=f"Run `scaler status --refresh --stack {stack}` first."
        )
    if state.identity is None or not state.identity.id:
        # Exporting no id would take it from the stack.
        raise UsageError(
            f"The state file of {stack} has no id of the stack; an older version wrote it.",
            fix=f"Run `scaler status --refresh --stack {stack}` first.",
        )
    owner = spec.owner.with_id(state.identity.id)
    there = [server for server in state.servers if server.id and server.status is not Status.DELETED]
    declare(
        spec.cloud,
        [Declared(server.name, server.group, recorded_server(spec, server, owner), exists=True) for server in there],
        {**{server.name: server_to_json(server) for server in there}, **own_output(state.identity, state.orders)},
        # The state file does not record which template a server was made from; a label must not say a newer one.
        keep_labels=True,
    )
