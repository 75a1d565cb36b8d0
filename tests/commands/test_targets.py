"""The files that the command line names for a report."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from scaler.commands import targets
from scaler.errors import UsageError


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A project folder, in which a command runs."""
    for name in ("Pulumi.yaml", "stacks/demo.yaml", ".scaler/demo.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("precious")
    with click.Context(click.Command("ensure")) as context:
        context.meta["scaler.options"] = {
            "directory": str(tmp_path),
            "stack": (),
            "state_dir": None,
            "output": "text",
            "quiet": False,
            "verbose": 0,
            "debug": False,
            "color": None,
        }
        yield tmp_path


def test_the_report_of_an_earlier_run_is_removed(project: Path) -> None:
    path = project / "out" / "result.json"
    targets.prepare(path)
    assert not path.exists()
    targets.write(path, "first")
    targets.prepare(path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["stacks/demo.yaml", "stacks/new.yaml", "Pulumi.yaml", ".scaler/demo.json", "link"])
def test_no_file_of_the_project_is_a_target(project: Path, name: str) -> None:
    (project / "link").symlink_to("stacks/demo.yaml")
    with pytest.raises(UsageError, match="belongs to the project"):
        targets.prepare(project / name)
    assert (project / "stacks" / "demo.yaml").read_text() == "precious"


def test_a_link_is_written_through_and_stays(project: Path) -> None:
    (project / "real").write_text("the report of an earlier run, which is longer")
    link = project / "link"
    link.symlink_to("real")
    targets.prepare(link)
    targets.write(link, "new")
    assert (link.is_symlink(), (project / "real").read_text()) == (True, "new")


def test_a_pipe_is_written_to_and_stays(project: Path) -> None:
    pipe = project / "pipe"
    os.mkfifo(pipe)
    targets.prepare(pipe)
    with pytest.raises(OSError, match="No such device"):
        targets.write(pipe, "nobody reads")
    read: list[str] = []
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    targets.write(pipe, "x" * 200)
    with os.fdopen(descriptor) as reader:
        read.append(reader.read())
    assert read == ["x" * 200]
    assert pipe.is_fifo()


def test_a_device_is_written_to_and_stays(project: Path) -> None:
    before = Path("/dev/null").stat().st_rdev
    targets.prepare(Path("/dev/null"))
    targets.write(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()
    assert Path("/dev/null").stat().st_rdev == before
