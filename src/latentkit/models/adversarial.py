"""Models with a discriminator: the generative adversarial network, and its marriage with the autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import prod
from typing import Any, ClassVar, NoReturn, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.protocols import Distribution, Posterior
from latentkit.distributions.noise import drawn_shape
from latentkit.models.generator import decoding_half
from latentkit.models.networks import NetworkChoice
from latentkit.models.specification import Specification, models
from latentkit.models.vae import (
    Conditioned,
    Join,
    VaeSpecification,
    VariationalAutoencoder,
    join_channels,
    join_columns,
)
from latentkit.nn.activations import initialise

__all__ = [
    "Discriminator",
    "Generated",
    "GanSpecification",
    "GenerativeAdversarialNetwork",
    "VaeGan",
    "VaeGanSpecification",
]

#: Features that a discriminator judges by.
N_FEATURES = 128
#: Slope of the leaky rectifier between a discriminator's features and its verdict.
SLOPE = 0.2


@final
class Generated:
    """What a generator makes of z: one example and no density around it.

    Args:
        x: Model units, shape (*batch, *event).
    """

    __slots__ = ("mean",)

    def __init__(self, x: Tensor) -> None:
        self.mean = x

    @property
    def mode(self) -> Tensor:
        """The example itself, shape (*batch, *event)."""
        return self.mean

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> NoReturn:
        """Refuse.

        Raises:
            UnsupportedOperationError: Always.
        """
        raise UnsupportedOperationError(
            "a GAN has no likelihood: its p(x given z) is one example without a density. Use VAEGAN or VAE for a bound "
            "on log p(x)."
        )

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """The example itself, shape (*batch, *event), or n times, shape (n, *batch, *event); nothing is random."""
        return self.mean.detach().expand(drawn_shape(n, self.mean.shape))


@final
class Discriminator(nn.Module):
    r"""Tells data from samples by some learnt features.

    .. math:: D(x) = w^T a(f(x)) + b

    with f an encoder network and a the leaky rectifier.

    Args:
        body: Network from x, shape (batch, *seen), to features, shape (batch, n_features).
        n_features: Number of features.
        condition_dim: Columns of a condition.
        join: How a condition is joined to x; None without conditions.
        spectral: Whether every layer's matrix is divided by its largest singular value, which bounds the slope of D.

    References:
        Miyato et al., 2018, Spectral Normalization for Generative Adversarial Networks, arXiv:1802.05957.
    """

    def __init__(
        self,
        body: nn.Module,
        n_features: int,
        *,
        condition_dim: int = 0,
        join: Join | None = None,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(n_features, 1)
        initialise(self.head, None)
        self.condition_dim = condition_dim
        self._join = join
        if spectral:
            for layer in list(self.modules()):
                if isinstance(layer, (nn.Linear, nn.Conv2d)):
                    spectral_norm(layer)

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return f(x), shape (batch, n_features)."""
        if self._join is not None:
            x = self._join(x, x.new_zeros(1, self.condition_dim) if condition is None else condition.to(x))
        result: Tensor = self.body(x)
        return result

    def verdict(self, features: Tensor) -> Tensor:
        """Return D of these features, shape (batch,)."""
        result: Tensor = self.head(functional.leaky_relu(features, SLOPE)).squeeze(-1)
        return result

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return D(x), the log-odds that x is data, shape (batch,)."""
        return self.verdict(self.features(x, condition))


@final
class GenerativeAdversarialNetwork(nn.Module):
    r"""A generator, and the discriminator that it is trained against.

    .. math:: z \sim N(0, I), \qquad x = G(z)

    Args:
        generator: The decoding half of an autoencoder, of whose distribution the mean alone is used.
        discriminator: Judges data and samples.

    References:
        Goodfellow et al., 2014, Generative Adversarial Nets, arXiv:1406.2661; Mirza and Osindero, 2014, Conditional
        Generative Adversarial Nets, arXiv:1411.1784 (conditions).
    """

    def __init__(self, *, generator: VariationalAutoencoder, discriminator: Discriminator) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator

    @property
    def decoder(self) -> nn.Module:
        """The generator's network."""
        return self.generator.decoder

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        """Refuse.

        Raises:
            UnsupportedOperationError: Always.
        """
        raise UnsupportedOperationError("a GAN has no encoder. Use VAEGAN for one that samples alike and encodes too.")

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Distribution:
        """Return G(z), or G(z, condition), for z of shape (*batch, latent), as a distribution without density."""
        return cast(Distribution, Generated(self.generator.decode(z, condition).mean))

    def prior(self) -> Distribution:
        """Return p(z)."""
        return self.generator.prior()

    def given(self, condition: Tensor) -> Conditioned:
        """Return the model of x given conditions, shape (batch, columns), or (1, columns) for every x.

        Raises:
            UnsupportedOperationError: If the model was not fitted with conditions.
        """
        self.generator.given(condition)  # refuses where there is no place for one
        return Conditioned(cast(VariationalAutoencoder, self), condition)

    def initialise_output(self, x: Tensor) -> None:
        """Start the generator at the average example, given some data in model units, shape (n, *event)."""
        self.generator.initialise_output(x)


@final
class VaeGan(nn.Module):
    r"""An autoencoder whose reconstructions are judged by what a discriminator sees in them.

    .. math:: p(x, z) = p(z)\, p(x \mid z), \qquad q(z \mid x) \approx p(z \mid x), \qquad D(x) = w^T a(f(x)) + b

    Args:
        autoencoder: Encoder, prior and decoder.
        discriminator: Judges the means of p(x given z), and measures by its features f how like x they are.

    References:
        Larsen et al., 2016, Autoencoding beyond pixels using a learned similarity metric, arXiv:1512.09300.
    """

    def __init__(self, *, autoencoder: VariationalAutoencoder, discriminator: Discriminator) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.discriminator = discriminator

    @property
    def encoder(self) -> nn.Module:
        """That of the autoencoder."""
        return self.autoencoder.encoder

    @property
    def decoder(self) -> nn.Module:
        """That of the autoencoder."""
        return self.autoencoder.decoder

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        """Return q(z given x) for x of shape (batch, *event), or q(z given x and a condition)."""
        return self.autoencoder.encode(x, condition)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Distribution:
        """Return p(x given z) for z of shape (*batch, latent), or p(x given z and a condition)."""
        return self.autoencoder.decode(z, condition)

    def prior(self) -> Distribution:
        """Return p(z)."""
        return self.autoencoder.prior()

    def given(self, condition: Tensor) -> Conditioned:
        """Return the model of x given conditions; see :meth:`VariationalAutoencoder.given`."""
        return self.autoencoder.given(condition)

    def initialise_output(self, x: Tensor) -> None:
        """Start the decoder at the average example, given some data in model units, shape (n, *event)."""
        self.autoencoder.initialise_output(x)


def _discriminator(specification: GanSpecification | VaeGanSpecification) -> Discriminator:
    choice, event_shape, columns = specification.discriminator, specification.event_shape, specification.condition_dim
    if choice.get("normalization") == "batch":
        raise InvalidParameterError(
            "normalization='batch' would let a discriminator judge an example by the others of its batch. Use 'group', "
            "'layer' or 'none'."
        )
    join: Join | None = None
    if columns and choice["network"] == "conv":
        event_shape, join = (event_shape[0] + columns, *event_shape[1:]), join_channels
    elif columns:
        event_shape, join = (prod(event_shape) + columns,), join_columns
    body = specification.settings.encoder(choice, event_shape, N_FEATURES, role="discriminator")
    return Discriminator(
        body,
        N_FEATURES,
        condition_dim=columns,
        join=join,
        spectral=specification.spectral_norm,
    )


@models.register("gan")
@final
@dataclass(frozen=True, kw_only=True)
class GanSpecification(Specification):
    """What a :class:`GenerativeAdversarialNetwork` is made of; see :class:`Specification` for what all share.

    Attributes:
        discriminator: Resolved network.
        spectral_norm: Whether the discriminator's layers are normalised.
        condition_dim: Columns of a condition; 0 for none.
    """

    kind: ClassVar[str] = "gan"

    discriminator: NetworkChoice
    spectral_norm: bool = False
    condition_dim: int = 0

    def build(self, **own: nn.Module | None) -> GenerativeAdversarialNetwork:
        """Return the model with fresh weights; `own` may hold ``decoder``, the user's own generator."""
        return GenerativeAdversarialNetwork(
            generator=decoding_half(self, condition_dim=self.condition_dim, own=own.get("decoder")),
            discriminator=_discriminator(self),
        )

    @property
    def networks(self) -> dict[str, NetworkChoice]:
        """Generator and discriminator."""
        return {"decoder": self.decoder, "discriminator": self.discriminator}

    @property
    def parts(self) -> dict[str, str]:
        """What the generator gives, and the prior."""
        output = "values from 0 to 1" if self.likelihood == "bernoulli" else "real values"
        return {"output": output, "prior": "normal"}


@models.register("vaegan")
@final
@dataclass(frozen=True, kw_only=True)
class VaeGanSpecification(Specification):
    """What a :class:`VaeGan` is made of; see :class:`Specification` and :class:`VaeSpecification` for the others.

    Attributes:
        encoder: Resolved network.
        discriminator: Resolved network.
        posterior: Name of the family of q(z given x).
        posterior_options: Its arguments.
        prior: Name of the family of p(z).
        prior_options: Its arguments.
        spectral_norm: Whether the discriminator's layers are normalised.
        condition_dim: Columns of a condition; 0 for none.
    """

    kind: ClassVar[str] = "vaegan"

    encoder: NetworkChoice
    discriminator: NetworkChoice
    posterior: str = "diagonal"
    posterior_options: Mapping[str, Any] = field(default_factory=dict)
    prior: str = "normal"
    prior_options: Mapping[str, Any] = field(default_factory=dict)
    spectral_norm: bool = False
    condition_dim: int = 0

    def build(self, **own: nn.Module | None) -> VaeGan:
        """Return the model with fresh weights; `own` may hold ``encoder`` and ``decoder``.

        Raises:
            InvalidParameterError: As for every specification, and if the likelihood has other parameters than a mean.
        """
        shared = {item.name: getattr(self, item.name) for item in fields(VaeSpecification)}
        autoencoder = VaeSpecification(**shared).build(**own)
        if autoencoder.likelihood.n_parameters != 1:
            raise InvalidParameterError(
                f"the discriminator sees the mean of p(x given z) alone, and likelihood {self.likelihood!r} with these "
                "options takes more than that from the decoder, which nothing would train. Use likelihood='gaussian' "
                "or 'bernoulli'."
            )
        return VaeGan(autoencoder=autoencoder, discriminator=_discriminator(self))

    @property
    def networks(self) -> dict[str, NetworkChoice]:
        """Encoder, decoder and discriminator."""
        return {"encoder": self.encoder, "decoder": self.decoder, "discriminator": self.discriminator}

    @property
    def parts(self) -> dict[str, str]:
        """Likelihood, posterior and prior."""
        return {"likelihood": self.likelihood, "posterior": self.posterior, "prior": self.prior}
