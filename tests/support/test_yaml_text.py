"""Whatever is wrong with YAML, it is one kind of error, with its line and without its values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.support.yaml_text import EndlessYamlError, YamlError, compose, load, text_of

SECRET = "hunter2" * 20

NONE_AT_ALL = [
    'ok: 1\na: "\\U00110000"\n',
    'ok: 1\na: "\\UFFFFFFFF"\n',
    f"\n%YAML 1.{'9' * 5000}\n---\na: 1\n",
    f"ok: 1\na: *{SECRET}\n",
    f"ok: 1\na: !{SECRET}!x y\n",
    f"ok: 1\na: !<{SECRET}\n",
    'ok: 1\na: "\\q"\n',
    "ok: 1\n\ta: 1\n",
    "ok: 1\na: \x07\n",
]
BUILT_TO_NONE = [
    f"ok: 1\na: {'9' * 5000}\n",
    "ok: 1\na: 2026-02-30\n",
    "ok: 1\na: 2026-01-01T00:00:00+99:99\n",
    "ok: 1\na: !!timestamp noon\n",
    'ok: 1\na: !!int ""\n',
    "ok: 1\na: !!bool maybe\n",
    "ok: 1\n{}: 1\n",
    "ok: 1\na: !!python/object/apply:os.system [x]\n",
    f"ok: 1\na: !{SECRET} x\n",
]


@pytest.mark.parametrize("text", NONE_AT_ALL)
def test_what_is_no_yaml_is_an_error_with_its_line(text: str) -> None:
    for read in (compose, load):
        with pytest.raises(YamlError) as caught:
            read(text)
        assert caught.value.line == 2
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", BUILT_TO_NONE)
def test_a_value_of_no_type_is_an_error_with_its_line(text: str) -> None:
    assert len(compose(text)) == 1
    with pytest.raises(YamlError) as caught:
        load(text)
    assert caught.value.line == 2
    assert SECRET not in str(caught.value)


def test_a_text_of_other_characters_is_an_error_with_its_line() -> None:
    with pytest.raises(YamlError, match="line 2: not UTF-8 text"):
        text_of(b"ok: 1\na: \xff\n")
    assert text_of(b"\xef\xbb\xbfa: 1") == "a: 1"


def test_merges_of_merges_end() -> None:
    levels = [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], k{n}: 1}}" for n in range(1, 12)]
    # Older versions of PyYAML would build 9 to the power of 11 pairs; newer ones keep one of each.
    try:
        assert len(load("\n".join(["a0: &a0 {k: 1}", *levels]))["a11"]) == 12
    except EndlessYamlError as error:
        assert error.line == 1


@given(st.text(max_size=60), st.sampled_from(("{}", '"\\{}"', "!{} x", "!!{} x", "&{} [*{}]", "%{}", "? {}", "<<: {}")))
def test_no_text_raises_anything_else(text: str, form: str) -> None:
    for read in (compose, load):
        try:
            read(form.replace("{}", text))
        except YamlError as error:
            assert error.line > 0
