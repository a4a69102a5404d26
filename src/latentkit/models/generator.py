"""Models that decode: a decoder, a likelihood and a prior, without a network that encodes."""

from __future__ import annotations

from torch import nn

from latentkit.core.parameters import check_integer
from latentkit.distributions import DiagonalPosterior, StandardNormalPrior, likelihoods
from latentkit.models.specification import Specification, build_part
from latentkit.models.vae import VariationalAutoencoder

__all__ = ["decoding_half"]


def decoding_half(
    specification: Specification, *, condition_dim: int = 0, own: nn.Module | None = None
) -> VariationalAutoencoder:
    """Return the decoding half of an autoencoder, under a standard normal prior; its `encode` means nothing.

    Args:
        specification: What decoder and likelihood are made of.
        condition_dim: Columns of a condition that the decoder sees beside z; 0 for none.
        own: The user's own decoder, where the specification says so.
    Raises:
        InvalidParameterError: If a part is unknown, has a wrong option, or does not fit the data.
    """
    check_integer("latent_dim", specification.latent_dim, low=1)
    likelihood = build_part(
        "likelihood",
        likelihoods,
        specification.likelihood,
        specification.likelihood_options,
        specification.event_shape,
    )
    n_inputs = specification.latent_dim + condition_dim
    output_shape = (likelihood.n_parameters, *specification.event_shape)
    return VariationalAutoencoder(
        encoder=nn.Identity(),
        decoder=specification.settings.decoder(specification.decoder, n_inputs, output_shape, own=own),
        posterior=DiagonalPosterior(specification.latent_dim),
        likelihood=likelihood,
        prior=StandardNormalPrior(specification.latent_dim),
        latent_dim=specification.latent_dim,
        event_shape=specification.event_shape,
        condition_dim=condition_dim,
    )
