"""Texts that are written in part anew: lost words, and words of another class."""

from latentkit.tasks.texts.infilling import LONGEST, GappedText, infill
from latentkit.tasks.texts.rewriting import Rewriter

__all__ = ["LONGEST", "GappedText", "Rewriter", "infill"]
