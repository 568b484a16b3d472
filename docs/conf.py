"""How the documentation is built: ``sphinx-build -W docs build/docs``."""

import sys
from pathlib import Path

import fastscratch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

project = "fastscratch"
author = "the fastscratch contributors"
version = release = fastscratch.__version__

extensions = [
    "draw",  # beside this file: draws the pictures
    "experiment",  # beside this file: shows what experiments found
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["kernels-from-outside/with-*"]
templates_path = ["_templates"]
nitpicky = False

myst_enable_extensions = ["colon_fence", "attrs_block"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # types stand in the docstrings
numpydoc_show_class_members = False
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_title = "fastscratch"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_nav_level": 2,
    # Chapters have code beside code, and the page of names four columns: they need the room.
    "secondary_sidebar_items": {
        pattern: ["page-toc"]
        for pattern in ("start*", "compat", "kernels/*", "api/**", "kernels-from-outside/*")
    },
    "header_links_before_dropdown": 7,
    "footer_start": ["copyright"],
    "footer_end": [],
}
copyright = author
