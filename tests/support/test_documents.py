"""The bounds of what is read: bytes, values, nesting, memory."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scaler.config.strict_yaml import read
from scaler.engine.yaml_file import read_yaml
from scaler.support import documents
from scaler.support.documents import MOST_VALUES, parse_json, read_file, read_json, unzip
from tests.support.project import ROOT


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[" * 200_000, "nested too deep"),
        (b'{"a":' * 200_000, "nested too deep"),
        (b"[" + b"0," * MOST_VALUES + b"0]", "more than 4,000,000 values"),
        (b"", "^it is no JSON, but empty$"),
        (b'{"a":\n1,', "^it is no JSON, at line 2, column 3$"),
        (b"\xff", "^it is not UTF-8 text$"),
        (b"1" * 5000, "^it has a number of thousands of digits$"),
    ],
    ids=["lists", "objects", "values", "empty", "cut off", "bytes", "digits"],
)
def test_json_that_is_none(content: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_json(content)


def test_half_of_a_surrogate_pair_is_no_character() -> None:
    for content in (
        b'{"a\\uD800": ["\\udfff", "\\ud83d\\ude00", 1e400]}',
        '{"a\\ud800": ["\ud800", "\U0001f600", 1e400]}',
    ):
        assert parse_json(content) == {"a?": ["?", "\U0001f600", float("inf")]}
    with pytest.raises(ValueError, match="nested too deep"):
        parse_json(b"[" * 100_000 + b'"\\ud800"' + b"]" * 100_000)


def test_files_are_bounded_before_and_after_they_are_unzipped(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'"' + b"x" * 100 + b'"')
    assert read_json(path, 102) == "x" * 100
    with pytest.raises(ValueError, match="more than 0 KiB"):
        read_json(path, 101)
    zipped = tmp_path / "a.json.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert read_json(zipped, 102) == "x" * 100
    with pytest.raises(ValueError, match="when it is unzipped"):
        read_json(zipped, 101)
    for broken in (zipped.read_bytes()[:-9], b"\x1f\x8b", b"no gzip"):
        with pytest.raises(ValueError, match="cannot be unzipped"):
            unzip(broken)


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/null")):
        with pytest.raises(OSError, match="a pipe, a device or a socket"):
            read_file(path)
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path)


@pytest.mark.server
def test_a_socket_is_not_read(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for wait in (False, True):
            with pytest.raises(OSError, match="No such device or address"):
                read_file(tmp_path / "socket", wait=wait)


def test_what_a_user_names_may_be_a_pipe_or_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as file:
            file.write(b"x" * 100_000)

    thread = threading.Thread(target=write)
    thread.start()
    assert read_file(Path(f"/dev/fd/{reader}"), wait=True) == b"x" * 100_000
    thread.join()
    os.close(reader)
    assert read_file(Path("/dev/null"), wait=True) == b""
    with pytest.raises(ValueError, match="more than 64 KiB"):
        read_file(Path("/dev/zero"), 64 << 10, wait=True)
    monkeypatch.setattr(documents, "LONGEST_SILENCE_S", 0.1)
    monkeypatch.setattr(documents, "LONGEST_ALONE_S", 0.1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(TimeoutError, match="nobody writes to"):
        read_file(pipe, wait=True)
    writer = os.open(pipe, os.O_RDWR)
    with pytest.raises(TimeoutError, match=r"nothing came out of it for 0.1 s"):
        read_file(pipe, wait=True)
    os.close(writer)


@pytest.mark.parametrize("content", [b"[" * 400, b"- " * 400, b"- &a 1\n" + b"- *a\n" * 25_000])
def test_yaml_without_end_is_a_problem_of_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    (problem,) = read(path).problems
    assert problem.message == "nested too deep or too large"
    path.write_bytes(b"#" * (2 << 20))
    (problem,) = read(path).problems
    assert problem.message == "the file is too large: it has more than 1 MiB"


def test_yaml_of_others_is_a_value_or_an_error_of_one_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: [1]")
    assert read_yaml(path) == {"a": [1]}
    for content in (b"a: [", b"[" * 1200, b"\0", b"a: " + b"1" * (65 << 10)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"."):
            read_yaml(path)


BOMBS = """
import gzip, pathlib, resource, sys
sys.setrecursionlimit(1000)
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
from scaler.engine.backend import LocalBackend
from scaler.errors import ScalerError
folder = pathlib.Path(sys.argv[1])
backend = LocalBackend(folder, "p", "s")
path = folder / "stacks" / "p" / "s.json.gz"
path.parent.mkdir(parents=True)
for content in (b"[" + b"[]," * 95_000_000 + b"0]", b"[" * 50_000_000):
    path.write_bytes(gzip.compress(content, 1))
    del content
    try:
        backend.checkpoint()
    except ScalerError as error:
        print(error.why.rpartition(": ")[2])
"""


def test_a_small_checkpoint_that_unzips_to_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", BOMBS, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.splitlines() == [
        "it has more than 256 MiB when it is unzipped",
        "it has more than 4,000,000 values",
    ], ran.stderr
