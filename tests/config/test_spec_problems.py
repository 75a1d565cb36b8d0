"""Invalid files: every problem is reported at once, in the order of lines."""

from pathlib import Path

import pytest

from scaler.config.spec import load
from scaler.errors import ExitCode, InvalidSpecError
from tests.config.spec_files import HETZNER, check, problems, spec_with, write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1: the file is empty; scaler init writes one to start from"]),
        ("# nothing yet\n", ["1: the file is empty; scaler init writes one to start from"]),
        ("just text", ["1: a spec is a mapping of keys to values, not 'just text'"]),
        ("- a\n- b", ["1: a spec is a mapping of keys to values, not a list"]),
        ("cloud: hetzner", ["1: groups is missing; add it"]),
        ("cloud: hetzner\ngroups: {}", ["2: groups must not be empty; name at least one"]),
        ("cloud: hetzner\ngroups:", ["2: groups has no value; give one, or remove the line"]),
        ("cloud: hetzner\ngroups: [worker]", ["2: groups must be a mapping, not a list"]),
        ("cloud: hetzner\ngroups:\n  worker: 3", ["3: groups.worker must be a mapping, not 3"]),
        ("cloud: hetzner\ngroups:\n  worker:", ["3: groups.worker has no value; give one, or remove the line"]),
        (
            "cloud: hetzner\ngroups:\n  worker: {}",
            [f"3: groups.worker.{key} is missing; add it" for key in ("count", "image", "type", "location")],
        ),
        (
            HETZNER.replace("worker", "My_Group") + "}",
            ["3: groups.My_Group must be lower-case letters, digits and hyphens, as in a host name, not 'My_Group'"],
        ),
    ],
)
def test_a_spec_of_the_wrong_shape(tmp_path: Path, text: str, expected: list[str]) -> None:
    check(write(tmp_path, text), expected, schema_sees=True)


def test_duplicate_keys_are_found_beside_other_problems(tmp_path: Path) -> None:
    text = spec_with("count: 5")[0].replace("cloud: hetzner", "cloud: hetzer\ncloud: hetzner") + "\n    count: 7"
    assert problems(write(tmp_path, text)) == [
        "1: cloud must be hetzner or digitalocean, not 'hetzer'; did you mean hetzner?",
        "2: cloud is given twice; the first is on line 1; remove one of them",
        "9: groups.worker.count is given twice; the first is on line 8; remove one of them".replace(
            "groups.worker.", ""
        ),
    ]


def test_all_problems_are_reported_in_the_order_of_lines(tmp_path: Path) -> None:
    text = """\
cloud: hetzner
endpont: embedded
limit: 2
groups:
  worker:
    count: 3
    min: 5
    image: {selector: a, name: b}
    type: []
    labels:
      managed-by: me
      "a b": c
    start_within: 10
    vpc: x
  Web:
    count: "3"
    stop: {dran: [x]}
  c: 3
budget: 3
"""
    assert problems(write(tmp_path, text)) == [
        "2: endpont is not a known key; did you mean endpoint?",
        "3: limit must be at least the groups' counts together (3), not 2",
        "5: groups.worker.location is missing; add it",
        "7: groups.worker.min must be at most count (3), not 5",
        "8: groups.worker.image must have exactly one of the keys selector and name",
        "9: groups.worker.type must not be empty; name at least one",
        "11: groups.worker.labels.managed-by is a label that scaler sets itself; choose another name",
        "12: groups.worker.labels.a b is no Hetzner label: at most 63 letters, digits, - _ and ., the first and last "
        "a letter or digit; before it perhaps a domain and a /",
        "13: groups.worker.start_within needs a unit, which 10 has not; write 10s, or such as 10m or 1h30m",
        "14: groups.worker.vpc is for digitalocean only, and this stack is on hetzner; remove it",
        "15: groups.Web must be lower-case letters, digits and hyphens, as in a host name, not 'Web'",
        "15: groups.Web.image is missing; add it",
        "15: groups.Web.type is missing; add it",
        "15: groups.Web.location is missing; add it",
        "16: groups.Web.count must be a whole number, not '3'; remove the quotes",
        "17: groups.Web.stop.dran is not a known key; did you mean drain?",
        "18: groups.c must be a mapping, not 3",
        "19: budget must be a mapping, not 3",
    ]


def test_the_file_names_the_stack(tmp_path: Path) -> None:
    assert problems(write(tmp_path, f"{HETZNER}}}", "My_Stack")) == [
        "1: the file's name gives the stack its name, and that must be lower-case letters, digits and hyphens, "
        "as in a host name, not 'My_Stack'; rename the file"
    ]


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path / "prod.yaml") == ["1: the file does not exist"]


def test_the_error_has_the_specs_exit_code(tmp_path: Path) -> None:
    path = write(tmp_path, "cloud: aws")
    with pytest.raises(InvalidSpecError) as caught:
        load(path, "shop")
    assert caught.value.exit_code is ExitCode.SPEC
    assert caught.value.code == "spec_invalid"
    assert caught.value.what == f"2 problems in {path}."
