"""How the documentation is built: ``sphinx-build -W --keep-going -b html docs OUT``."""

from __future__ import annotations

import adcp_tracker

project = "adcp_tracker"
author = "The adcp_tracker authors"
copyright = "The adcp_tracker authors, Apache-2.0"  # noqa: A001 - Sphinx's own name for it
release = version = adcp_tracker.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "adcp_tracker"
html_static_path: list[str] = []

# The copy button leaves out prompts, and the output of commands and sessions.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
