"""Formulas as MathML, which browsers draw by themselves: the manual can be built and read without a network.

A formula with a backslash is TeX. One without is the plain notation of docstrings, ``L = log 1/K sum_k w_k``, and is
turned into TeX first: known words become symbols, other words stand upright.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

__all__ = ["plain_to_tex", "setup"]

FUNCTIONS = "cos det exp inf lim ln log max min prod sin sum sup tanh"
INDEXED = ("inf", "lim", "max", "min", "prod", "sum", "sup")  # sum_batch is a sum over the batch; log_var is one word
GREEK = "alpha beta gamma delta epsilon eta theta kappa lambda mu nu pi rho sigma tau phi chi psi omega Phi Sigma"
SIGNS = {"...": r"\ldots ", "->": r"\to ", "<=": r"\le ", ">=": r"\ge ", "~": r"\sim ", "||": r"\| ", "*": r"\cdot "}

_SYMBOLS = {word: rf"\{word} " for word in (FUNCTIONS + " " + GREEK).split()}
_TOKEN = re.compile(r"[A-Za-z]+(?:_[A-Za-z]{2,})*|" + "|".join(re.escape(sign) for sign in SIGNS))

logger = logging.getLogger(__name__)


def plain_to_tex(formula: str) -> str:
    """Return TeX for the plain notation of docstrings; TeX is returned as it is."""
    return formula if "\\" in formula else _TOKEN.sub(_symbol, formula)


def _symbol(match: re.Match[str]) -> str:
    token = match.group()
    if token in SIGNS:
        return SIGNS[token]
    first, _, index = token.partition("_")
    if index and first in INDEXED:
        return rf"{_SYMBOLS[first]}_{{\text{{{index}}}}}"
    if token in _SYMBOLS:
        return _SYMBOLS[token]
    return token if len(token) == 1 else rf"\text{{{token}}}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def _visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{_mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(node: nodes.Element, *, as_block: bool) -> str:
    tex = plain_to_tex(node.astext())
    try:
        return latex2mathml.tex2mathml(tex, as_block=as_block)
    except MathError as error:
        logger.warning("formula cannot be drawn: %s in %r", error, tex, location=node)
        return f"<code>{nodes.Text(node.astext())}</code>"
