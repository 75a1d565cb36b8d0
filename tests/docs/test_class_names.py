"""One word, one meaning: no two modules of scaler define a public class of the same name, apart from those listed."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]

ALLOWED: dict[tuple[str, frozenset[str]], str] = {
    (
        "Shapes",
        frozenset({"scaler/simulator/hetzner/shapes.py", "scaler/simulator/digitalocean/shapes.py"}),
    ): "the JSON of the two vendors: each package has the same modules, and none uses the other",
}
"""A name and all modules that may define it, with the reason why the two are one concept or are never confused."""


def repeated(root: Path) -> set[tuple[str, frozenset[str]]]:
    """Return each public class name that several modules below `root`/scaler define, with these modules."""
    modules: defaultdict[str, set[str]] = defaultdict(set)
    for path in (root / "scaler").rglob("*.py"):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.ClassDef) and not statement.name.startswith("_"):
                modules[statement.name].add(path.relative_to(root).as_posix())
    return {(name, frozenset(places)) for name, places in modules.items() if len(places) > 1}


def test_no_other_class_name_is_defined_twice() -> None:
    found = repeated(ROOT)
    assert sorted((name, sorted(places)) for name, places in found - ALLOWED.keys()) == []
    assert ALLOWED.keys() - found == set(), "remove what no longer occurs"


def test_a_name_in_several_modules_is_found(tmp_path: Path) -> None:
    contents = {
        "a/one.py": "class World: ...\nclass Own: ...\nclass _Private: ...\n",
        "b/two.py": "class World: ...\nclass _Private: ...\n",
        "b/three.py": "class World: ...\n",
    }
    for module, content in contents.items():
        path = tmp_path / "scaler" / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    assert repeated(tmp_path) == {("World", frozenset({"scaler/a/one.py", "scaler/b/two.py", "scaler/b/three.py"}))}
