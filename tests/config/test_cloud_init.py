"""User data that no server can use is refused with its line, before a server is paid for."""

from pathlib import Path

import pytest

from scaler.config.schema.cloud_init import cloud_init_problem, has_known_kind
from scaler.config.spec import load
from scaler.errors import InvalidSpecError
from tests.config.spec_files import write

SPEC = "cloud: hetzner\ngroups: {worker: {count: 1, image: 1, type: cx23, location: fsn1, user_data: init}}"

PARTS = "Content-Type: multipart/mixed; boundary=x\n\n--{}\nContent-Type: text/{}\n\n{}\n--x--\n"

USELESS = [
    ("\ufeff#cloud-config\nruncmd: [a]\n", "byte order mark (line 1)"),
    ("#!/bin/sh\r\necho hello\r\n", "Windows line ends (line 1)"),
    ("#!/bin/sh\necho one\necho two\r\n", "Windows line ends (line 3)"),
    ("\n#!/bin/sh\necho\n", "not at its very beginning"),
    ("#cloud-config\nruncmd:\n  - a\0b\n", "NUL character in line 3"),
    ("#cloud-config\nruncmd:\n  - [a\nwrite_files: []\n", "no valid cloud-config: line 4"),
    ("#cloud-config\npackages:\n\t- nginx\n", "no valid cloud-config: line 3"),
    ("#cloud-config\n- a\n- b\n", "line 2: it must be a mapping"),
    ("#cloud-config\njust words\n", "line 2: it must be a mapping"),
    ("#cloud-config\na: \x07\n", "line 2: invalid YAML: a character"),
    ("#cloud-config\nruncmd: [a]\npackages: [b]\nruncmd: [c]\n", "has a key twice (line 4)"),
    ("#cloud-config\nruncmd: !!python/object x\n", "line 2: invalid YAML: a tag that only some programs know"),
    ("#cloud-config\nruncmd: !ours [a]\n", "line 2: invalid YAML: a tag"),
    ("#cloud-config\nruncmd:\n- !!python/object/apply:os.system [id]\n", "line 3: invalid YAML: a tag"),
    ("#cloud-config\nwrite_files: [{path: !ours x}]\n", "line 2: invalid YAML: a tag"),
    ('#cloud-config\na: "\\U00110000"\n', "line 2: invalid YAML"),
    ("#cloud-config\na: 2026-02-30\n", "line 2: invalid YAML"),
    ("#cloud-config\n? [a]\n: b\n", "line 2: invalid YAML: a list or mapping as a key"),
    ("#cloud-config\na: 1\n---\nb: 1\n", "line 3: invalid YAML"),
    ("#cloud-config\nruncmd: {a: b}\n", "has no list in runcmd (line 2)"),
    ("#cloud-config\nbootcmd: reboot\n", "has no list in bootcmd (line 2)"),
    ("#cloud-config\nwrite_files:\n  path: /x\n", "has no list in write_files (line 3)"),
    ("#cloud-config\nruncmd:\n  - echo a\n  - echo b: c\n", "has a mapping in runcmd (line 4)"),
    ("#!bin/sh\necho\n", "names no program by its whole path (line 1)"),
    ("#!\necho\n", "names no program by its whole path (line 1)"),
    ("# cloud-config\nruncmd: [a]\n", "header that servers do not know (line 1)"),
    ("cloud-config\nruncmd: [a]\n", "header that servers do not know (line 1)"),
    ("Content-Type: multipart/mixed; boundary=x\n", "servers find no part"),
    ("".join(f"Content-Type: multipart/x; boundary={n}\n\n--{n}\n" for n in range(3000)), "nested too deep"),
    (PARTS.format("y", "cloud-config", "a: 1\n"), "servers find no part"),
    (PARTS.format("x", "cloud-config", "- a\n"), "a part 1 that is no valid cloud-config: line 1"),
    (PARTS.format("x", "x-shellscript", "echo\n"), "a part 1 that is a script that does not begin with #!"),
    ("Mime-Version: 1.0\n" + PARTS.format("x", "x-shellscript", "#!/bin/sh\n\techo\r\n"), "Windows line ends"),
    ("#cloud-config\nwrite_files:\n- content: a\n", "a file without a path in write_files (line 3)"),
    ("#cloud-config\nwrite_files:\n- path: /a\n- path:\n", "a file without a path in write_files (line 4)"),
    ("#cloud-config\nwrite_files: [/a]\n", "a file without a path in write_files (line 2)"),
    ("#cloud-config-archive\n- [a\n", "no valid cloud-config-archive: line 3"),
    ("#cloud-config-archive\ntype: text/cloud-config\n", "it must be a list of parts"),
    ("#cloud-config-archive\n- [a]\n", "a part 1 without a text"),
    ("#cloud-config-archive\n- content: |\n    runcmd: {a: b}\n", "a part 1 that has no list in runcmd (line 1)"),
    ("#cloud-config-archive\n- 'a: 1'\n- {type: text/x-shellscript, content: echo}\n", "a part 2 that is a script"),
    ('#cloud-config-archive\n- "#!/bin/sh\\r\\n"\n', "a part 1 that is a script with Windows line ends"),
    ("#cloud-config-archive\n- '#include'\n", "a part 1 that includes nothing"),
    ("#include\n", "it names no URL"),
    ("#include-once\n# https://example.com/later\n\n", "it names no URL"),
    ("#include\nhttps://example.com/a\nexample words\n", "includes what is no URL (line 3)"),
    ("#cloud-boothook\r\n#!/bin/sh\r\necho\r\n", "Windows line ends (line 2)"),
    ("#cloud-boothook\n\n#!/bin/sh\necho\necho\r\n", "Windows line ends (line 5)"),
    ("#cloud-boothook\necho\n", "a script that does not begin with #!"),
    ("#cloud-boothook\r\necho\r\n", "a script that does not begin with #!"),
    ("#part-handler\nimport (\n", "is a part handler that is no Python (line 2)"),
    ("#cloud-config\npackages: {a: b}\n", "has a mapping in packages (line 2)"),
    ("## template: jinja\n#cloud-config\na: {{ v\n", "a template with a {{ without its end (line 3)"),
    ("## template: jinja\n#cloud-config\n{% if a %}\nb: c\n", "a {% if %} without its end (line 3)"),
    ("## template: jinja\n#cloud-config\n{% for a in b %}\n{% endif %}\n", "a {% endif %} where none belongs (line 4)"),
    ("## template: jinja\n#cloud-config\na: {% ours %}\n", "a word that jinja does not know (line 3)"),
    ("## template: jinja\n#cloud-config\na: {{ }}\n", "with nothing in it (line 3)"),
    ("## template: jinja\n#!/bin/sh\necho ${#a[@]}\n", "a {# without its end (line 3)"),
    ("## template: jinja\n#cloud-config\n{% raw %}\n{{\n", "a {% raw %} without its end (line 3)"),
    ("## template: jinja\r\n#!/bin/sh\r\necho\r\n", "Windows line ends (line 2)"),
    ("## template: jinja\njust words\n", "is a template of what servers do not know"),
    (PARTS.format("x", "cloud-boothook", "echo\n"), "a part 1 that is a script that does not begin with #!"),
    (PARTS.format("x", "x-include-url", "\n"), "a part 1 that includes nothing"),
    ("# yaml-language-server: x\n#cloud-config\nruncmd: [a]\n", "has #cloud-config in line 2"),
]
FINE = [
    "#cloud-config",
    "#cloud-config\nruncmd: [a]\n",
    "#cloud-config\r\nruncmd: [a]\r\n",
    "#Cloud-Config\nruncmd: [a]\n",
    "\n\n#cloud-config\nruncmd: [a]\n",
    "#!/bin/sh\nexec true\n",
    "#cloud-config\nruncmd:\nwrite_files: ~\nbootcmd: [[a, b], c]\npackages: nginx\nusers: {a: b}\n",
    "#! /usr/bin/env bash\nexec true\n",
    "#cloud-config\na: !!binary eA==\nb: !!str 1\nc: {d: e}\nf: [1]\ng: 1.5\nh: 2026-01-01\ni:\n",
    "#cloud-config-archive\n- type: text/cloud-config\n",
    "#cloud-config-archive\n- |\n  #!/bin/sh\n- runcmd: [a]\n  content: 'a: 1'\n- type: image/png\n  content: x\n",
    "#cloud-config-archive",
    "#cloud-config\na: &a {path: /x}\nwrite_files:\n- {<<: *a, content: b}\n- {path: /y}\n<<: {a: 1}\n",
    "#include https://example.com/a\n#include-once\nfile:///b\n/c\n",
    "#cloud-boothook\n#!/bin/sh\nexec true\n",
    "#part-handler\n\ndef list_types():\n    return ['text/plain', '\\d']\n",
    "## template: jinja\r\n#cloud-config\r\nruncmd: [a]\r\n",
    "## template: jinja\n{# a #}\n#cloud-config\n{% if a -%}b: {{ c['}}'] }}{%- elif d %}{% else %}{% endif %}\n"
    "{% set e = 1 %}{% set f %}g{% endset %}{% raw %}{{ {% {% endraw %}{% for h in i %}{{ h }}{% endfor %}\n",
    "## template: basic\n#cloud-config\na: {{\n",
    "## template: jinja\n#cloud-config\nruncmd: [{{ v }}]\n",
    "#include\nhttps://example.com/init\n",
    PARTS.format("x", "cloud-config", "runcmd: [a]\n"),
    PARTS.format("x", "x-shellscript", "#!/bin/sh\nexec true\n"),
    PARTS.format("x", "x-include-url", "https://example.com/init\n"),
    '{"ignition": {"version": "3.3.0"}}',
    "version: v1alpha1 # Talos\n",
    "",
]


@pytest.mark.parametrize(("text", "words"), USELESS)
def test_what_no_server_can_use(text: str, words: str) -> None:
    problem, _ = cloud_init_problem(text)
    assert words in problem


@pytest.mark.parametrize("text", FINE)
def test_what_servers_can_use(text: str) -> None:
    assert cloud_init_problem(text) == ("", "")
    assert has_known_kind(text)


def test_what_nobody_knows_is_allowed_and_named() -> None:
    """An agent of one's own may read it."""
    assert cloud_init_problem("MY_SETTING=1\n") == ("", "")
    assert not has_known_kind("MY_SETTING=1\n")


def test_the_problem_has_the_spec_s_line_and_the_document_s_but_not_its_text(tmp_path: Path) -> None:
    (tmp_path / "init").write_text("#cloud-config\npassword: hunter2\n  bad: x\n")
    with pytest.raises(InvalidSpecError) as caught:
        load(write(tmp_path, SPEC), "shop")
    (problem,) = caught.value.problems
    assert problem.line == 2
    assert problem.message.startswith("groups.worker.user_data is no valid cloud-config: line 3: ")
    assert "hunter2" not in problem.message
