"""Distributions as objects: posteriors, likelihoods and priors, and the divergence between them."""

from __future__ import annotations

from latentkit.distributions.kl import (
    has_closed_form_kl,
    kl_divergence,
    kl_per_dimension,
    kl_per_part,
    register_kl,
    register_kl_given_draw,
    register_kl_per_dimension,
)
from latentkit.distributions.likelihood import (
    Bernoulli,
    BernoulliLikelihood,
    Categorical,
    CategoricalLikelihood,
    DiscretizedLogisticLikelihood,
    DiscretizedLogisticMixture,
    Gaussian,
    GaussianLikelihood,
    Likelihood,
    ObservationDistribution,
    likelihoods,
)
from latentkit.distributions.point import CodeActivation, PointMass, PointPosterior, code_activations
from latentkit.distributions.posterior import (
    DiagonalGaussian,
    DiagonalPosterior,
    FullGaussian,
    FullPosterior,
    PosteriorFamily,
    posteriors,
)
from latentkit.distributions.prior import (
    GaussianMixture,
    GaussianMixturePrior,
    Prior,
    StandardNormal,
    StandardNormalPrior,
    priors,
)

__all__ = [
    "Bernoulli",
    "BernoulliLikelihood",
    "Categorical",
    "CategoricalLikelihood",
    "CodeActivation",
    "DiagonalGaussian",
    "DiagonalPosterior",
    "DiscretizedLogisticLikelihood",
    "DiscretizedLogisticMixture",
    "FullGaussian",
    "FullPosterior",
    "Gaussian",
    "GaussianLikelihood",
    "GaussianMixture",
    "GaussianMixturePrior",
    "Likelihood",
    "ObservationDistribution",
    "PointMass",
    "PointPosterior",
    "PosteriorFamily",
    "Prior",
    "StandardNormal",
    "StandardNormalPrior",
    "code_activations",
    "has_closed_form_kl",
    "kl_divergence",
    "kl_per_dimension",
    "kl_per_part",
    "likelihoods",
    "posteriors",
    "priors",
    "register_kl",
    "register_kl_given_draw",
    "register_kl_per_dimension",
]
