"""Distributions as objects: posteriors, likelihoods and priors, and the divergence between them."""

from __future__ import annotations

from latentkit.distributions.flow import AutoregressivePrior, Flow, FlowGaussian, FlowPosterior, FlowPrior
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
    Columns,
    ColumnsLikelihood,
    DiscretizedLogisticLikelihood,
    DiscretizedLogisticMixture,
    Gaussian,
    GaussianLikelihood,
    Likelihood,
    ObservationDistribution,
    Region,
    likelihoods,
)
from latentkit.distributions.mixture import MixturePrior, PosteriorMixture, VampPrior
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
from latentkit.distributions.spherical import SphericalPosterior, SphericalPrior, UniformSphere, VonMisesFisher
from latentkit.distributions.support import check_supports

__all__ = [
    "AutoregressivePrior",
    "Bernoulli",
    "BernoulliLikelihood",
    "Categorical",
    "CategoricalLikelihood",
    "Columns",
    "ColumnsLikelihood",
    "CodeActivation",
    "DiagonalGaussian",
    "DiagonalPosterior",
    "DiscretizedLogisticLikelihood",
    "DiscretizedLogisticMixture",
    "Flow",
    "FlowGaussian",
    "FlowPosterior",
    "FlowPrior",
    "FullGaussian",
    "FullPosterior",
    "Gaussian",
    "GaussianLikelihood",
    "GaussianMixture",
    "GaussianMixturePrior",
    "Likelihood",
    "MixturePrior",
    "ObservationDistribution",
    "Region",
    "PointMass",
    "PointPosterior",
    "PosteriorFamily",
    "PosteriorMixture",
    "Prior",
    "SphericalPosterior",
    "SphericalPrior",
    "StandardNormal",
    "StandardNormalPrior",
    "code_activations",
    "UniformSphere",
    "VampPrior",
    "VonMisesFisher",
    "check_supports",
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
