"""Sphinx: `make docs` builds these pages into docs/_build/html, offline, and fails at the first warning."""

import gc

from jupyter_client.manager import KernelManager

from aetool.version import __version__

gc.set_threshold(20_000)  # torch and Sphinx make half a million objects that stay: fewer searches for garbage

project = "aetool"
release = __version__
copyright = "the authors of aetool"  # noqa: A001
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"aetool {release}"
html_show_copyright = False
html_logo = html_favicon = "static/logo.svg"
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_extra_path = ["manifest.schema.json"]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.xref_ambiguous"]
myst_heading_anchors = 3
default_role = "code"
# Notebooks are stored without what they print and draw: a build runs them. A cell that fails is a warning.
KernelManager.transport_encryption = "auto"  # its default makes every kernel warn, whoever listens on this machine
nb_execution_mode = "force"
nb_execution_show_tb = True
nb_execution_timeout = 300  # seconds a cell
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True  # a default as the code writes it: DEFAULT_LIMITS, not its value
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88  # a longer one has a line for each parameter
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "exclude-members": "unknown"}
