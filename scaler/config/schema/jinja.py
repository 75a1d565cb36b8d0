"""What no jinja template may have, as far as that can be told without jinja. Pure.

Source: jinja (lexer.py, parser.py), without line statements, as cloud-init uses it.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""\{\#.*?\#\}
        |\{\{[-+]?(?P<printed>.*?)[-+]?\}\}
        |\{%[-+]?\s*(?P<tag>\w*)(?P<rest>.*?)[-+]?%\}
        |(?P<open>\{[{%\#])""",
    re.DOTALL | re.VERBOSE,
)
_RAW_END = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")

_BLOCKS = frozenset({"if", "for", "macro", "call", "filter", "block", "with", "autoescape"})
_OTHERS = frozenset({"elif", "else", "set", "do", "extends", "include", "import", "from"})


def jinja_problem(text: str) -> tuple[int, str]:
    """Return the line of the first fault and what it is; 0 and nothing if none is seen."""
    position, blocks = 0, []
    while token := _TOKEN.search(text, position):
        line, tag, position = 1 + text.count("\n", 0, token.start()), token["tag"], token.end()
        if token["open"]:
            return line, f"a {token['open']} without its end"
        if token["printed"] is not None and not token["printed"].strip():
            return line, "a {{ }} with nothing in it"
        if tag == "raw":
            if not (end := _RAW_END.search(text, position)):
                return line, "a {% raw %} without its end"
            position = end.end()
        elif tag in _BLOCKS or (tag == "set" and "=" not in token["rest"]):
            blocks.append((line, tag))
        elif tag is not None and tag.startswith("end"):
            if not blocks or blocks.pop()[1] != tag.removeprefix("end"):
                return line, f"a {{% {tag} %}} where none belongs"
        elif tag is not None and tag not in _OTHERS:
            return line, "a {% %} with a word that jinja does not know"
    return (blocks[-1][0], f"a {{% {blocks[-1][1]} %}} without its end") if blocks else (0, "")
