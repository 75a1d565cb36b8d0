"""The files that the command line names for a report."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from scaler.commands import targets
from scaler.errors import UsageError

FILES = (
    "Pulumi.yaml", "stacks/demo.yaml", ".scaler/demo.json", "policies/README.md", "policies/x/PulumiPolicy.yaml",
    ".git/config", "later/pk/helper.py", "later/pk/deep/data.json",
    "cloud-init.yml", "hooks.py", "rules/PulumiPolicy.yaml", "rules/__main__.py", "token", "recording.csv", "other",
)  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A project folder, in which a command runs."""
    spec = "user_data: ../cloud-init.yml\nready: {function: hooks.is_ready}\npolicies: [../rules, later/pk]\n"
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(spec if name == "stacks/demo.yaml" else "precious")
    with click.Context(click.Command("ensure")) as context:
        context.meta["scaler.options"] = {
            "directory": str(tmp_path),
            "state_dir": None,
        }
        yield tmp_path


def prepare(path: Path) -> None:
    targets.prepare(path, targets.Inputs.of(click.get_current_context()))


def test_the_report_of_an_earlier_run_is_removed(project: Path) -> None:
    path = project / "out" / "result.json"
    prepare(path)
    assert not path.exists()
    targets.write(path, "first")
    prepare(path)
    assert not path.exists()


@pytest.mark.parametrize("name", [*FILES[:-3], "stacks/new.yaml", "link"])
def test_no_file_of_the_project_is_a_target(project: Path, name: str) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    (project / "link").symlink_to("stacks/demo.yaml")
    for write in (prepare, targets.require_free, lambda path: targets.write(path, "report", append=True)):
        with pytest.raises(UsageError, match="belongs to the project"):
            write(project / name)
    assert {path: path.read_bytes() for path in before} == before


def test_no_file_that_the_run_reads_is_a_target(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = click.get_current_context()
    recording, token = project / "recording.csv", project / "token"
    (project / "hard-link").hardlink_to(token)
    monkeypatch.setenv("HCLOUD_TOKEN_FILE", str(token))
    context.params = {"metrics": str(recording), "policies": (Path("other.yaml"),), "html": recording, "step": 3}
    for path, why in (
        (recording, "names it twice"),
        (token, "HCLOUD_TOKEN_FILE names it"),
        (project / "hard-link", "HCLOUD_TOKEN_FILE names it"),
    ):
        with pytest.raises(UsageError) as caught:
            targets.require_free(path)
        assert why in caught.value.why
    # No file of these names is read: the stem counts only for Python's.
    for path in (project / "ready.json", project / "demo.json", project / "hooks.json"):
        path.touch()
        targets.require_free(path)


def test_a_link_is_written_through_and_stays(project: Path) -> None:
    (project / "real").write_text("the report of an earlier run, which is longer")
    link = project / "link"
    link.symlink_to("real")
    prepare(link)
    targets.write(link, "new")
    assert (link.is_symlink(), (project / "real").read_text()) == (True, "new")


def test_a_pipe_is_written_to_and_stays(project: Path) -> None:
    pipe = project / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="No such device"):
        targets.write(pipe, "nobody reads")
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    prepare(pipe)
    with pytest.raises(BlockingIOError):
        os.read(descriptor, 1)  # no end before the report
    targets.write(pipe, "x" * 200)
    assert os.read(descriptor, 4096) == b"x" * 200
    os.close(descriptor)
    assert pipe.is_fifo()


def test_a_target_that_takes_nothing_is_refused(project: Path) -> None:
    os.mkfifo(project / "pipe")
    for path, why in (
        (Path(), "is empty"),
        (project, "s a directory"),
        (project / "pipe", "No such device"),
        (Path("/dev/full"), "No space left"),
    ):
        with pytest.raises(UsageError) as caught:
            prepare(path)
        assert why in caught.value.why


def test_a_device_is_written_to_and_stays(project: Path) -> None:
    before = Path("/dev/null").stat().st_rdev
    prepare(Path("/dev/null"))
    targets.write(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()
    assert Path("/dev/null").stat().st_rdev == before
