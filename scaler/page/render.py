"""Pages as HTML: one that a watch serves with its files beside it, or one file that needs nothing else.

Neither asks another host for anything, and the content security policy forbids it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from scaler.page.view import WebPage

if TYPE_CHECKING:
    from jinja2 import Template

_FILES = {
    "uplot.css": "static/uplot/uPlot-1.6.32.min.css",
    "page.css": "static/page.css",
    "uplot.js": "static/uplot/uPlot-1.6.32.iife.min.js",
    "page.js": "static/page.js",
}
"""What pages are drawn with, in this order."""

SERVED_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content security policy of `served`."""


def served(page: WebPage, refresh_s: int) -> str:
    """Return a page that reads itself anew every so often, and whose files are served beside it."""
    return _template().render(page=page, refresh_s=refresh_s, files=[f"static/{name}" for name in _FILES])


def one_file(page: WebPage) -> str:
    """Return a page that can be sent by mail and archived. Nothing in it runs but what is named by its hash."""
    content = static_files()
    scripts = [text for name, text in content.items() if name.endswith(".js")]
    styles = [text for name, text in content.items() if name.endswith(".css")]
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_hash, scripts))}; style-src {' '.join(map(_hash, styles))}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return _template().render(page=page, policy=policy, scripts=scripts, styles=styles)


@cache
def static_files() -> Mapping[str, str]:
    """Return what pages are drawn with, by name."""
    folder = files("scaler.page")
    return {name: folder.joinpath(path).read_text(encoding="utf-8") for name, path in _FILES.items()}


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _template() -> Template:
    # Late: only pages need it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("scaler.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
