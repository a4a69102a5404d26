"""What a fitted model does: functions of a model and tensors in model units; none knows another's module."""

from __future__ import annotations

from latentkit.tasks.cells import draw_cells, expect_cells, sample_within, score_cells
from latentkit.tasks.ex_post import (
    ExPostPriors,
    FitBudget,
    Latents,
    ex_post_priors,
    fit_class_priors,
    fit_mixture_prior,
)
from latentkit.tasks.exemplars import Exemplars, find_exemplars
from latentkit.tasks.exploration import (
    AttributeDirection,
    attribute_direction,
    edit,
    interpolate,
    interpolate_texts,
    latent_path,
    traverse,
)
from latentkit.tasks.generation import decode, denoise, guided, reconstruct, sample, sample_latents, tempered, write
from latentkit.tasks.margins import margin_offsets
from latentkit.tasks.neighbourhood import Neighbourhood
from latentkit.tasks.recovery import complete, recover
from latentkit.tasks.reduction import encode
from latentkit.tasks.saliency import exchange_effects, integrated_gradients, latent_gradients
from latentkit.tasks.texts import GappedText, Rewriter, infill
from latentkit.tasks.token_scores import preferred_tokens, score_tokens

__all__ = [
    "AttributeDirection",
    "ExPostPriors",
    "Exemplars",
    "FitBudget",
    "GappedText",
    "Latents",
    "Neighbourhood",
    "Rewriter",
    "attribute_direction",
    "complete",
    "decode",
    "denoise",
    "draw_cells",
    "edit",
    "encode",
    "expect_cells",
    "ex_post_priors",
    "exchange_effects",
    "find_exemplars",
    "fit_class_priors",
    "fit_mixture_prior",
    "guided",
    "infill",
    "integrated_gradients",
    "interpolate",
    "interpolate_texts",
    "latent_gradients",
    "latent_path",
    "margin_offsets",
    "preferred_tokens",
    "reconstruct",
    "recover",
    "sample",
    "sample_latents",
    "sample_within",
    "score_cells",
    "score_tokens",
    "tempered",
    "traverse",
    "write",
]
