"""What is wrong with a cloud-init document that no server can use. Pure.

Source of the rules: cloud-init. A document's kind is told by how it begins (`scaler.config.user_data_kinds`). A
script is written to a file as it is, and run by the kernel. A cloud-config is read by PyYAML's safe loader.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Mapping
from email import message_from_string

import yaml

from scaler.config.schema.jinja import jinja_problem
from scaler.config.user_data_kinds import KINDS, OTHER_KINDS, beginning_of, misplaced_header
from scaler.support.yaml_text import YamlError, checked_node, load

Check = Callable[[str], tuple[str, str]]
"""Returns what is wrong with a document, and the fix; both empty if nothing is."""

_MISSPELT = re.compile(r"#\s+cloud-config\b|#cloud_config\b|#?cloudconfig\b|cloud-config\b", re.IGNORECASE)


_LISTS = frozenset({"bootcmd", "mounts", "runcmd", "ssh_authorized_keys", "write_files"})
"""Keys whose value must be a list, else the servers leave the whole key out (cloudinit/config/cc_*.py)."""

_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*://.|/", re.IGNORECASE)
"""What servers can include: a URL, or a file of theirs."""

_COMMANDS = frozenset({"bootcmd", "runcmd"})
"""Keys with commands: each is a text or a list of words (cloudinit/util.py: shellify)."""


def cloud_init_problem(text: str) -> tuple[str, str]:
    """Return what makes a document useless, as a predicate with its line, and the fix; both empty if nothing does."""
    if text.startswith("\ufeff"):
        return "begins with a byte order mark (line 1), so no server knows what it is", "save it as UTF-8 without BOM"
    if "\0" in text:
        return f"has a NUL character in line {_line_at(text, text.index(chr(0)))}", "remove it"
    start = beginning_of(text)
    check = next((check for kind, check in _CHECKS.items() if start.startswith(kind)), _header_problem)
    return check(text)


def has_known_kind(text: str) -> bool:
    """Return whether cloud-init, or a system that is known to read user data, understands how a document begins."""
    start = beginning_of(text)
    return not start or start.startswith((*KINDS, *OTHER_KINDS))


def _script_problem(text: str) -> tuple[str, str]:
    if text.lstrip("\ufeff \t\r\n").startswith("#!") and not text.startswith("#!"):
        return "is a script whose #! is not at its very beginning, so no server can run it", "remove what is before it"
    if not text.startswith("#!"):
        return "is a script that does not begin with #!, so no server can run it", "begin it with #!/bin/sh, or such"
    if not re.match(r"#![ \t]*/", text):
        return "is a script whose #! names no program by its whole path (line 1)", "write #!/bin/sh, or such"
    if "\r" in text:
        line = _line_at(text, text.index("\r"))
        return f"is a script with Windows line ends (line {line}), which no server can run", "save it with LF line ends"
    return "", ""


def _config_problem(text: str) -> tuple[str, str]:
    try:
        node = checked_node(text)
    except YamlError as error:
        return f"is no valid cloud-config: {error}", error.fix or "correct the YAML"
    if node is not None and not isinstance(node, yaml.MappingNode):
        return f"is no valid cloud-config: line {_line_of(node)}: it must be a mapping of keys to values", ""
    return ("", "") if node is None else _entry_problem(node)


def _archive_problem(text: str) -> tuple[str, str]:
    """Find a part that servers cannot use, or leave out (cloudinit/user_data.py: _explode_archive)."""
    try:
        parts = load(text)
    except YamlError as error:
        return f"is no valid cloud-config-archive: {error}", error.fix or "correct the YAML"
    if not isinstance(parts, list | None):
        return "is no valid cloud-config-archive: it must be a list of parts", "write `- content: |` before each part"
    for number, part in enumerate(parts or (), start=1):
        fields = part if isinstance(part, dict) else {"content": part}
        kind, content = fields.get("type"), fields.get("content", "")
        if not isinstance(content, str):
            return f"has a part {number} without a text as its content, which servers leave out", "write `content: |`"
        check = _PART_CHECKS.get(str(kind)) if kind else _check_of_part(content)
        if problem := check and _in_part(number, check(content)):
            return problem
    return "", ""


def _check_of_part(content: str) -> Check:
    """Return the check of a part without a type: servers look at its beginning, and take others for a cloud-config."""
    kinds = {kind: check for kind, check in _CHECKS.items() if check not in (_archive_problem, _multipart_problem)}
    start = beginning_of(content)
    found = next((check for kind, check in kinds.items() if start.startswith(kind)), None)
    return found or (_header_problem if has_known_kind(content) else _config_problem)


def _in_part(number: int, found: tuple[str, str]) -> tuple[str, str] | None:
    problem, fix = found
    return (f"has a part {number} that {problem}; lines are counted in the part", fix) if problem else None


def _include_problem(text: str) -> tuple[str, str]:
    """Find a list of what to include with nothing on it, or with a line that is no URL."""
    named = False
    for number, line in enumerate(text.splitlines(), start=1):
        url = re.sub("^#include(-once)?", "", line, flags=re.IGNORECASE).strip()
        if url and not url.startswith("#"):
            named = True
            if not _ABSOLUTE.match(url):
                return f"includes what is no URL (line {number})", "write one URL in each line"
    return ("", "") if named else ("includes nothing: it names no URL", "write one URL in each line below #include")


def _handler_problem(text: str) -> tuple[str, str]:
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(text)
    except SyntaxError as error:
        return f"is a part handler that is no Python (line {error.lineno or 1}), so servers ignore it", "correct it"
    except (ValueError, RecursionError, MemoryError):
        return "is a part handler that is no Python, so servers ignore it", "correct it"
    return "", ""


def _hook_problem(text: str) -> tuple[str, str]:
    body = re.sub("^#cloud-boothook", "", text.lstrip(), flags=re.IGNORECASE).lstrip()
    return _in_lines_after(text, body, _script_problem(body))


def _template_problem(text: str) -> tuple[str, str]:
    """Find what no server can make of a template; what it becomes depends on the server."""
    header, _, body = text.lstrip().partition("\n")
    if header.partition(":")[2].strip().lower() != "jinja":
        return "", ""
    line, fault = jinja_problem(body)
    if fault:
        return _in_lines_after(text, body, (f"is a template with {fault} (line {line})", "correct it"))
    start = body.lstrip()
    if start.startswith("#!"):
        return _in_lines_after(text, start, _script_problem(start))
    if not has_known_kind(start) and not start.startswith(("{{", "{%", "{#")):
        return "is a template of what servers do not know", "write #cloud-config, or such, below the first line"
    return "", ""


def _in_lines_after(text: str, body: str, found: tuple[str, str]) -> tuple[str, str]:
    """Return a problem of the end of a document with the line in the whole document."""
    before = text.count("\n") - body.count("\n")
    problem, fix = found
    return re.sub(r"line (\d+)", lambda line: f"line {int(line[1]) + before}", problem), fix


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
        if problem := _in_part(number, check(content.decode(errors="replace"))):
            return problem
    return "", ""


def _entry_problem(node: yaml.MappingNode) -> tuple[str, str]:
    """Find a key that is there twice, of which cloud-init takes the last, and a value that it cannot use."""
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            return f"has a key twice (line {_line_of(key)}), and servers only see the last one", "join the two"
        seen.add(key.value)
        if key.value in _LISTS and (isinstance(value, yaml.MappingNode) or _is_text(value)):
            return f"has no list in {key.value} (line {_line_of(value)}), so servers do nothing of it", "write a list"
        if key.value == "packages" and isinstance(value, yaml.MappingNode):
            return f"has a mapping in packages (line {_line_of(value)}), so servers install none", "write a list"
        for item in value.value if isinstance(value, yaml.SequenceNode) else ():
            if key.value in _COMMANDS and isinstance(item, yaml.MappingNode):
                problem = f"has a mapping in {key.value} (line {_line_of(item)}), so servers run none of it"
                return problem, "put a command with `: ` in it in quotes"
            if key.value == "write_files" and not (isinstance(item, yaml.MappingNode) and _names_path(item)):
                return f"has a file without a path in write_files (line {_line_of(item)})", "give it a `path`"
    return "", ""


def _names_path(file: yaml.MappingNode) -> bool:
    return any(key.value == "path" and _is_text(value) for key, value in file.value)


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


_CHECKS: Mapping[str, Check] = {
    "#!": _script_problem,
    "#cloud-config-archive": _archive_problem,
    "#cloud-config": _config_problem,
    "#cloud-boothook": _hook_problem,
    "#include": _include_problem,
    "#part-handler": _handler_problem,
    "## template:": _template_problem,
    "content-type:": _multipart_problem,
    "mime-version:": _multipart_problem,
}
"""By the beginning of a document; the first that fits counts."""

_PART_CHECKS: Mapping[str, Check] = {
    "text/x-shellscript": _script_problem,
    "text/cloud-config": _config_problem,
    "text/cloud-boothook": _hook_problem,
    "text/part-handler": _handler_problem,
    "text/x-include-url": _include_problem,
    "text/x-include-once-url": _include_problem,
    "text/jinja2": _template_problem,
}
"""By the type of a part (cloudinit/handlers)."""
