"""Sphinx settings; build with ``python -m tox run -e docs``."""

from skclsgen import __version__

project = "skclsgen"
author = "The skclsgen developers"
release = __version__
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
myst_heading_anchors = 3
numpydoc_show_class_members = False
autodoc_member_order = "bysource"
