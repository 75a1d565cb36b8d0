"""The program that `pulumi preview` and `pulumi up` run by hand in the project folder.

`stacks/__main__.py` calls `run_by_hand`. A scaler run does not use this module: it hands the engine
its own program, with the same declarations.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pulumi

from scaler.config.project import Project
from scaler.config.spec import load
from scaler.engine.declarations import declare
from scaler.errors import ScalerError, UsageError
from scaler.model import Declared
from scaler.model.lifecycle import Status
from scaler.planning.template import recorded_server
from scaler.records.codec import own_output, read_outputs, server_to_json
from scaler.records.state import why_behind
from scaler.records.state_file import StateFile


def run_by_hand() -> None:
    """What `pulumi preview` and `pulumi up` in the project folder run: the servers of the state file.

    Without a state file, or with one that is older than what the stack holds, it stops, rather than plan the
    deletion of every server that it cannot see.
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
    if why := why_behind(state, read_outputs(_saved_outputs(project.name, stack))):
        raise UsageError(
            f"The state file of {stack} is older than what its backend has: {why}.",
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


def _saved_outputs(project: str, stack: str) -> Mapping[str, object]:
    """Return the stack's outputs as they were saved last.

    The engine's own function, without a resource: a `StackReference` would be one more in the stack. Source:
    pulumi (pkg/resource/deploy/builtins.go).
    """
    name = f"{pulumi.get_organization()}/{project}/{stack}"
    read = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": name})
    outputs = _with_whole_numbers(read.value.get("outputs"))
    return outputs if isinstance(outputs, Mapping) else {}


def _with_whole_numbers(value: object) -> object:
    """Return a value as the engine saved it: on its way to the program, each number became a float."""
    if isinstance(value, Mapping):
        return {key: _with_whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
