"""Texts from outside, made fit to be shown."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.commands.context import Output
from scaler.commands.document import dump
from scaler.commands.failure import as_text
from scaler.commands.github import annotate_error
from scaler.errors import ScalerError
from scaler.output.table import markdown_text
from scaler.support.text import last_line_of, named, one_line, quoted, visible

ESCAPES = "\x1b]0;owned\x07 \x1b[2J \x9b31m \x00 \r\n \u202e"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred", r"a\x1b[31mred"),
        ("title\x1b]0;x\x07", r"title\x1b]0;x\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202eb", r"a\u202eb"),
        ("one\ntwo\tthree", "one two three"),
        ("::add-mask::x", ": :add-mask::x"),
        (" \n ::stop-commands::x", ": :stop-commands::x"),
        ("x ##[error]y ##vso[task.x]", "x # #[error]y # #vso[task.x]"),
        ("2a01:4f8::1", "2a01:4f8::1"),
        ("# Grüße, 世界", "# Grüße, 世界"),
    ],
)
def test_what_controls_something_is_visible(text: str, shown: str) -> None:
    assert one_line(text) == shown
    assert last_line_of(text, 500) == shown


@given(st.text())
def test_nothing_is_left_that_a_terminal_or_a_ci_system_obeys(text: str) -> None:
    for line in visible(text).split("\n"):
        assert line.isprintable()
        assert not line.lstrip().startswith("::")
        assert not re.search(r"##\w*\[", line)
    assert "\n" not in one_line(text)


def test_a_text_is_bounded() -> None:
    assert len(one_line("x" * 1_000_000, 500)) == 501
    assert last_line_of("x" * 1_000_000 + "end", 500).endswith("end")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("short", "'short'"),
        ("#cloud-config\npassword: hunter2", "a text of 2 lines"),
        ("t0k3n" * 13, "a text of 65 characters"),
        ("\x1b[2J", r"'\x1b[2J'"),
        ("trailing\n", r"'trailing" + "\n'"),
        ("#cloud-config password: x", "a text of 25 characters"),
        ("#!/bin/sh curl -u me:x h", "a text of 24 characters"),
        ("password=hunter2", "a text of 16 characters"),
        ('{"token": "hunter2"}', "a text of 20 characters"),
        ("Bearer hunter2", "a text of 14 characters"),
        ("password", "'password'"),
        ("token_env", "'token_env'"),
        ("https://hooks.example/T0/B0/x", "'https://hooks.example/…'"),
        ("see https://hooks.example?t=x", "'see https://hooks.example/…'"),
        ("redis://me:hun/ter2@cache", "'redis://…'"),
        ("https://api.example:8443", "'https://api.example:8443'"),
        ("file:///srv/state", "'file:///srv/state'"),
        ("::ffff:192.0.2.1", "'::ffff:192.0.2.1'"),
        ("##[error]x", "'# #[error]x'"),
    ],
)
def test_values_that_may_be_documents_or_secrets_are_not_quoted(value: str, shown: str) -> None:
    assert quoted(value) == shown


def test_names_and_paths_are_quoted_up_to_a_length_that_tokens_exceed() -> None:
    assert named("stacks/worker.cloud-init.yaml") == "stacks/worker.cloud-init.yaml"
    assert named("t" * 64) == "a text of 64 characters"


def test_an_error_is_printed_without_what_it_could_control() -> None:
    error = ScalerError(f"bad {ESCAPES}", why=f"first\n::add-mask::secret\n{ESCAPES}\n" + "more\n" * 100, fix="none")
    text = as_text(error)
    assert [line for line in text.split("\n") if not line.isprintable() or line.lstrip().startswith("::")] == []
    assert text.count("\n") < 60
    assert "more lines" in text
    (annotation,) = annotate_error(error, {})
    assert annotation.isprintable()
    assert annotation.startswith("::error ")


@pytest.mark.parametrize("output", [Output.JSON, Output.YAML])
def test_a_document_escapes_what_a_terminal_obeys_and_keeps_its_value(output: Output) -> None:
    text = dump({"why": "\x9b2J \x7f \u202e ü"}, output)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    if output is Output.JSON:
        assert json.loads(text)["why"] == "\x9b2J \x7f \u202e ü"


def test_markdown_gets_neither_html_nor_links_nor_images_nor_more_cells() -> None:
    text = markdown_text("<b>x</b> | ![i](https://evil.example/x.png) [l](https://evil.example)\n# head")
    assert text == r"&lt;b>x&lt;/b> \| ![i]\(https://evil.example/x.png) [l]\(https://evil.example) # head"
