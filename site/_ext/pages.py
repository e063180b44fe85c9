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


def once(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples: the docstring of the tuple explains them."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the role, the transform and the rule."""
    app.add_role("zh", chinese)
    app.connect("doctree-read", load_late)
    app.connect("autodoc-skip-member", once)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
