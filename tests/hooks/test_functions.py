"""Functions that a spec names: how they are found and loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scaler.hooks.functions import CannotLoadError, load_function
from tests.hooks.user_functions import module


def test_modules_of_the_project_folder_hide_installed_ones(tmp_path: Path) -> None:
    module(tmp_path, "def loads(text): return 'ours'", "json")
    assert load_function("json:loads", tmp_path)("1") == "ours"
    import json

    assert json.loads("1") == 1
    assert load_function("colorsys:rgb_to_hsv", tmp_path)(0, 0, 0) == (0, 0, 0)


def test_two_projects_can_have_modules_with_the_same_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        module(tmp_path / name, f"def which(): return '{name}'")
    assert [load_function("fleet:which", tmp_path / name)() for name in ("one", "two")] == ["one", "two"]


def test_functions_of_one_module_share_its_state(tmp_path: Path) -> None:
    module(tmp_path, "seen = []\ndef note(): seen.append(1)\ndef count(): return len(seen)")
    load_function("fleet:note", tmp_path)()
    assert load_function("fleet:count", tmp_path)() == 1


def test_a_module_in_a_package_can_import_from_the_project_folder(tmp_path: Path) -> None:
    (tmp_path / "ops").mkdir()
    module(tmp_path / "ops", "from beside_the_fleet import NAME\ndef name(): return NAME")
    module(tmp_path, "NAME = 'found'", "beside_the_fleet")
    assert load_function("ops.fleet:name", tmp_path)() == "found"


@pytest.mark.acceptance("P34", "Q11")
@pytest.mark.parametrize(
    ("reference", "text", "message"),
    [
        ("flet:name", "", "names a module that does not exist: flet"),
        ("fleet:nam", "def name(): pass", "names what is not in fleet: nam"),
        ("fleet:LIMIT", "LIMIT = 3", "names what is no function: fleet:LIMIT"),
        ("fleet:f", "import no_such_library", "(ModuleNotFoundError: No module named 'no_such_library')"),
        ("fleet:f", "raise ValueError('not today')", "cannot be imported: fleet (ValueError: not today)"),
        ("fleet:f", "raise SystemExit(3)", "cannot be imported: fleet (SystemExit: 3)"),
        ("fleet:f", "def f(:", "cannot be imported: fleet (SyntaxError: invalid syntax (fleet.py, line 1))"),
    ],
)
def test_errors_keep_pythons_message(tmp_path: Path, reference: str, text: str, message: str) -> None:
    module(tmp_path, text)
    with pytest.raises(CannotLoadError) as caught:
        load_function(reference, tmp_path)
    assert message in str(caught.value)


@pytest.mark.acceptance("P34")
def test_a_misspelled_function_suggests_the_nearest(tmp_path: Path) -> None:
    module(tmp_path, "def least_busy(): pass")
    with pytest.raises(CannotLoadError) as caught:
        load_function("fleet:least_bussy", tmp_path)
    assert caught.value.fix == "did you mean least_busy?"


def test_what_a_function_prints_is_cleaned_and_no_part_of_a_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By whatever way, also in pieces; what scaler itself prints meanwhile stays as it is."""
    module(
        tmp_path,
        "import logging, sys, threading\n"
        "from beside_the_printing import say\n"
        "print('::error::at import')\n"
        "def f(call):\n"
        "    print(':', end='')\n"
        "    print(':add-mask::x\x1b[31m')\n"
        "    sys.stdout.write('out\\n')\n"
        "    sys.stderr.write('::stop-commands::x\\n')\n"
        "    say()\n"
        "    thread = threading.Thread(target=call)\n"
        "    thread.start()\n"
        "    thread.join()\n"
        "    print('\\n'.join('x' * 200))\n"
        "    return 7\n",
    )
    module(tmp_path, "def say(): print('::group::beside')\n", "beside_the_printing")
    assert load_function("fleet:f", tmp_path)(lambda: sys.stdout.write("the document")) == 7
    printed = capsys.readouterr()
    assert printed.out == "the document"
    lines = printed.err.splitlines()
    assert lines[0].endswith("scaler: fleet: : :error::at import") or lines[0] == "scaler: fleet: ::error::at import"
    assert lines[1] == "scaler: fleet:f: : :add-mask::x\\x1b[31m"
    assert "scaler: fleet:f: out" in lines
    assert len(lines) == 1 + 100 + 1
    assert all(line.startswith("scaler: fleet") for line in lines)
    assert lines[-1] == "scaler: fleet:f: … and 104 more lines"
