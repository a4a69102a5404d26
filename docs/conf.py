"""How Sphinx builds the manual: `make docs`, offline, a warning is an error."""

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "src"), str(HERE / "_extensions")]

import latentkit  # noqa: E402

project = "latentkit"
author = "The latentkit developers"
copyright = author
release = version = latentkit.__version__

extensions = [
    "mathml",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
]
default_role = "literal"  # `x` in a docstring is code
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"latentkit {release}"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_show_copyright = False

autosummary_ignore_module_all = True  # every public module has a page, whatever its package re-exports
autosummary_imported_members = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # an "Attributes:" section describes; it does not document the same name twice

# pytest runs the examples of docstrings; here only those of the pages run.
doctest_test_doctest_blocks = ""
doctest_global_setup = """
import torch
from latentkit import VAE
torch.set_num_threads(1)
"""


def _escape_shapes(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep the stars of shapes such as (*batch, *event): in reStructuredText they would open an emphasis."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "... ")):
            parts = re.split(r"(`+[^`]*`+)", line)
            parts[::2] = [re.sub(r"(?<=[(\s,])\*(?=\w+[,)])", r"\\*", part) for part in parts[::2]]
            lines[number] = "".join(parts)


def _skip_generated(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn generates for metadata routing: set_fit_request and its like."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app: Sphinx) -> None:
    """Connect what the configuration alone cannot say."""
    app.connect("autodoc-skip-member", _skip_generated)
    app.connect("autodoc-process-docstring", _escape_shapes, priority=400)
