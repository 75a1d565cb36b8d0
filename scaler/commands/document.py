"""A result as one document: JSON or YAML for programs, a table for Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from scaler.commands.context import Output

SCHEMA = 1


def dump(facts: Mapping[str, object], output: Output) -> str:
    """The facts as one JSON document, or as YAML, with the schema's number first."""
    document = {"schema": SCHEMA, **facts}
    if output is Output.YAML:
        import yaml

        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip()
    return json.dumps(document, ensure_ascii=False, indent=2)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of plain texts."""
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in row) + " |" for row in cells)


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns under their names, in capitals."""
    from scaler.output.render import one_line

    lines = [[name.upper() for name in head], *([one_line(text) for text in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
