"""What the engine would start of others', and what it says of the project's files. No engine runs here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scaler.config.spec import load
from scaler.engine.backend import LocalBackend
from scaler.engine.explanations import in_our_words
from scaler.engine.stack import PulumiStack
from scaler.support.clock import SystemClock
from tests.config.spec_files import spec_with

START = "urn:pulumi:demo::scaler::"
OURS = f"{START}scaler:index:ServerGroup$hcloud:index/server:Server::demo-worker-1"
PROVIDER = f"{START}pulumi:providers:hcloud::default_1_43_3"


def resource(urn: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"urn": urn, "type": kind, "custom": True, "id": "1", "inputs": {}, "outputs": {}, **more}


@pytest.mark.parametrize(
    ("added", "is_foreign"),
    [
        (resource(PROVIDER, "pulumi:providers:hcloud", inputs={"__internal": {}, "version": "1.43.3"}), False),
        (resource(OURS, "hcloud:index/server:Server", provider=f"{PROVIDER}::a217"), False),
        (resource(f"{START}pulumi:providers:evil::default", "pulumi:providers:evil"), True),
        (
            resource(
                PROVIDER,
                "pulumi:providers:hcloud",
                inputs={"__internal": {"pluginDownloadURL": "https://evil.example"}},
            ),
            True,
        ),
        (resource(OURS, "hcloud:index/server:Server", provider=f"{START}pulumi:providers:evil::default::a2"), True),
        (resource(f"{START}scaler:index:ServerGroup$evil:index:Thing::x", "evil:index:Thing"), True),
        (resource(OURS, "evil:index:Thing"), True),
        (resource(OURS, "evil:index:Thing", delete=True), True),
    ],
)
def test_a_plugin_of_others_is_foreign(tmp_path: Path, added: dict[str, Any], is_foreign: bool) -> None:
    """A run stops at what is foreign before any engine process, which would start the plugin."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "demo.yaml").write_text(spec_with("min: 0")[0])
    backend = LocalBackend(tmp_path / ".pulumi", "scaler", "demo")
    path = backend.root / "stacks" / "scaler" / "demo.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": [added]}}}))

    def no_engine() -> Any:
        raise AssertionError

    nothing: Any = None
    spec = load(tmp_path / "stacks" / "demo.yaml", "scaler")
    read = PulumiStack(spec, no_engine, backend, nothing, SystemClock()).read()
    assert read.foreign == ((added["urn"],) if is_foreign else ())


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ('error: Pulumi CLI version 3.274.1 does not satisfy the version range ">=4.0.0"', "requiredPulumiVersion"),
        (
            "error: validating stack config: Stack 'demo' is missing configuration value 'size'",
            "'size' in its `config`",
        ),
        ("error: validating stack config: Stack 'demo' with configuration key 'a' must be of type 'integer'", "type"),
        (
            "error: getting stack configuration: opening environment: backend vm does not support environments; Pulumi"
            " ESC environments require the Pulumi Cloud backend, use `pulumi login` without arguments",
            "`environment`",
        ),
    ],
)
def test_what_the_engine_says_of_the_project_s_files_is_explained(said: str, named: str) -> None:
    """The sentences are those of Pulumi 3.274.1."""
    words = in_our_words(said)
    assert named in words
    assert "Pulumi." in words
    assert not words.startswith("error")


def test_other_words_of_the_engine_stay() -> None:
    assert in_our_words("error: something else") == "error: something else"
