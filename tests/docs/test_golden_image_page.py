"""The page of golden images: what its recipes make is what its specs look for."""

from __future__ import annotations

import re
from typing import Any

import yaml

from scaler.model import ImageRef
from scaler.planning.snapshots import selected_labels
from tests.support.project import ROOT

PAGE = (ROOT / "docs" / "how-to" / "golden-image.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def groups() -> list[dict[str, Any]]:
    return [document["groups"]["worker"] for text in blocks("yaml") if "groups" in (document := yaml.safe_load(text))]


def test_the_specs_find_what_the_recipes_make() -> None:
    hetzner, digitalocean = blocks("hcl")
    selector, named = groups()
    labels = selected_labels(ImageRef("selector", selector["image"]["selector"]))
    made = re.search(r"snapshot_labels = \{(.*?)\}", hetzner)
    assert made
    assert dict(re.findall(r'(\w+) = "(\w+)"', made[1])) == labels
    assert re.search(r'snapshot_name += "(.*?)"', digitalocean)[1] == named["image"]["name"]  # type: ignore[index]
    regions = re.search(r"snapshot_regions = \[(.*?)\]", digitalocean)
    assert regions
    assert named["location"] in re.findall(r'"(\w+)"', regions[1])


def test_the_recipes_are_whole() -> None:
    for text in blocks("hcl"):
        for opening, closing in ("{}", "[]"):
            assert text.count(opening) == text.count(closing)
        (source,) = re.findall(r'^source "(\w+)" "(\w+)"', text, re.MULTILINE)
        assert f'sources = ["source.{source[0]}.{source[1]}"]' in text
