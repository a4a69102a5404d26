"""Bits-back coding: rows coded by way of latent variables that cost no more than they tell."""

from __future__ import annotations

from latentkit.codec.bits_back.chain import LatentChain, LatentLayer
from latentkit.codec.bits_back.coder import BitsBackCoder
from latentkit.codec.bits_back.latents import GaussianLatents
from latentkit.codec.bits_back.likelihoods import Coins, Likelihood, Logistics, Shares

__all__ = [
    "BitsBackCoder",
    "Coins",
    "GaussianLatents",
    "LatentChain",
    "LatentLayer",
    "Likelihood",
    "Logistics",
    "Shares",
]
