"""Likelihoods p(x given z): families of distributions over data, by name."""

from __future__ import annotations

from latentkit.distributions.likelihoods.bernoulli import Bernoulli, BernoulliLikelihood
from latentkit.distributions.likelihoods.categorical import Categorical, CategoricalLikelihood
from latentkit.distributions.likelihoods.discretized_logistic import (
    DiscretizedLogisticLikelihood,
    DiscretizedLogisticMixture,
)
from latentkit.distributions.likelihoods.gaussian import Gaussian, GaussianLikelihood
from latentkit.distributions.likelihoods.likelihood import Likelihood, ObservationDistribution, likelihoods

__all__ = [
    "Bernoulli",
    "BernoulliLikelihood",
    "Categorical",
    "CategoricalLikelihood",
    "DiscretizedLogisticLikelihood",
    "DiscretizedLogisticMixture",
    "Gaussian",
    "GaussianLikelihood",
    "Likelihood",
    "ObservationDistribution",
    "likelihoods",
]
