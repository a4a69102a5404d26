"""Likelihoods p(x given z): families of distributions over data, by name."""

from __future__ import annotations

from latentkit.distributions.likelihoods.bernoulli import Bernoulli, BernoulliLikelihood
from latentkit.distributions.likelihoods.gaussian import Gaussian, GaussianLikelihood
from latentkit.distributions.likelihoods.likelihood import Likelihood, ObservationDistribution, likelihoods

__all__ = [
    "Bernoulli",
    "BernoulliLikelihood",
    "Gaussian",
    "GaussianLikelihood",
    "Likelihood",
    "ObservationDistribution",
    "likelihoods",
]
