"""What is wrong with a cloud-init document that no server can use. Pure.

Source of the rules: cloud-init (cloudinit/handlers/__init__.py): a document's kind is told by how it begins,
after white space, in any case of letters. A script is written to a file as it is, and run by the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from email import message_from_string

import yaml

_KINDS = (
    "#!",
    "#cloud-config",
    "#cloud-boothook",
    "#include",
    "#part-handler",
    "#upstart-job",
    "## template:",
    "#template:",
    "content-type:",
    "mime-version:",
    "from ",
)
"""How documents begin that cloud-init understands. `#cloud-config-archive` and `#include-once` are among them."""

_OTHER_KINDS = ("{", "version:", "variant:", "apiVersion:", "---")
"""How documents of other systems begin: Ignition, Talos and the like."""

_MISSPELT = re.compile(r"#\s+cloud-config\b|#cloud_config\b|#?cloudconfig\b|cloud-config\b", re.IGNORECASE)


_TAGS = (
    "tag:yaml.org,2002:str",
    "tag:yaml.org,2002:seq",
    "tag:yaml.org,2002:map",
    "tag:yaml.org,2002:b",
    "tag:yaml.org,2002:int",
    "tag:yaml.org,2002:float",
    "tag:yaml.org,2002:null",
    "tag:yaml.org,2002:t",
)
"""What YAML's safe types begin with; cloud-init loads no others."""


def cloud_init_problem(text: str) -> tuple[str, str]:
    """Return what makes a document useless, as a predicate with its line, and the fix; both empty if nothing does."""
    if text.startswith("\ufeff"):
        return "begins with a byte order mark (line 1), so no server knows what it is", "save it as UTF-8 without BOM"
    if "\0" in text:
        return f"has a NUL character in line {_line_at(text, text.index(chr(0)))}", "remove it"
    start = text.lstrip().lower()
    if start.startswith("#!"):
        return _script_problem(text)
    if start.startswith("#cloud-config") and not start.startswith("#cloud-config-archive"):
        return _config_problem(text)
    if start.startswith(("content-type:", "mime-version:")):
        return _multipart_problem(text)
    return _header_problem(text)


def has_known_kind(text: str) -> bool:
    """Return whether cloud-init, or a system that is known to read user data, understands how a document begins."""
    start = text.lstrip().lower()
    return not start or start.startswith((*_KINDS, *map(str.lower, _OTHER_KINDS)))


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
        node = yaml.compose(text, yaml.BaseLoader)
    except yaml.reader.ReaderError as error:
        line = _line_at(text, error.position)
        return f"is no valid cloud-config: line {line} has a character that YAML does not allow", "remove it"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = error.problem or "not understood"
        return f"is no valid cloud-config: line {mark.line + 1 if mark else 1}: {words}", "correct the YAML"
    except RecursionError:
        return "is no valid cloud-config: it is nested too deep", ""
    if node is not None and not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1
        return f"is no valid cloud-config: line {line}: it must be a mapping of keys to values", ""
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
    """Find a key that is there twice, of which cloud-init takes the last, and a tag that it refuses."""
    seen: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = str(key.value)  # A key may be a list, too.
        if name in seen:
            return f"has a key twice (line {line}), and servers only see the last one", "join the two"
        seen.add(name)
        if isinstance(value.tag, str) and not value.tag.startswith(_TAGS):
            return f"is no valid cloud-config: line {line}: servers know no YAML tag of its own", "remove the tag"
    return "", ""


def _header_problem(text: str) -> tuple[str, str]:
    """Find a header that was meant and is not seen: misspelt, or not at the beginning."""
    if has_known_kind(text):
        return "", ""
    for number, line in enumerate(text.splitlines()[:20], start=1):
        if line.startswith("#cloud-config"):
            return f"has #cloud-config in line {number}, and servers look for it in the first", "move it to the top"
        if number == 1 and _MISSPELT.match(line):
            return "begins with a header that servers do not know (line 1)", "write #cloud-config"
    return "", ""


def _line_at(text: str, position: int) -> int:
    return 1 + text.count("\n", 0, position)
