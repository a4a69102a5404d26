"""Compression: models of data, fitted for coders that need nothing else to decode."""

from __future__ import annotations

from latentkit.tasks.compression.lossy import TrainedEncoder, fit_lossy_coder
from latentkit.tasks.compression.lossy_network import LossyNetwork, LossySizes

__all__ = ["LossyNetwork", "LossySizes", "TrainedEncoder", "fit_lossy_coder"]
