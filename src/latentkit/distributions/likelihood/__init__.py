"""Likelihoods p(x given z): families of distributions over data, by name."""

from __future__ import annotations

from latentkit.distributions.likelihood.bernoulli import Bernoulli, BernoulliLikelihood
from latentkit.distributions.likelihood.categorical import Categorical, CategoricalLikelihood
from latentkit.distributions.likelihood.columns import Columns, ColumnsLikelihood, Region, RegionOf
from latentkit.distributions.likelihood.discretized_logistic import (
    DiscretizedLogisticLikelihood,
    DiscretizedLogisticMixture,
)
from latentkit.distributions.likelihood.family import Likelihood, ObservationDistribution, likelihoods
from latentkit.distributions.likelihood.gaussian import Gaussian, GaussianLikelihood
from latentkit.distributions.likelihood.tokens import Drawing, Tokens, TokensLikelihood

__all__ = [
    "Bernoulli",
    "BernoulliLikelihood",
    "Categorical",
    "CategoricalLikelihood",
    "Columns",
    "ColumnsLikelihood",
    "DiscretizedLogisticLikelihood",
    "DiscretizedLogisticMixture",
    "Drawing",
    "Gaussian",
    "GaussianLikelihood",
    "Likelihood",
    "ObservationDistribution",
    "Region",
    "RegionOf",
    "Tokens",
    "TokensLikelihood",
    "likelihoods",
]
