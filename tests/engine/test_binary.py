"""Finding and installing the engine, with small scripts in place of `pulumi` and `go`."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import scaler
from scaler.engine import binary as engine_binary
from scaler.engine.binary import PINNED, find, install, version_of
from scaler.errors import ExitCode, UnavailableError


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def pulumi(path: Path, version: str) -> Path:
    """A `pulumi` that notes each start in the file `starts` beside it."""
    return script(path, f'echo started >> "$(dirname "$0")/starts"\necho {version}')


def starts(binary: Path) -> int:
    notes = binary.parent / "starts"
    return len(notes.read_text().splitlines()) if notes.exists() else 0


def go(path: Path, *, version: str = PINNED, first: str = "") -> Path:
    """A `go` that writes a pulumi of this version to where `-o` says, and notes its arguments beside itself."""
    text = f"""
echo "$@" >> "$(dirname "$0")/calls"
{first}
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho {version}\\n' > "$2"
chmod +x "$2"
"""
    return script(path, text)


def calls(binary: Path) -> list[str]:
    notes = binary.parent / "calls"
    return notes.read_text().splitlines() if notes.exists() else []


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An empty cache, a PATH without pulumi and go, and a proxy that refuses: no download leaves this machine."""
    refusing = "http://127.0.0.1:1"
    return {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "http_proxy": refusing,
        "https_proxy": refusing,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "scaler" / "engine"


class Lines(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)

    def __str__(self) -> str:
        return "\n".join(self)


# ---------------------------------------------------------------------------------------------
# Finding


def test_a_new_enough_pulumi_on_path_is_used(tmp_path: Path, environ: dict[str, str]) -> None:
    binary = pulumi(tmp_path / "bin" / "pulumi", "v3.260.0")
    assert find(environ) == binary


def test_a_known_pulumi_is_not_started_again(tmp_path: Path, environ: dict[str, str]) -> None:
    binary = pulumi(tmp_path / "bin" / "pulumi", "v3.260.0")
    assert [find(environ), find(environ)] == [binary, binary]
    assert starts(binary) == 1


def test_a_replaced_pulumi_is_asked_again(tmp_path: Path, environ: dict[str, str]) -> None:
    binary = pulumi(tmp_path / "bin" / "pulumi", "v3.260.0")
    find(environ)
    pulumi(binary, "v3.300.12")
    assert version_of(binary, environ) == "v3.300.12"


def test_path_comes_before_the_cache(tmp_path: Path, environ: dict[str, str], folder: Path) -> None:
    pulumi(folder / "v3.300.0" / "pulumi", "v3.300.0")
    binary = pulumi(tmp_path / "bin" / "pulumi", "v3.260.0")
    assert find(environ) == binary


def test_an_old_pulumi_on_path_gives_way_to_the_installed_one(
    tmp_path: Path, environ: dict[str, str], folder: Path
) -> None:
    pulumi(tmp_path / "bin" / "pulumi", "v3.249.9")
    installed = pulumi(folder / PINNED / "pulumi", PINNED)
    assert find(environ) == installed
    assert starts(installed) == 0


def test_of_several_installed_the_newest_is_used(environ: dict[str, str], folder: Path) -> None:
    for version in ("v3.251.0", "v3.1000.0", "v3.99.0"):
        pulumi(folder / version / "pulumi", version)
    assert find(environ) == folder / "v3.1000.0" / "pulumi"


def test_scaler_engine_comes_first(tmp_path: Path, environ: dict[str, str]) -> None:
    pulumi(tmp_path / "bin" / "pulumi", "v3.300.0")
    binary = pulumi(tmp_path / "mine" / "pulumi", "v3.255.0")
    assert find({**environ, "SCALER_ENGINE": str(binary)}) == binary


@pytest.mark.parametrize("text", ["echo v3.100.0", "exit 1", "echo hello"])
def test_a_scaler_engine_that_will_not_do_is_an_error_even_if_another_would(
    tmp_path: Path, environ: dict[str, str], text: str
) -> None:
    pulumi(tmp_path / "bin" / "pulumi", "v3.300.0")
    binary = script(tmp_path / "mine" / "pulumi", text)
    with pytest.raises(UnavailableError, match="SCALER_ENGINE") as caught:
        find({**environ, "SCALER_ENGINE": str(binary)})
    assert str(binary) in caught.value.why


def test_an_engine_that_prints_without_end_is_none(environ: dict[str, str]) -> None:
    assert version_of(Path("/usr/bin/yes"), environ) is None


def test_without_an_engine_the_error_names_the_command_that_installs_it(environ: dict[str, str]) -> None:
    with pytest.raises(UnavailableError) as caught:
        find(environ)
    assert caught.value.exit_code is ExitCode.UNAVAILABLE
    assert "scaler engine install" in caught.value.fix


def test_with_only_an_old_engine_the_error_names_its_version(tmp_path: Path, environ: dict[str, str]) -> None:
    pulumi(tmp_path / "bin" / "pulumi", "v3.100.0")
    with pytest.raises(UnavailableError) as caught:
        find(environ)
    assert "v3.100.0" in caught.value.why


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_cache_is_no_harm(tmp_path: Path, environ: dict[str, str], folder: Path, content: str) -> None:
    binary = pulumi(tmp_path / "bin" / "pulumi", "v3.260.0")
    folder.mkdir(parents=True)
    (folder / "versions.json").write_text(content)
    assert find(environ) == binary


def test_a_cache_that_cannot_be_written_is_no_harm(tmp_path: Path, environ: dict[str, str]) -> None:
    binary = pulumi(tmp_path / "bin" / "pulumi", "v3.260.0")
    (tmp_path / "file").touch()
    assert find({**environ, "XDG_CACHE_HOME": str(tmp_path / "file")}) == binary


# ---------------------------------------------------------------------------------------------
# Installing


def test_where_the_download_is_refused_it_is_built(tmp_path: Path, environ: dict[str, str], folder: Path) -> None:
    builder = go(tmp_path / "bin" / "go")
    report = Lines()
    binary = install(environ, report=report)
    assert binary == folder / PINNED / "pulumi" == find(environ)
    assert "download failed" in str(report)
    assert f"engine {PINNED} built from source" in str(report)
    assert [f"version.Version={PINNED}" in call for call in calls(builder)] == [True]


def test_from_source_does_not_try_to_download(tmp_path: Path, environ: dict[str, str]) -> None:
    go(tmp_path / "bin" / "go")
    report = Lines()
    install(environ, report=report, from_source=True)
    assert "download" not in str(report)


def test_an_installed_engine_is_left_alone(tmp_path: Path, environ: dict[str, str], folder: Path) -> None:
    builder = go(tmp_path / "bin" / "go")
    binary = pulumi(folder / PINNED / "pulumi", PINNED)
    assert install(environ, report=Lines()) == binary
    assert calls(builder) == []


def test_the_error_says_why_each_way_failed(environ: dict[str, str], folder: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        install(environ, report=Lines())
    assert "download failed" in caught.value.why
    assert "no `go` on PATH" in caught.value.why
    assert "Install Go" in caught.value.fix
    assert not (folder / PINNED).exists()


def test_the_builder_s_own_words_are_in_the_error(tmp_path: Path, environ: dict[str, str]) -> None:
    go(tmp_path / "bin" / "go", first="echo 'go.mod requires go >= 1.26' >&2; exit 1")
    with pytest.raises(UnavailableError, match=r"go\.mod requires go >= 1\.26"):
        install(environ, report=Lines(), from_source=True)


def test_an_engine_that_does_not_know_its_version_is_not_installed(
    tmp_path: Path, environ: dict[str, str], folder: Path
) -> None:
    go(tmp_path / "bin" / "go", version="v0.0.1")
    with pytest.raises(UnavailableError, match=r"v0\.0\.1"):
        install(environ, report=Lines(), from_source=True)
    assert not (folder / PINNED).exists()


def test_what_a_killed_install_left_is_cleared_away(tmp_path: Path, environ: dict[str, str], folder: Path) -> None:
    go(tmp_path / "bin" / "go")
    left = folder / f"{PINNED}.partial.1" / "bin" / "pulumi"
    left.parent.mkdir(parents=True)
    left.write_text("half an engine")
    binary = install(environ, report=Lines(), from_source=True)
    assert version_of(binary, environ) == PINNED
    assert not left.exists()


def test_two_installs_at_once_build_once(tmp_path: Path, environ: dict[str, str]) -> None:
    builder = go(tmp_path / "bin" / "go", first="sleep 1")
    found: list[Path] = []
    reports = [Lines(), Lines()]
    threads = [
        threading.Thread(target=lambda report=report: found.append(install(environ, report=report, from_source=True)))
        for report in reports
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(found) == 2
    assert len(set(found)) == 1
    assert len(calls(builder)) == 1
    assert "another install is running" in f"{reports[0]}{reports[1]}"


def test_a_terminated_install_takes_the_builder_along_and_leaves_nothing(
    tmp_path: Path, environ: dict[str, str], folder: Path
) -> None:
    builder = go(tmp_path / "bin" / "go", first='echo $$ > "$(dirname "$0")/pid"; sleep 600')
    command = [sys.executable, "-m", "scaler", "engine", "install", "--from-source"]
    root = str(Path(scaler.__file__).parent.parent)
    process = subprocess.Popen(command, env={**environ, "PYTHONPATH": root}, stderr=subprocess.PIPE)
    pid = int(wait_for(builder.parent / "pid"))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == ExitCode.TERMINATED
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert [path.name for path in folder.iterdir() if path.is_dir()] == []


def wait_for(path: Path) -> str:
    """The file's first line, once it is there."""
    for _ in range(600):
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text.strip()
        time.sleep(0.05)
    raise TimeoutError(path)


def test_the_pinned_module_is_shipped_with_the_package() -> None:
    module = Path(engine_binary.__file__).parent / "build"
    assert f"github.com/pulumi/pulumi/pkg/v3 {PINNED}" in (module / "go.mod").read_text()
    assert f"github.com/pulumi/pulumi/pkg/v3 {PINNED} " in (module / "go.sum").read_text()
