"""What the likelihood of an estimator is the logarithm of: a mass or a density, and of what."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import torch

from latentkit.distributions import likelihoods

__all__ = ["LikelihoodUnits", "likelihood_units"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelihoodUnits:
    """What nats of an estimator are nats of.

    Attributes:
        of: In words, behind a figure: "of a probability mass".
        step: Distance of neighbouring values on the grid of the data, in model units, where the likelihood is a density
            and could be taken as a mass of the grid's cells; None where it is a mass, or there is no grid.
        is_mass: Whether it is a mass of the data's own values, so that bits can be counted.
        kind: What two estimators must have in common for their figures to be compared.
        log_scale: Nats to take off for a density in the units of the data rather than of the model; 0 of a mass.
    """

    of: str
    step: float | None
    is_mass: bool
    kind: str
    log_scale: float

    @property
    def has_bits(self) -> bool:
        """Whether bits can be counted: of a mass, or of the cells of a grid."""
        return self.is_mass or self.step is not None


def likelihood_units(estimator: Any) -> LikelihoodUnits:
    """Return what the likelihood of a fitted estimator is the logarithm of.

    Args:
        estimator: Fitted, with a likelihood.
    """
    schema, is_mass = estimator.schema_, bool(likelihoods[estimator.specification_.likelihood].discrete)
    if schema.kind == "table":
        return LikelihoodUnits(
            of="of the probability of its categories, frequent values, and bins of numbers",
            step=None,
            is_mass=True,
            kind=f"probability of the codes of columns, {_fingerprint(schema.describe()['columns'])}",
            log_scale=0.0,
        )
    if schema.kind == "text":
        vocabulary = schema.vocabulary
        own = "" if vocabulary.is_exact else f" in words of a vocabulary, {_fingerprint(vocabulary.describe())}"
        return LikelihoodUnits(
            of="of a probability mass", step=None, is_mass=True, kind=f"probability of texts{own}", log_scale=0.0
        )
    if is_mass and estimator.specification_.likelihood == "bernoulli" and schema.values != "binary":
        return LikelihoodUnits(
            of="of a Bernoulli score of values between 0 and 1, which is no probability of them",
            step=None,
            is_mass=False,
            kind="Bernoulli score of values between 0 and 1",
            log_scale=0.0,
        )
    if is_mass:
        return LikelihoodUnits(
            of="of a probability mass", step=None, is_mass=True, kind="probability of the values", log_scale=0.0
        )
    step, of = None, "of a density over standardised values" if schema.values == "real" else "of a density over [0, 1]"
    if schema.n_levels and schema.n_levels > 1:
        step, of = 1.0 / (schema.n_levels - 1), "of a density, taken as a mass of its grid"
    zeros = torch.zeros(1, *schema.event_shape, dtype=torch.float64)
    scale = schema.numbers.decode(zeros + 1.0, snap=False) - schema.numbers.decode(zeros, snap=False)
    return LikelihoodUnits(
        of=of, step=step, is_mass=False, kind="density of the values", log_scale=sum(map(math.log, abs(scale).flat))
    )


def _fingerprint(description: Any) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True, default=str).encode()).hexdigest()[:12]
