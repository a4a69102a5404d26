"""Wirings of encoder, prior and decoder."""

from latentkit.models.adversarial import (
    Discriminator,
    GanSpecification,
    GenerativeAdversarialNetwork,
    VaeGan,
    VaeGanSpecification,
)
from latentkit.models.codes import CodeDistribution, CodePrior
from latentkit.models.conditional_priors import ConditionalPrior, GivenConditions, LinearMeans
from latentkit.models.ensemble import AutoencoderEnsemble, MemberNormal
from latentkit.models.generator import GeneratorSpecification, LatentGenerator
from latentkit.models.inference import decoding_operations, inference_batch_size, iterate_batches, map_batches
from latentkit.models.ladder import LadderAutoencoder, LadderPosterior, LadderSpecification
from latentkit.models.latent_priors import (
    Decoded,
    FlowMatched,
    LatentFlow,
    LearntPrior,
    OverClasses,
    Rescaled,
    SecondStage,
    VelocityField,
)
from latentkit.models.networks import NetworkChoice, NetworkSettings, resolve_network, settle
from latentkit.models.quantized import CodePosterior, QuantizedAutoencoder, QuantizedSpecification
from latentkit.models.specification import Specification, models, specification_from_dict
from latentkit.models.vae import VaeSpecification, VariationalAutoencoder, WithPrior

__all__ = [
    "AutoencoderEnsemble",
    "CodeDistribution",
    "CodePosterior",
    "CodePrior",
    "ConditionalPrior",
    "Decoded",
    "FlowMatched",
    "LadderAutoencoder",
    "LadderPosterior",
    "LadderSpecification",
    "Discriminator",
    "GanSpecification",
    "GenerativeAdversarialNetwork",
    "GeneratorSpecification",
    "GivenConditions",
    "LatentFlow",
    "LatentGenerator",
    "LearntPrior",
    "LinearMeans",
    "MemberNormal",
    "NetworkChoice",
    "NetworkSettings",
    "QuantizedAutoencoder",
    "QuantizedSpecification",
    "OverClasses",
    "Rescaled",
    "SecondStage",
    "Specification",
    "VaeGan",
    "VaeGanSpecification",
    "VaeSpecification",
    "VariationalAutoencoder",
    "VelocityField",
    "WithPrior",
    "decoding_operations",
    "inference_batch_size",
    "iterate_batches",
    "map_batches",
    "models",
    "resolve_network",
    "settle",
    "specification_from_dict",
]
