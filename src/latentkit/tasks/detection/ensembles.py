"""The ensemble that a detector of rows trains where it is given no model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from latentkit.core.seeds import derive_seed, generator, isolated_rng
from latentkit.models import AutoencoderEnsemble
from latentkit.objectives import MemberElbos
from latentkit.training import Engine, Feed, Trainer, TrainingPlan
from latentkit.training.progress import Reporter, Silent

__all__ = ["MEMBERS", "Member", "build_ensemble", "fit_ensemble"]

_BATCH: Final = 128
_STEPS: Final = 400
_WIDTH: Final = 64


@final
@dataclass(frozen=True, slots=True)
class Member:
    """A member of the ensemble.

    Attributes:
        beta: Weight of the divergence.
        is_wide: Whether it has as many latent dimensions as features (at most 32); else half as many (at most 16).
        masking: Largest share of a row that is hidden from it.
    """

    beta: float
    is_wide: bool = False
    masking: float = 0.0

    def latent_dim(self, n_features: int) -> int:
        """Latent dimensions for rows of this many features."""
        return max(2, min(32, n_features) if self.is_wide else min(16, (n_features + 1) // 2))


#: Two that compress, and two that fill in what they are not shown: they err in different ways.
MEMBERS: Final = (Member(0.3), Member(0.3), Member(0.1, is_wide=True, masking=0.3), Member(0.1, True, 0.3))


def build_ensemble(n_features: int, members: Sequence[Member] = MEMBERS) -> AutoencoderEnsemble:
    """Return an ensemble with fresh weights."""
    return AutoencoderEnsemble(n_features, [member.latent_dim(n_features) for member in members], width=_WIDTH)


def fit_ensemble(
    rows: Tensor,
    *,
    seed: int,
    trim: float = 0.0,
    members: Sequence[Member] = MEMBERS,
    n_steps: int = _STEPS,
    reporter: Reporter | None = None,
) -> AutoencoderEnsemble:
    """Train an ensemble on rows of features, in one batched pass.

    Args:
        rows: Features of one scale, shape (n, features), n at least 1; NaN where unknown.
        seed: Of the weights and of all draws.
        trim: Share of the rows of a batch that each member leaves out as those it explains worst.
        members: Of the ensemble.
        n_steps: Steps of AdamW, whose rate rises for three tenths of them and falls for the rest.
        reporter: Hears how it goes.
    """
    if len(rows) > n_steps * _BATCH:  # more rows than steps can see
        rows = rows[torch.randperm(len(rows), generator=generator(seed, "rows"))[: n_steps * _BATCH].sort().values]
    with isolated_rng(derive_seed(seed, "weights")):
        ensemble = build_ensemble(rows.shape[1], members)
    objective = MemberElbos(
        betas=tuple(member.beta for member in members), masking=tuple(member.masking for member in members), trim=trim
    )
    # several draws of each of few rows make a batch, and an epoch is no shorter than a quarter of the training
    feed = Feed(rows.repeat(max(1, math.ceil(n_steps * _BATCH / 4 / len(rows))), 1), lambda x: x)
    plan = TrainingPlan(
        max_epochs=math.ceil(n_steps / feed.steps_per_epoch(_BATCH)),
        batch_size=_BATCH,
        optimizer="adamw",
        learning_rate=3e-3,
        schedule="cosine",
        warm_up=0.3,
        weight_decay=1e-4,
        gradient_clip=50.0 * len(members),
        seed=derive_seed(seed, "ensemble"),
        engine=Engine(device="cpu"),
    )
    Trainer(ensemble, objective, plan, train=feed, reporter=reporter or Silent()).run()
    return ensemble.eval()
