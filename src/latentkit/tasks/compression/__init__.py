"""Compressing: coders that are learnt from data, and what goes into archives and comes out of them."""

from __future__ import annotations

from latentkit.tasks.compression.archiving import Archived, Rows, compress, decompress, opened, restorer_of, salvage
from latentkit.tasks.compression.bits_back import bits_back_coder, check_codable
from latentkit.tasks.compression.comparing import compare, compare_rates, rates_at_equal_psnr
from latentkit.tasks.compression.contents import Contents, open_contents
from latentkit.tasks.compression.learning import LearntCoder, check_learnable, learn_coder, learn_lossy_coder
from latentkit.tasks.compression.lossy import TrainedEncoder, fit_lossy_coder
from latentkit.tasks.compression.lossy_network import LossyNetwork, LossySizes
from latentkit.tasks.compression.pixels import PixelSettings, fit_pixel_coder
from latentkit.tasks.compression.rows import fit_row_coder

__all__ = [
    "Archived",
    "Contents",
    "LearntCoder",
    "LossyNetwork",
    "LossySizes",
    "PixelSettings",
    "Rows",
    "TrainedEncoder",
    "bits_back_coder",
    "check_codable",
    "check_learnable",
    "compare",
    "compare_rates",
    "compress",
    "decompress",
    "fit_lossy_coder",
    "fit_pixel_coder",
    "fit_row_coder",
    "learn_coder",
    "learn_lossy_coder",
    "open_contents",
    "opened",
    "rates_at_equal_psnr",
    "restorer_of",
    "salvage",
]
