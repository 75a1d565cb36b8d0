"""The entry point, run as users run it: in a process of its own."""

import json
import os
import pty
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import scaler
from scaler.commands.cli import COMMANDS
from scaler.commands.command import common_options, declare_common_options
from scaler.commands.command_line import last_value
from scaler.commands.context import Context, Output, make_context
from scaler.commands.ending import SAME_COMMAND, Begun
from scaler.commands.failure import as_sentence
from scaler.commands.interruption import LOOK, interruption, left_by
from scaler.commands.main import main
from scaler.commands.reports import outputs
from scaler.errors import ExitCode, Terminated
from scaler.model.lifecycle import Status
from scaler.records.state_file import StateFile
from tests.support.records import server, state

ROOT = Path(scaler.__file__).parent.parent
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith("SCALER_")} | {"PYTHONPATH": str(ROOT)}

# Adds a command `probe` to the real entry point, found and loaded as every other command is.
PROBE = """
import os, sys, time, types
import click
from dataclasses import dataclass
from scaler.commands import main as entry
from scaler.commands.command import common_options
from scaler.commands.reports import report_options
from scaler.errors import InvalidSpecError, LockedError, Problem, RefusedError

@click.command()
@report_options
@common_options
def probe(context):
{body}

entry.cli.commands["probe"] = click.Command("probe")
sys.modules["scaler.commands.probe"] = types.ModuleType("probe")
sys.modules["scaler.commands.probe"].probe = probe
entry.entry()
"""


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scaler", *arguments]
    return subprocess.run(
        command,
        env={**CLEAN, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def probe_command(body: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", PROBE.format(body=textwrap.indent(body, "    ")), "probe", *arguments]


def run_probe(body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = probe_command(body, *arguments)
    return subprocess.run(
        command, env=CLEAN, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )


# ---------------------------------------------------------------------------------------------
# The machine


@pytest.mark.parametrize(
    ("raised", "fix"),
    [
        ("OSError(24, 'Too many open files')", "ulimit -n"),
        ("BlockingIOError(11, 'Resource temporarily unavailable')", "ulimit -u"),
        ("OSError(28, 'No space left on device')", "Free some space"),
        ('RuntimeError("can\'t start new thread")', "ulimit -u"),
        ("MemoryError()", "more memory"),
        ("NotADirectoryError(20, 'Not a directory', '/a/file')", "why: Not a directory: /a/file, in "),
    ],
)
def test_what_the_machine_refuses_is_no_internal_error(raised: str, fix: str) -> None:
    done = run_probe(f"raise {raised}")
    assert done.returncode == ExitCode.ERROR
    assert done.stderr.startswith("Error: This machine refuses what scaler needs.\n")
    assert fix in done.stderr


def test_a_limit_of_open_files_is_named() -> None:
    done = run_probe("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); os.pipe()")
    assert "why: Too many open files" in done.stderr


def test_the_owner_may_use_what_a_command_makes_whatever_the_umask_is() -> None:
    command = probe_command("print(oct(os.umask(0)))")
    for umask, used in ((0o777, "0o77"), (0, "0o22"), (0o027, "0o27")):
        done = subprocess.run(
            command, env=CLEAN, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60, umask=umask
        )
        assert done.stdout.decode() == f"{used}\n"


_IGNORING = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_exit_codes_are_read_also_where_the_parent_ignores_the_ends_of_its_children() -> None:
    command = probe_command("import subprocess; print(subprocess.call(['false']))")
    done = subprocess.run(
        [sys.executable, "-c", _IGNORING, *command],
        env=CLEAN,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "1\n"


# ---------------------------------------------------------------------------------------------
# Help


HEAVY = {"pulumi", "pulumi_hcloud", "pulumi_digitalocean", "pydantic", "rich", "grpc", "hcloud", "pydo", "requests"}


def imported(*arguments: str) -> set[str]:
    """The modules that this command line has imported when it ends."""
    script = "import sys; from scaler.commands.main import main; main(); print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=CLEAN, capture_output=True, text=True, check=False, timeout=60)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["ensur"], ["completion", "bash"], ["help", "options"]]
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    assert imported(*arguments) & (HEAVY | {"yaml"}) == set()


def test_status_imports_no_pulumi_and_no_client(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    (tmp_path / "stacks" / "prod.yaml").touch()
    modules = imported("-C", str(tmp_path), "status")
    assert "scaler.records.state" in modules
    assert modules & HEAVY == set()


def test_help_lists_every_command_and_every_exit_code() -> None:
    done = run("--help")
    assert done.returncode == 0
    for name, text in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert text in done.stdout
    for code in ExitCode:
        assert f"\n    {int(code)} " in done.stdout


def test_scaler_alone_prints_the_help_and_ends_well() -> None:
    assert (run().returncode, run().stdout) == (0, run("--help").stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_loads_and_has_examples_in_its_help(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"scaler {name}" in done.stdout
    assert "\n  Examples:\n" in done.stdout


def test_version_is_the_package_s() -> None:
    assert run("--version").stdout == f"scaler {scaler.__version__}\n"


def test_version_document_names_engine_and_sdk() -> None:
    document = json.loads(run("version", "-o", "json").stdout)
    assert document["schema"] == 1
    assert document["versions"]["scaler"] == scaler.__version__
    assert document["versions"]["pulumi"]
    assert "engine" in document["versions"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_names_our_variable(shell: str) -> None:
    assert "_SCALER_COMPLETE" in run("completion", shell).stdout


def test_stack_names_are_completed_from_the_specs(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    for name in ("prod", "preprod", "dev"):
        (tmp_path / "stacks" / f"{name}.yaml").touch()
    words = {"COMP_WORDS": f"scaler -C {tmp_path} version --stack pr", "COMP_CWORD": "5"}
    assert run(_SCALER_COMPLETE="bash_complete", **words).stdout.split() == ["plain,preprod", "plain,prod"]


# ---------------------------------------------------------------------------------------------
# Usage errors


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [(["ensur"], "'ensure'"), (["--stak", "x"], "--stack"), (["version", "--outptu", "json"], "--output")],
)
def test_a_slip_is_a_usage_error_with_a_suggestion(arguments: list[str], hint: str) -> None:
    done = run(*arguments)
    assert done.returncode == 64
    assert "Did you mean" in done.stderr
    assert hint in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("json_option", [["-o", "json"], ["-ojson"], ["--output", "json"], ["--output=json"]])
def test_a_usage_error_is_one_document_where_json_is_asked_for(json_option: list[str]) -> None:
    done = run("version", "--bogus", *json_option)
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 64
    assert error["code"] == "usage"
    assert "--bogus" in error["message"]
    assert error["fix"] == "Run: scaler version --help"
    assert done.stderr == ""


def test_a_current_folder_that_was_deleted_is_a_usage_error(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    words = 'rmdir "$PWD"; exec "$0" -m scaler status -C "$1"'
    environ = {**CLEAN, "PYTHONSAFEPATH": "1"}
    command = ["sh", "-c", words, sys.executable, str(tmp_path)]
    ran = subprocess.run(command, cwd=gone, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == ExitCode.USAGE
    assert "The current folder cannot be used." in ran.stderr


def test_a_directory_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    done = run("-C", str(tmp_path / "nowhere"), "version")
    assert done.returncode == 64
    assert "nowhere" in done.stderr


# ---------------------------------------------------------------------------------------------
# How a command may end


@pytest.mark.parametrize(("statement", "code"), [("return 4", 4), ("return None", 0), ("pass", 0)])
def test_a_command_s_value_is_the_exit_code(statement: str, code: int) -> None:
    assert run_probe(statement).returncode == code


FAILURE = 'raise LockedError("prod is in use.", why="run 17 holds it\\nsince 10:00", fix="wait for it")'


def test_a_failure_says_what_why_and_how_to_mend_it() -> None:
    done = run_probe(FAILURE)
    assert done.returncode == 5
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "Error: prod is in use.",
        "  why: run 17 holds it",
        "       since 10:00",
        "  fix: wait for it   (exit 5)",
    ]


@pytest.mark.parametrize(("output", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_a_failure_is_one_document_for_programs(output: str, load: Callable[[str], Any]) -> None:
    done = run_probe(FAILURE, "-o", output)
    error = {
        "code": "locked",
        "message": "prod is in use.",
        "why": "run 17 holds it\nsince 10:00",
        "fix": "wait for it",
    }
    assert load(done.stdout) == {"schema": 1, "error": error}
    assert (done.returncode, done.stderr) == (5, "")


PROBLEMS = (
    'raise InvalidSpecError([Problem("stacks/a.yaml", 3, "no such key"), Problem("stacks/a.yaml", 9, "too low")])'
)


def test_every_problem_of_a_failure_is_printed() -> None:
    done = run_probe(PROBLEMS)
    assert done.returncode == 65
    assert "\n  stacks/a.yaml:3: no such key\n  stacks/a.yaml:9: too low\n" in done.stderr


def test_every_problem_of_a_failure_is_in_the_document() -> None:
    problems = json.loads(run_probe(PROBLEMS, "-o", "json").stdout)["error"]["problems"]
    assert [(problem["file"], problem["line"]) for problem in problems] == [("stacks/a.yaml", 3), ("stacks/a.yaml", 9)]


UNEXPECTED = 'raise RuntimeError("request with Bearer s3cr3t failed")'


def test_an_unexpected_error_is_told_shortly_and_without_its_text() -> None:
    done = run_probe(UNEXPECTED)
    assert done.returncode == 1
    assert "RuntimeError" in done.stderr
    assert "--debug" in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cr3t" not in done.stderr


def test_debug_shows_the_traceback() -> None:
    done = run_probe(UNEXPECTED, "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_command_with_its_code_after_the_clean_up(number: int, code: int) -> None:
    body = """
try:
    print("started", flush=True)
    time.sleep(60)
finally:
    print("cleaned up", flush=True)
"""
    process = subprocess.Popen(
        probe_command(body), env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (code, "cleaned up\n")
    assert stderr.strip() == "Interrupted."


@pytest.mark.parametrize(
    ("body", "code", "name"),
    [
        (UNEXPECTED, 1, "internal"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("raise RuntimeError('Error calling __set_name__') from KeyboardInterrupt()", 130, "interrupted"),
        ("click.confirm('Sure?')", 130, "interrupted"),
    ],
)
def test_the_reports_are_written_at_an_end_that_nobody_planned(tmp_path: Path, body: str, code: int, name: str) -> None:
    files = [word for kind in ("json-file", "dotenv", "summary") for word in (f"--{kind}", str(tmp_path / kind))]
    done = run_probe(body, "-o", "json", *files)
    assert done.returncode == code
    document = json.loads(done.stdout.removeprefix("Sure? [y/N]: "))
    assert (document["error"]["code"], json.loads((tmp_path / "json-file").read_text())) == (name, document)
    assert (tmp_path / "dotenv").read_text() == (
        f"SCALER_OUTCOME=failed\nSCALER_EXIT_CODE={code}\nSCALER_CHANGED=false\nSCALER_ERROR={name}\n"
    ), "nothing had begun"
    assert (tmp_path / "summary").read_text().startswith(f"### scaler: {name}\n")
    assert "s3cr3t" not in done.stderr + "".join(file.read_text() for file in tmp_path.iterdir())


def outputs_of(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text(encoding="utf-8").splitlines())


@pytest.fixture
def reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, as a step of a pipeline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "github"))
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "ensure --max-change z",
        "ensure --no-such-option",
        "ensure -1",
        "increase -1",
        "apply nofile",
        "protect",
        "-C /nonexistent ensure 3",
        "ensure 3 -C /nonexistent",
        "--no-such-option ensure 3",
        "ensur 3",
    ],
)
def test_a_command_line_that_cannot_be_used_is_reported_too(reported: Path, line: str) -> None:
    (reported / "json-file").write_text("of an earlier run")
    files = [f"--{kind}={'out/' * (kind == 'dotenv')}{kind}" for kind in ("json-file", "dotenv", "summary")]
    assert main([*line.split(), *files]) == ExitCode.USAGE
    assert json.loads((reported / "json-file").read_text())["error"]["code"] == "usage"
    assert (reported / "summary").read_text().startswith("### scaler: usage\n")
    told = {"outcome": "failed", "exit_code": "64", "changed": "false", "error": "usage"}
    assert outputs_of(reported / "out" / "dotenv") == {f"SCALER_{name.upper()}": text for name, text in told.items()}
    assert outputs_of(reported / "github") == {**told, "servers": "[]"}


@pytest.mark.parametrize("option", ["--json-file", "--dotenv", "--summary"])
@pytest.mark.parametrize("file", ["", "/dev/full"])
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_read(
    reported: Path, capsys: pytest.CaptureFixture[str], option: str, file: str
) -> None:
    assert main(["ensure", "5", "--yes", f"{option}={file}"]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(f"Error: {file or 'A file for a report'} ")


def test_a_command_without_reports_writes_none_at_a_wrong_line(reported: Path) -> None:
    assert main(["status", "--no-such-option", "--json-file", "file"]) == ExitCode.USAGE
    assert list(reported.iterdir()) == []


@pytest.mark.parametrize("line", ["ensure -C there", "-C there ensure", "ensure --directory=there", "ensure"])
def test_a_command_line_that_cannot_be_used_replaces_no_file_of_the_project(reported: Path, line: str) -> None:
    folder = reported / ("there" if "there" in line else "")
    precious = [folder / name for name in ("stacks/prod.yaml", "Pulumi.yaml", ".scaler/prod.json")]
    for path in precious:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    files = zip(("json-file", "dotenv", "summary"), precious, strict=True)
    assert main([*line.split(), "--no-such-option", *(f"--{kind}={path}" for kind, path in files)]) == ExitCode.USAGE
    assert [path.read_text() for path in precious] == ["precious"] * 3
    assert outputs_of(reported / "github")["error"] == "usage"


_EARLY = """
import os, signal, sys
from scaler import __main__ as process

def mask(*arguments, real=signal.pthread_sigmask):
    before = real(*arguments)
    if arguments[0] == signal.SIG_BLOCK:
        os.kill(os.getpid(), signal.SIGTERM)
    return before

signal.pthread_sigmask = mask
process.start()
"""


def test_a_signal_while_modules_are_loaded_is_reported(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _EARLY, "ensure", "3", "--yes", "--json-file", "report.json"]
    done = subprocess.run(words, env=CLEAN, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (143, "Interrupted.")
    assert json.loads((tmp_path / "report.json").read_text())["error"]["code"] == "interrupted"


def test_what_is_under_way_at_a_signal_is_said_with_the_commands_own_way_on(tmp_path: Path) -> None:
    starting, gone = server("prod-worker-2", Status.STARTING, id="2"), server("prod-worker-3", Status.DELETED, id="3")
    StateFile(tmp_path, "prod").save(state(server(id="1"), starting, gone))
    before = state(server(id="1"), server("prod-worker-3", id="3"))
    begun = {"prod": Begun(folder=tmp_path, way_on="A new plan goes on.", looks=False, before=before)}
    error = interruption(Terminated(), begun)
    assert (error.why, error.fix, error.exit_code) == ("1 server is on its way", "A new plan goes on.", 143)
    told = outputs(error, 143, left_by(begun))
    assert [told[name] for name in ("changed", "before", "ready", "created", "deleted", "pending")] == [
        *("true", "2", "1", "1", "1", "1"),
    ]
    both = {**begun, "empty": Begun(folder=tmp_path, way_on="A new plan goes on.", looks=False)}
    error = interruption(None, both)
    assert (error.why, error.fix) == ("prod: 1 server is on its way", "A new plan goes on.")
    assert outputs(error, 130, left_by(both))["stack"] == "prod,empty"


def test_a_run_that_has_changed_nothing_claims_nothing_at_a_signal(tmp_path: Path) -> None:
    StateFile(tmp_path, "prod").save(state(server(id="1"), server("prod-worker-2", Status.STARTING, id="2")))
    looked = {"prod": Begun(folder=tmp_path, way_on=SAME_COMMAND, looks=True)}
    error = interruption(Terminated(), looked)
    assert (error.why, error.fix) == ("", "")
    told = outputs(error, 143, left_by(looked))
    assert [told[name] for name in ("changed", "before", "created", "deleted")] == ["false", "2", "0", "0"]


def test_how_to_go_on_is_said_by_what_the_run_has_recorded(tmp_path: Path) -> None:
    before = StateFile(tmp_path, "prod").save(state(server(id="1")))
    begun = {"prod": Begun(folder=tmp_path, way_on=SAME_COMMAND, looks=False, before=before)}
    assert as_sentence(interruption(Terminated(), begun)) == f"Interrupted. {SAME_COMMAND}"
    StateFile(tmp_path, "prod").save(state())
    assert as_sentence(interruption(Terminated(), begun)) == f"Interrupted. {LOOK}", "a repeat would remove another one"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("-o json", "json"),
        ("-ojson", "json"),
        ("-yo json", "json"),
        ("-vvojson", "json"),
        ("--output json", "json"),
        ("--output=json", "json"),
        ("-o yaml ensure -o json", "json"),
        ("ensure -- -o json", None),
        ("ensure -o", None),
        ("ensure --output-json yaml", None),
        ("ensure -s prod-o json", None),
    ],
)
def test_the_value_of_an_option_is_found_in_any_command_line(line: str, value: str | None) -> None:
    assert last_value(line.split(), "-o", "--output") == value


def test_a_reader_that_goes_away_is_no_noise() -> None:
    body = "for _ in range(100_000): print('x' * 100)"
    with subprocess.Popen(probe_command(body), env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 1


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">/dev/full", 1, "why: standard output: No space left on device"),
        (">&-", 0, ""),
        ("<&-", 0, ""),
        ("2>&-", 0, ""),
        ("2>/dev/full", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
    ],
)
def test_streams_that_are_closed_or_full_are_no_internal_errors(redirection: str, code: int, said: str) -> None:
    words = [*probe_command("print('x' * 100_000); print(context.interactive)")]
    shell = ["sh", "-c", f'"$@" {redirection}', "sh", *words]
    done = subprocess.run(shell, env=CLEAN, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "internal" not in done.stderr


def test_output_that_a_stream_cannot_encode_is_replaced() -> None:
    done = subprocess.run(
        probe_command("print('20 → 30')"),
        env={**CLEAN, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, b"20 ? 30\n")


def test_output_to_a_pipe_that_does_not_wait_is_whole() -> None:
    """Whoever shares the pipe may have made it non-blocking."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen(probe_command("print('x' * 1_000_000)"), env=CLEAN, stdout=writer) as process:
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            assert len(file.read()) == 1_000_001
        assert process.wait(timeout=30) == 0


# ---------------------------------------------------------------------------------------------
# The common options


def context_of(*arguments: str, **environ: str) -> Context:
    """What a command `look` is handed for this command line."""

    @click.group()
    @declare_common_options
    def group() -> None: ...

    @group.command()
    @common_options
    def look(context: Context) -> Context:
        return context

    with pytest.MonkeyPatch.context() as patch:
        for name in ("SCALER_STACK", "SCALER_STATE_DIR", "NO_COLOR", "FORCE_COLOR"):
            patch.delenv(name, raising=False)
        for name, value in environ.items():
            patch.setenv(name, value)
        context = group.main(list(arguments), standalone_mode=False)
    assert isinstance(context, Context)
    return context


@pytest.mark.parametrize(
    "arguments",
    [
        ["look", "--stack", "demo", "-o", "json", "-vv", "--debug"],
        ["--stack", "demo", "-o", "json", "-vv", "--debug", "look"],
        ["-s", "demo", "--debug", "look", "-ojson", "-vv"],
    ],
)
def test_options_count_before_and_after_the_command(arguments: list[str]) -> None:
    context = context_of(*arguments)
    assert (context.stack, context.output, context.verbosity, context.debug) == ("demo", Output.JSON, 2, True)


def test_the_option_nearer_to_the_end_wins() -> None:
    assert context_of("--stack", "one", "look", "--stack", "two").stack == "two"


def test_a_flag_before_the_command_wins_over_the_environment() -> None:
    assert context_of("look", SCALER_STACK="env").stack == "env"
    assert context_of("--stack", "flag", "look", SCALER_STACK="env").stack == "flag"


def test_quiet_is_a_verbosity_below_normal() -> None:
    assert context_of("look").verbosity == 0
    assert context_of("-q", "look").verbosity == -1


def test_the_state_folder_belongs_to_the_project_folder(tmp_path: Path) -> None:
    assert context_of("-C", str(tmp_path), "look").state_dir == tmp_path / ".scaler"
    assert context_of("-C", str(tmp_path), "--state-dir", "s", "look").state_dir == tmp_path / "s"
    assert context_of("-C", str(tmp_path), "look", SCALER_STATE_DIR="/var/s").state_dir == Path("/var/s")


@pytest.mark.parametrize(
    ("arguments", "environ", "color"),
    [
        ([], {}, "auto"),
        ([], {"NO_COLOR": "1"}, "never"),
        ([], {"NO_COLOR": ""}, "auto"),
        ([], {"FORCE_COLOR": "1"}, "always"),
        ([], {"FORCE_COLOR": "0"}, "auto"),
        ([], {"NO_COLOR": "1", "FORCE_COLOR": "1"}, "never"),
        (["--color", "always"], {"NO_COLOR": "1"}, "always"),
        (["--color", "auto"], {"NO_COLOR": "1"}, "auto"),
    ],
)
def test_colour_is_flag_then_no_color_then_force_color(
    arguments: list[str], environ: dict[str, str], color: str
) -> None:
    assert context_of("look", *arguments, **environ).color == color


@pytest.mark.parametrize(("ci", "asked"), [("", "True"), ("true", "False")])
def test_a_person_is_asked_only_on_a_terminal_outside_ci(ci: str, asked: str) -> None:
    terminal, theirs = pty.openpty()
    command = probe_command("print(context.interactive)")
    done = subprocess.run(
        command,
        env={**CLEAN, "CI": ci},
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(theirs)
    os.close(terminal)
    assert done.stdout.strip() == asked


def test_nobody_is_asked_without_a_terminal() -> None:
    assert run_probe("print(context.interactive)").stdout.strip() == "False"


def test_dumb_terminals_get_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, theirs = pty.openpty()
    options = dict.fromkeys(("stack", "state_dir", "color")) | {
        "directory": ".", "output": "text", "quiet": False, "verbose": 0, "debug": False,
    }  # fmt: skip
    context = make_context(options, {})
    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setenv("TERM", "xterm")
        assert context.colored(stream)
        monkeypatch.setenv("TERM", "dumb")
        assert not context.colored(stream)
    os.close(terminal)


# ---------------------------------------------------------------------------------------------
# Arguments and variables that are none: neither quoted at length nor obeyed

SECRET = "hunter2" * 10


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (("validate", f"--{SECRET}\n::stop-commands::x\x1b]0;owned\x07"), {}),
        ((f"{SECRET}\n::stop-commands::x",), {}),
        ((f"--{SECRET}",), {}),
        (("status", "-o", SECRET), {}),
        (("status", f"--output={SECRET}\nx"), {}),
        (("ensure", SECRET, "--yes"), {}),
        (("ensure", f"{SECRET}=5", "--yes"), {}),
        (("ensure", f"worker=-{SECRET}", "--yes"), {}),
        (("reboot", "--group", SECRET, "--yes"), {}),
        (("ensure", "--yes", "--stack", SECRET), {}),
        (("status", "--refresh"), {"SCALER_HTTP_TIMEOUT": SECRET}),
        (("autoscale", "--watch", "60s", "--metrics-listen", SECRET), {}),
    ],
)
def test_an_argument_that_is_none_is_not_obeyed(
    tmp_path: Path, arguments: tuple[str, ...], environ: dict[str, str]
) -> None:
    assert run("init", "-C", str(tmp_path)).returncode == 0
    if environ:
        spec = tmp_path / "stacks" / "dev.yaml"
        spec.write_text(spec.read_text().replace("endpoint: embedded", "endpoint: http://127.0.0.1:9"))
        environ = {**environ, "HCLOUD_TOKEN": "t" * 64}
    done = run(*arguments, "-C", str(tmp_path), **environ)
    assert done.returncode == 64, done.stderr
    said = done.stdout + done.stderr
    assert all(line.isprintable() for line in said.splitlines())
    assert not any(line.startswith("::") for line in said.splitlines())
    assert SECRET not in said


@pytest.mark.parametrize("output", ["text", "json"])
def test_the_words_of_an_error_are_bounded(output: str) -> None:
    done = run_probe("raise LockedError('The stack is locked.', why='x' * 10_000_000)", "-o", output)
    assert done.returncode == 5
    assert len(done.stdout + done.stderr) < 25_000
