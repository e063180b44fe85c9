"""Sphinx configuration of the reading edition; ``build.py`` lays out the pages that it reads."""

from __future__ import annotations

import sys
from pathlib import Path

SITE = Path(__file__).resolve().parent
sys.path[:0] = [str(SITE / "_ext"), str(SITE.parent)]

project = "Sample importance workbook"
author = "the authors of the workbook"
language = "en"
html_title = "Sample importance workbook"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "diagrams", "pages"]
exclude_patterns = ["files", "reveal/**"]  # reveal.js is for the slides
templates_path = ["_templates"]

# The notebooks are stored executed: their outputs are shown, nothing is run.
nb_execution_mode = "off"
nb_output_stderr = "remove"
nb_merge_streams = True
nb_ipywidgets_js = {}  # no script from elsewhere
nb_code_prompt_show = "Show the solution"
nb_code_prompt_hide = "Hide the solution"
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
myst_dmath_double_inline = True
myst_fence_as_directive = ["mermaid"]

# Only the parts of MathJax that are used are loaded, from the site itself.
mathjax_path = "mathjax/startup.js"
mathjax3_config = {
    "loader": {"load": ["core", "input/tex", "output/chtml", "a11y/assistive-mml"]},
    "tex": {"inlineMath": [["\\(", "\\)"]], "displayMath": [["\\[", "\\]"]]},
}

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
add_module_names = False
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Reference"]

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static", "_vendor"]
html_css_files = ["workbook.css"]
html_js_files = [("page.js", {"defer": "defer"})]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sphinx = False
html_sidebars = {"index": [], "glossary": [], "running": []}
html_context = {"default_mode": "auto"}  # as the reader's system has it
html_theme_options = {
    "logo": {
        "text": "Sample importance",
        "image_light": "_static/favicon.svg",
        "image_dark": "_static/favicon.svg",
    },
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 6,
    "search_bar_text": "Search the workbook",
    "show_toc_level": 2,
    "show_nav_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["licence"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
