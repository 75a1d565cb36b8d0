"""What is wrong with a cloud-init document that no server can use. Pure.

Source of the rules: cloud-init. A document's kind is told by how it begins (`scaler.config.user_data_kinds`). A
script is written to a file as it is, and run by the kernel. A cloud-config is read by PyYAML's safe loader.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from email import message_from_string

import yaml

from scaler.config.user_data_kinds import KINDS, OTHER_KINDS, beginning_of, misplaced_header
from scaler.support.yaml_text import YamlError, compose, load

_MISSPELT = re.compile(r"#\s+cloud-config\b|#cloud_config\b|#?cloudconfig\b|cloud-config\b", re.IGNORECASE)


_LISTS = frozenset({"bootcmd", "mounts", "runcmd", "ssh_authorized_keys", "write_files"})
"""Keys whose value must be a list, else the servers leave the whole key out (cloudinit/config/cc_*.py)."""

_COMMANDS = frozenset({"bootcmd", "runcmd"})
"""Keys with commands: each is a text or a list of words (cloudinit/util.py: shellify)."""


def cloud_init_problem(text: str) -> tuple[str, str]:
    """Return what makes a document useless, as a predicate with its line, and the fix; both empty if nothing does."""
    if text.startswith("\ufeff"):
        return "begins with a byte order mark (line 1), so no server knows what it is", "save it as UTF-8 without BOM"
    if "\0" in text:
        return f"has a NUL character in line {_line_at(text, text.index(chr(0)))}", "remove it"
    start = beginning_of(text)
    if start.startswith("#!"):
        return _script_problem(text)
    if start.startswith("#cloud-config") and not start.startswith("#cloud-config-archive"):
        return _config_problem(text)
    if start.startswith(("content-type:", "mime-version:")):
        return _multipart_problem(text)
    return _header_problem(text)


def has_known_kind(text: str) -> bool:
    """Return whether cloud-init, or a system that is known to read user data, understands how a document begins."""
    start = beginning_of(text)
    return not start or start.startswith((*KINDS, *OTHER_KINDS))


def _script_problem(text: str) -> tuple[str, str]:
    if not text.startswith("#"):
        return "is a script whose #! is not at its very beginning, so no server can run it", "remove what is before it"
    if not re.match(r"#![ \t]*/", text):
        return "is a script whose #! names no program by its whole path (line 1)", "write #!/bin/sh, or such"
    if "\r" in text:
        line = _line_at(text, text.index("\r"))
        return f"is a script with Windows line ends (line {line}), which no server can run", "save it with LF line ends"
    return "", ""


def _config_problem(text: str) -> tuple[str, str]:
    try:
        nodes = compose(text)
        load(text)
    except YamlError as error:
        return f"is no valid cloud-config: {error}", error.fix or "correct the YAML"
    node = nodes[0] if nodes else None
    if node is not None and not isinstance(node, yaml.MappingNode):
        return f"is no valid cloud-config: line {_line_of(node)}: it must be a mapping of keys to values", ""
    return ("", "") if node is None else _entry_problem(node)


def _multipart_problem(text: str) -> tuple[str, str]:
    """Find a document of several parts in which servers see none, and a part that they cannot use."""
    try:
        document = message_from_string(text.lstrip())
    except RecursionError:
        return "is a multipart document that is nested too deep", ""
    if document.get_content_maintype() == "multipart" and not document.is_multipart():
        return "is a multipart document in which servers find no part", "write its `boundary` between the parts"
    for number, part in enumerate((part for part in document.walk() if not part.is_multipart()), start=1):
        check, content = _PART_CHECKS.get(part.get_content_type()), part.get_payload(decode=True)
        if check is None or not isinstance(content, bytes):
            continue
        problem, fix = check(content.decode(errors="replace"))
        if problem:
            return f"has a part {number} that {problem}; lines are counted in the part", fix
    return "", ""


_PART_CHECKS: Mapping[str, Callable[[str], tuple[str, str]]] = {
    "text/x-shellscript": _script_problem,
    "text/cloud-config": _config_problem,
}
"""By the part's type (cloudinit/handlers)."""


def _entry_problem(node: yaml.MappingNode) -> tuple[str, str]:
    """Find a key that is there twice, of which cloud-init takes the last, and a value that it cannot use."""
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            return f"has a key twice (line {_line_of(key)}), and servers only see the last one", "join the two"
        seen.add(key.value)
        if key.value in _LISTS and (isinstance(value, yaml.MappingNode) or _is_text(value)):
            return f"has no list in {key.value} (line {_line_of(value)}), so servers do nothing of it", "write a list"
        if key.value in _COMMANDS:
            for command in value.value:
                if isinstance(command, yaml.MappingNode):
                    problem = f"has a mapping in {key.value} (line {_line_of(command)}), so servers run none of it"
                    return problem, "put a command with `: ` in it in quotes"
    return "", ""


def _is_text(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and bool(node.style or node.value not in ("", "~", "null"))


def _line_of(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


def _header_problem(text: str) -> tuple[str, str]:
    """Find a header that was meant and is not seen: misspelt, or not at the beginning."""
    if has_known_kind(text):
        return "", ""
    if _MISSPELT.match(text):
        return "begins with a header that servers do not know (line 1)", "write #cloud-config"
    if number := misplaced_header(text):
        return f"has #cloud-config in line {number}, and servers look for it in the first", "move it to the top"
    return "", ""


def _line_at(text: str, position: int) -> int:
    return 1 + text.count("\n", 0, position)
