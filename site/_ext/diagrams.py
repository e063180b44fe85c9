"""Mermaid diagrams, drawn in the reader's browser by a script of the site itself.

JupyterLab and GitHub draw a Markdown fence named ``mermaid``. This directive gives such a fence
to the same library, and to who cannot see it the words of the diagram. The library is
loaded only by pages that have a diagram.
"""

from __future__ import annotations

import html
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

SCRIPTS = ("mermaid/mermaid.tiny.js", "diagrams.js")


class Diagram(nodes.General, nodes.Element):
    """One diagram; ``source`` is its text."""


class Mermaid(SphinxDirective):
    """The fence named ``mermaid``."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the node of the diagram."""
        return [Diagram(source="\n".join(self.content))]


def in_words(source: str) -> str:
    """Return the words of a diagram's boxes and arrows.

    Example:
        >>> in_words('flowchart LR; A["1 log<br/>clicks"] -->|"shows"| B["2 model"]')
        'Diagram: 1 log, clicks; shows; 2 model'
    """
    found = dict.fromkeys(
        re.sub(r"\s*<br\s*/?>\s*", ", ", w) for w in re.findall('"(.+?)"', source)
    )
    return "Diagram: " + "; ".join(found)


def visit(translator: HTML5Translator, node: Diagram) -> None:
    """Write the text of a diagram, which the script replaces by its drawing."""
    source = node["source"]
    label = html.escape(in_words(source), quote=True)
    translator.body.append(
        f'<div class="diagram" role="img" aria-label="{label}">'
        f'<pre class="drawing">{html.escape(source)}</pre></div>\n'
    )
    raise nodes.SkipNode


def add_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Load the library on pages with a diagram."""
    if doctree is not None and next(doctree.findall(Diagram), None) is not None:
        for script in SCRIPTS:
            app.add_js_file(script, loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive and its node."""
    app.add_node(Diagram, html=(visit, None))
    app.add_directive("mermaid", Mermaid)
    app.connect("html-page-context", add_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
