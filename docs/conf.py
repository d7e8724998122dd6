"""Sphinx: `make docs` builds these pages into docs/_build, offline, and fails at the first warning."""

from aetool.version import __version__

project = "aetool"
release = __version__
copyright = "the authors of aetool"  # noqa: A001
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"aetool {release}"
html_show_copyright = False
html_extra_path = ["manifest.schema.json"]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.xref_ambiguous"]
myst_heading_anchors = 3
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "exclude-members": "unknown"}
