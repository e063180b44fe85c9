"""Small things that the site's pages need: words in Chinese, and figures that load late."""

from __future__ import annotations

import html
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def chinese(name: str, rawtext: str, text: str, *_: Any) -> tuple[list[nodes.Node], list]:
    """Mark words as Chinese, for fonts and for voices: ``{zh}`样本```."""
    return [nodes.raw("", f'<span lang="zh-Hans">{html.escape(text)}</span>', format="html")], []


def load_late(app: Sphinx, doctree: nodes.document) -> None:
    """Have figures further down loaded when a reader comes near them."""
    for image in doctree.findall(nodes.image):
        image["loading"] = "lazy"


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the role and the transform."""
    app.add_role("zh", chinese)
    app.connect("doctree-read", load_late)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
