"""Functions in a spec: their problems, and how specs with functions are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

import scaler.config.spec
from scaler.errors import InvalidSpecError
from scaler.records.plan_file import spec_hash
from tests.hooks.user_functions import module

_SPEC = """\
cloud: hetzner
groups:
  worker:
    count: 3
    image: ubuntu-24.04
    type: cx23
    location: fsn1
"""


def write(folder: Path, keys: str) -> Path:
    (folder / "stacks").mkdir(exist_ok=True)
    path = folder / "stacks" / "prod.yaml"
    path.write_text(_SPEC + keys, encoding="utf-8")
    return path


def problem(folder: Path, keys: str) -> str:
    path = write(folder, keys)
    with pytest.raises(InvalidSpecError) as caught:
        scaler.config.spec.load(path, "shop")
    (found,) = caught.value.problems
    return str(found).removeprefix(f"{path}:")


@pytest.mark.acceptance("Q11")
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("    naming: flet:f", "8: groups.worker.naming names a module that does not exist: flet; modules are"),
        ("    naming: fleet", "8: groups.worker.naming must be module:function, not 'fleet'"),
        ("    naming: 3", "8: groups.worker.naming must be module:function, not '3'"),
        ("    min: 1\n    scale_down: fleet:g", "9: groups.worker.scale_down names what is not in fleet: g"),
        ("    scale_down: newst", "8: groups.worker.scale_down must be newest or oldest or billing, not 'newst'"),
        ("    ready:\n      function: fleet:g", "9: groups.worker.ready.function names what is not in fleet: g"),
        ("    protect: [web]", "8: groups.worker.protect[0] must be a server of this group"),
        ("    naming: fleet:f\n    protect: [Web]", "9: groups.worker.protect[0] must be a server of this group"),
    ],
)
def test_problems_with_functions_have_their_line(tmp_path: Path, keys: str, message: str) -> None:
    module(tmp_path, "def f(): pass")
    assert problem(tmp_path, keys).startswith(message)


@pytest.mark.acceptance("Q11")
def test_functions_are_compared_and_hashed_by_their_references(tmp_path: Path) -> None:
    keys = "    naming: fleet:f\n    scale_down: fleet:f\n    ready: {function: 'fleet:f'}\n    protect: [web]"
    path = write(tmp_path, keys)
    specs = []
    for text in ("def f(): return 1", "def f(): return 22"):
        module(tmp_path, text)
        specs.append(scaler.config.spec.load(path, "shop"))
    naming = [found.groups["worker"].naming for found in specs]
    assert [ask() for ask in naming if ask] == [1, 22]
    assert specs[0] == specs[1]
    assert spec_hash(specs[0]) == spec_hash(specs[1])
    module(tmp_path, "def f(): pass\ndef g(): pass")
    path.write_text(path.read_text().replace("naming: fleet:f", "naming: fleet:g"), encoding="utf-8")
    other = scaler.config.spec.load(path, "shop")
    assert other != specs[0]
    assert spec_hash(other) != spec_hash(specs[0])
