"""Models that decode: a decoder, a likelihood and a prior, without a network that encodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, cast, final

import torch
from torch import Tensor, nn

from latentkit.core.errors import UnsupportedOperationError
from latentkit.core.parameters import check_integer
from latentkit.core.protocols import Distribution, Posterior
from latentkit.distributions import DiagonalGaussian, DiagonalPosterior, StandardNormalPrior, likelihoods
from latentkit.models.networks import NetworkChoice
from latentkit.models.specification import Specification, build_part, models
from latentkit.models.vae import Conditioned, VariationalAutoencoder

__all__ = ["GeneratorSpecification", "LatentGenerator", "decoding_half"]

#: Examples from which the linear start of learnt latent vectors is computed, at most.
LINEAR_ROWS = 1000


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


@final
class LatentGenerator(nn.Module):
    r"""A decoder of latent vectors that come from elsewhere: given with the data, or learnt one by one.

    .. math:: p(x \mid z) = p(x \mid decoder((z - m) / s))

    with m and s the mean and standard deviation of the vectors that were given, 0 and 1 for learnt ones. Learnt vectors
    start from the leading principal components of the data, scaled to variance 1 (:meth:`start`).

    Args:
        decoding: Decoder and likelihood.
        latent_mean: m, one number for each dimension.
        latent_stddev: s, likewise.
    """

    center: Tensor
    projection: Tensor
    latent_mean: Tensor
    latent_stddev: Tensor

    def __init__(
        self, decoding: VariationalAutoencoder, *, latent_mean: Sequence[float], latent_stddev: Sequence[float]
    ) -> None:
        super().__init__()
        self.decoding = decoding
        self.register_buffer("latent_mean", torch.tensor(latent_mean), persistent=False)
        self.register_buffer("latent_stddev", torch.tensor(latent_stddev), persistent=False)
        self.register_buffer("center", torch.zeros(decoding.n_features))
        self.register_buffer("projection", torch.zeros(decoding.n_features, decoding.latent_dim))

    @property
    def decoder(self) -> nn.Module:
        """The decoder's network."""
        return self.decoding.decoder

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        """Refuse.

        Raises:
            UnsupportedOperationError: Always.
        """
        raise UnsupportedOperationError("a generator has no encoder. Use VAE or Autoencoder for one that encodes too.")

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Distribution:
        """Return p(x given z), or p(x given z and a condition), for z of shape (*batch, latent)."""
        return self.decoding.decode((z - self.latent_mean) / self.latent_stddev, condition)

    def prior(self) -> Distribution:
        """Return N(m, s^2), which stands in where no prior was fitted to the latent vectors."""
        return DiagonalGaussian(self.latent_mean, 2.0 * self.latent_stddev.log())

    def given(self, condition: Tensor) -> Conditioned:
        """Return the model of x given conditions, shape (batch, columns), or (1, columns) for every x.

        Raises:
            UnsupportedOperationError: If the model was not fitted with conditions.
        """
        self.decoding.given(condition)  # refuses where there is no place for one
        return Conditioned(cast(VariationalAutoencoder, self), condition)

    def start(self, x: Tensor) -> Tensor:
        """Principal components of x, scaled to variance 1, shape (batch, latent): where learning of z starts."""
        return (x.flatten(1) - self.center) @ self.projection

    @torch.no_grad()
    def initialise_output(self, x: Tensor) -> None:
        """Start the decoder at the average example and find the principal components, given some data (n, *event)."""
        self.decoding.initialise_output(x)
        rows = x[:LINEAR_ROWS].flatten(1).double()
        center = rows.mean(0)
        rows = rows - center
        # by the products of examples, of which there are few however large each is
        squares, vectors = torch.linalg.eigh(rows @ rows.mT)
        n_components = min(self.decoding.latent_dim, len(rows), rows.shape[1])
        squares, vectors = squares.flip(0)[:n_components], vectors.flip(1)[:, :n_components]
        inverse = torch.where(squares > 1e-9 * squares[0], 1.0 / squares.clamp_min(1e-300), 0.0)
        self.center.copy_(center)
        self.projection[:, :n_components] = (rows.mT @ vectors * inverse * sqrt(len(rows))).to(self.projection)


@models.register("generator")
@final
@dataclass(frozen=True, kw_only=True)
class GeneratorSpecification(Specification):
    """What a :class:`LatentGenerator` is made of; see :class:`Specification` for what all share.

    Attributes:
        latent_mean: Mean of the latent vectors that were given, one number for each dimension.
        latent_stddev: Their standard deviation.
        condition_dim: Columns of a condition; 0 for none.
    """

    kind: ClassVar[str] = "generator"

    latent_mean: Sequence[float]
    latent_stddev: Sequence[float]
    condition_dim: int = 0

    def build(self, **own: nn.Module | None) -> LatentGenerator:
        """Return the model with fresh weights; `own` may hold ``decoder``."""
        decoding = decoding_half(self, condition_dim=self.condition_dim, own=own.get("decoder"))
        return LatentGenerator(decoding, latent_mean=self.latent_mean, latent_stddev=self.latent_stddev)

    @property
    def networks(self) -> dict[str, NetworkChoice]:
        """The decoder."""
        return {"decoder": self.decoder}

    @property
    def parts(self) -> dict[str, str]:
        """The likelihood."""
        return {"likelihood": self.likelihood}
