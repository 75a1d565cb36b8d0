"""YAML as typed: values, lines, and what is wrong with a file."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scaler.config.strict_yaml import Document, read

PLAIN = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._:+/-]{0,20}[A-Za-z0-9])?", fullmatch=True)
"""Texts that may stand in YAML without quotes, many of which YAML 1.1 would turn into something else."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("yaml") / "file.yaml"


def parsed(file: Path, text: str) -> Document:
    file.write_bytes(text.encode())
    return read(file)


TRAPS = """
    no No NO yes on off y n True TRUE False Null NULL 12:30 1:2:3 1.10 1.0 1e3 .5 0755 0o17 0x1F 1_000 +5 -0 00 -
    2026-01-02 2026-01-02T03:04:05Z .inf .NaN 1234567890123456789012345 1.2.3.4
"""


@pytest.mark.parametrize("typed", TRAPS.split())
def test_a_scalar_with_another_meaning_in_yaml_stays_text(file: Path, typed: str) -> None:
    assert parsed(file, f"key: [{typed}, '{typed}']").value == {"key": [typed, typed]}


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("0", 0),
        ("3", 3),
        ("-3", -3),
        ("161547269", 161547269),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_only_scalars_that_lose_nothing_are_converted(file: Path, typed: str, value: object) -> None:
    found = parsed(file, f"key: {typed}").value
    assert found == {"key": value}
    assert isinstance(found, dict)
    assert type(found["key"]) is type(value)
    assert parsed(file, f"key: '{typed}'").value == {"key": typed}


@given(PLAIN)
@example("0x1F")
@example("1.10")
@example("9" * 30)
def test_every_plain_scalar_can_be_written_as_it_was_typed(file: Path, typed: str) -> None:
    value = parsed(file, f"a:\n  b: {typed}").value
    assert isinstance(value, dict)
    assert isinstance(value["a"], dict)
    found = value["a"]["b"]
    assert json.dumps(found) == typed if isinstance(found, bool | int) or found is None else found == typed


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff\ufffe\uffff")))
def test_every_quoted_text_is_read_unchanged(file: Path, text: str) -> None:
    document = parsed(file, f"key: {json.dumps(text, ensure_ascii=False)}")
    assert document.problems == []
    assert document.value == {"key": text}


@given(st.text())
def test_any_file_gives_a_value_or_a_problem_on_one_of_its_lines(file: Path, text: str) -> None:
    file.write_bytes(text.encode(errors="surrogatepass"))
    document = read(file)
    assert all(1 <= problem.line <= len(text.splitlines()) + 2 for problem in document.problems)


def test_every_value_and_key_has_its_line(file: Path) -> None:
    document = parsed(file, "a: 1\n\n# why\nb:\n  c:\n    - x\n    - y\n  d: {e: 1,\n    f: 2}\n")
    assert document.line(("a",)) == 1
    assert (document.key_line(("b", "c")), document.line(("b", "c"))) == (5, 6)
    assert document.line(("b", "c", 1)) == 7
    assert document.line(("b", "d", "f")) == 9
    assert document.line(("b", "d", "absent", "deeper")) == 8
    assert document.key_line(("b", "absent")) == 4
    assert (document.line(("absent",)), document.key_line(("absent",))) == (1, 1)


def test_anchors_and_merges_are_resolved(file: Path) -> None:
    document = parsed(file, "a: &a {x: 1, y: 2}\nb: *a\nc:\n  <<: *a\n  y: 3\nd:\n  <<: [*a, {z: 4, x: 9}]\n")
    assert document.problems == []
    assert document.value == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 2},
        "c": {"x": 1, "y": 3},
        "d": {"x": 1, "y": 2, "z": 4},
    }


BILLION = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {}\n" + "".join(
    f"{b}: &{b} {{<<: [*{a}, *{a}, *{a}]}}\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            "a: 1\na: 2\na: 3\n",
            [
                "2: a is given twice; the first is on line 1; remove one of them",
                "3: a is given twice; the first is on line 1; remove one of them",
            ],
        ),
        ("g:\n  w: {c: 1,\n    c: 2}", ["3: c is given twice; the first is on line 2; remove one of them"]),
        ("a:\n\tb: 1", ["2: invalid YAML: a tab; indent with spaces"]),
        ("a: 1\n---\nb: 1\n", ["3: a second YAML document begins here; keep one document in a file"]),
        (
            "a: b: c",
            ["1: invalid YAML: a second `: ` in one line, or a wrong indentation; quote a text with `: ` in it"],
        ),
        ("a: *nowhere", ["1: invalid YAML: found undefined alias 'nowhere'"]),
        ("x: 1\na: 'open", ["2: invalid YAML: while scanning a quoted scalar, found unexpected end of stream"]),
        ("a: 1\nb: \x07", ["2: invalid YAML: a character that may not be in it (#x0007)"]),
        (r'a: "x\ud800"', ["1: half of a surrogate pair; write the character itself"]),
        ("? [a]\n: 1", ["1: a list or mapping cannot be a key"]),
        ("a: 1\nb: !!float 3", ["2: the YAML tag !!float is not supported; remove it"]),
        ("a: !custom {}", ["1: the YAML tag !custom is not supported; remove it"]),
        ("a:\n  <<: 3", ["2: << needs a mapping, or a list of mappings"]),
        ("a: &a {b: *a}", ["1: nested too deep or too large; look for an alias inside its own anchor"]),
        ("a: &a {<<: *a}", ["1: nested too deep or too large; look for an alias inside its own anchor"]),
        (BILLION, ["1: nested too deep or too large; look for an alias inside its own anchor"]),
        (MERGES, ["1: nested too deep or too large; look for an alias inside its own anchor"]),
        ("", []),
        ("# only a comment", []),
    ],
)
def test_problems_of_a_file_have_their_line(file: Path, text: str, problems: list[str]) -> None:
    found = parsed(file, text).problems
    assert [str(problem).removeprefix(f"{file}:") for problem in found] == problems


def test_files_that_are_not_text(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("a: 1\nb: ü".encode("latin-1"))
    (tmp_path / "bom.yaml").write_bytes("\ufeffa: 1".encode())
    (tmp_path / "folder.yaml").mkdir()

    def first(name: str) -> str:
        return "".join(str(problem).removeprefix(f"{tmp_path}/") for problem in read(tmp_path / name).problems[:1])

    assert first("latin.yaml") == "latin.yaml:2: not UTF-8 text; save the file as UTF-8"
    assert first("folder.yaml") == "folder.yaml:1: the file cannot be read: Is a directory"
    assert first("absent.yaml") == "absent.yaml:1: the file does not exist"
    assert read(tmp_path / "bom.yaml").value == {"a": 1}


def test_a_file_is_named_as_seen_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read(tmp_path / "stacks" / "prod.yaml").file == "stacks/prod.yaml"
