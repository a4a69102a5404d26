"""The plain variational autoencoder: one encoder, one latent vector, one decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any, ClassVar, Protocol, cast, final

import torch
from torch import Tensor, nn

from latentkit.core.errors import UnsupportedOperationError
from latentkit.core.parameters import check_integer
from latentkit.core.protocols import ConditionalModel, Distribution, LatentVariableModel, Posterior
from latentkit.distributions import (
    Likelihood,
    PosteriorFamily,
    Prior,
    check_supports,
    likelihoods,
    posteriors,
    priors,
)
from latentkit.models.conditional_priors import ConditionalPrior
from latentkit.models.networks import NetworkChoice
from latentkit.models.specification import Specification, build_part, models
from latentkit.models.starting import start_at_mean
from latentkit.nn import last_layer, networks

__all__ = ["VaeSpecification", "VariationalAutoencoder", "WithPrior"]

#: Decoders that see, beside z, the part of an example that is known already.
LOOKS_BACK = tuple(name for name in networks if networks[name].of_tables or networks[name].of_texts)


@final
class VariationalAutoencoder(nn.Module):
    r"""Encoder, prior and decoder wired as one latent-variable model.

    .. math:: p(x, z) = p(z)\, p(x \mid z), \qquad q(z \mid x) \approx p(z \mid x)

    Args:
        encoder: Network from x, shape (batch, *event), to the posterior's parameters, shape (batch, n).
        decoder: Network from z, shape (batch, latent), to the likelihood's parameters, shape (batch, p, *event).
        posterior: Family of q(z given x); may hold learnt parameters such as the layers of a flow.
        likelihood: Family of p(x given z); may hold learnt parameters such as a shared variance.
        prior: Module that returns p(z) when called.
        latent_dim: Number of latent dimensions.
        event_shape: Shape of one example in model units; texts may be shorter.
        join: How the encoder sees a condition beside x; None for a model without conditions.
        condition_dim: Columns of a condition; the decoder then takes latent_dim + condition_dim numbers.

    References:
        Kingma and Welling, 2014, Auto-Encoding Variational Bayes, arXiv:1312.6114; Sohn et al., 2015, Learning
        Structured Output Representation using Deep Conditional Generative Models (conditions).
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        decoder: nn.Module,
        posterior: PosteriorFamily,
        likelihood: Likelihood,
        prior: Prior,
        latent_dim: int,
        event_shape: tuple[int, ...],
        condition_dim: int = 0,
        join: Join | None = None,
    ) -> None:
        super().__init__()
        self.condition_dim = condition_dim
        self._join = join
        self.encoder = encoder
        self.decoder = decoder
        self.posterior = posterior
        self.likelihood = likelihood
        self.prior_family = prior
        self.latent_dim = latent_dim
        self.event_shape = event_shape

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        """Return q(z given x) for x of shape (batch, *event), or q(z given x and a condition)."""
        if self._join is not None:
            x = self._join(x, self._conditions(condition, x, 1))
        posterior: Posterior = self.posterior(self.encoder(x))
        return posterior

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Distribution:
        """Return p(x given z) for z of shape (*batch, latent), or p(x given z and a condition).

        The decoder sees z as the posterior's family can give it: see :meth:`PosteriorFamily.constrain`.
        """
        z = self.posterior.constrain(z)
        if self.condition_dim:
            z = torch.cat((z, self._conditions(condition, z, z.ndim - 1).expand(*z.shape[:-1], -1)), dim=-1)
        lead = z.shape[:-1]
        if len(lead) == 1:
            distribution: Distribution = self.likelihood(self.decoder(z))
            return distribution
        parameters: Tensor = self.decoder(z.reshape(-1, z.shape[-1]))
        distribution = self.likelihood(parameters.reshape(*lead, *parameters.shape[1:]))
        return distribution

    def prior(self) -> Distribution:
        """Return p(z)."""
        distribution: Distribution = self.prior_family(self.encode)
        return distribution

    def given(self, condition: Tensor) -> Conditioned:
        """Return the model of x given conditions, shape (batch, condition_dim), or (1, condition_dim) for every x.

        Raises:
            UnsupportedOperationError: If the model was not fitted with conditions.
        """
        return conditioned(self, condition)

    def _conditions(self, condition: Tensor | None, like: Tensor, n_batch_dims: int) -> Tensor:
        """Conditions in the precision of `like`, one for each row; zeros, which stand for none, where none is given."""
        if condition is None:
            return like.new_zeros(*([1] * n_batch_dims), self.condition_dim)
        return condition.to(like)

    @property
    def n_features(self) -> int:
        """Number of features of one example."""
        return prod(self.event_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean reconstruction of x, through the posterior mean."""
        return self.decode(self.encode(x).mean).mean

    @torch.no_grad()
    def initialise_output(self, x: Tensor) -> None:
        """Start the decoder where the average example is, given some data in model units, shape (n, *event).

        The last layer's bias becomes the likelihood's parameters of the marginal distribution of each feature, and a
        learnt variance that of the data, so that training begins at the data's mean instead of searching for it. A
        prior that is made of examples starts from these.
        """
        self.prior_family.initialise(x)
        start_at_mean(self.likelihood, last_layer(self.decoder), x)

    @torch.no_grad()
    def shift_output(self, offsets: Tensor) -> None:
        """Add to the likelihood's parameters of every example; the last layer of a user's own decoder stays as it is.

        Args:
            offsets: As many numbers as the bias of the decoder's last layer.
        """
        layer = last_layer(self.decoder)
        if layer is not None and layer.bias is not None:
            layer.bias.add_(offsets.to(layer.bias).reshape(layer.bias.shape))


def conditioned(model: ConditionedBy, condition: Tensor) -> Conditioned:
    """Return the model whose condition is fixed.

    Raises:
        UnsupportedOperationError: If the model was not fitted with conditions.
    """
    if not model.condition_dim:
        raise UnsupportedOperationError("this model was fitted without conditions. Fit with condition= to give one.")
    return Conditioned(model, condition)


#: x of shape (batch, *event) and conditions of shape (batch or 1, columns) to what the encoder takes.
Join = Callable[[Tensor, Tensor], Tensor]


def join_columns(x: Tensor, condition: Tensor) -> Tensor:
    """Return the features of x and then the condition, shape (batch, features + columns)."""
    rows = x.flatten(1)
    return torch.cat((rows, condition.expand(len(rows), -1)), dim=1)


def join_channels(x: Tensor, condition: Tensor) -> Tensor:
    """Return the channels of x and then a constant one for each column of the condition."""
    planes = condition.expand(len(x), -1)[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat((x, planes), dim=1)


def joining(
    event_shape: tuple[int, ...], condition_dim: int, *, by_channels: bool
) -> tuple[tuple[int, ...], Join | None]:
    """Return the shape that an encoder sees, and how a condition is joined to x; convolutions see it as channels."""
    if not condition_dim:
        return event_shape, None
    if by_channels:
        return (event_shape[0] + condition_dim, *event_shape[1:]), join_channels
    return (prod(event_shape) + condition_dim,), join_columns


class ConditionedBy(Protocol):
    """A model whose networks take a condition beside what they take without one."""

    condition_dim: int

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior: ...

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Distribution: ...

    def prior(self) -> Distribution: ...

    def parameters(self) -> Iterable[nn.Parameter]: ...


class Conditioned:
    """A model whose condition is fixed: the model of x given it.

    Args:
        model: Its networks are used as they are.
        condition: Shape (batch, condition_dim), or (1, condition_dim) for every x.
    """

    def __init__(self, model: ConditionedBy, condition: Tensor) -> None:
        self._model = model
        self._condition = condition

    def encode(self, x: Tensor) -> Posterior:
        """Return q(z given x and the condition)."""
        return self._model.encode(x, self._condition)

    def decode(self, z: Tensor) -> Distribution:
        """Return p(x given z and the condition)."""
        return self._model.decode(z, self._condition)

    def prior(self) -> Distribution:
        """Return p(z), which does not depend on the condition."""
        return self._model.prior()

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the model."""
        return self._model.parameters()


@models.register("vae")
@final
@dataclass(frozen=True, kw_only=True)
class VaeSpecification(Specification):
    """What a :class:`VariationalAutoencoder` is made of; see :class:`Specification` for the fields that all share.

    Attributes:
        encoder: Resolved network.
        posterior: Name of the family of q(z given x).
        posterior_options: Its arguments.
        prior: Name of the family of p(z).
        prior_options: Its arguments.
        condition_dim: Columns of a condition; 0 for none.
    """

    kind: ClassVar[str] = "vae"

    encoder: NetworkChoice
    posterior: str = "diagonal"
    posterior_options: Mapping[str, Any] = field(default_factory=dict)
    prior: str = "normal"
    prior_options: Mapping[str, Any] = field(default_factory=dict)
    condition_dim: int = 0

    def build(self, **own: nn.Module | None) -> VariationalAutoencoder:
        """Return the model with fresh weights; `own` may hold ``encoder`` and ``decoder``."""
        check_integer("latent_dim", self.latent_dim, low=1)
        check_supports(self.posterior, self.prior)
        posterior = build_part("posterior", posteriors, self.posterior, self.posterior_options, self.latent_dim)
        likelihood = build_part("likelihood", likelihoods, self.likelihood, self.likelihood_options, self.event_shape)
        seen, join = joining(self.event_shape, self.condition_dim, by_channels=self.encoder["network"] == "conv")
        n_inputs = self.latent_dim + self.condition_dim
        encoder = self.settings.encoder(self.encoder, seen, posterior.n_parameters, own=own.get("encoder"))
        decoder = self.settings.decoder(self.decoder, n_inputs, likelihood.output_shape, own=own.get("decoder"))
        if self.decoder["network"] in LOOKS_BACK:
            likelihood.look_at(decoder)
        return VariationalAutoencoder(
            encoder=encoder,
            decoder=decoder,
            posterior=posterior,
            likelihood=likelihood,
            prior=self._build_prior(),
            latent_dim=self.latent_dim,
            event_shape=self.event_shape,
            condition_dim=self.condition_dim,
            join=join,
        )

    def _build_prior(self) -> Prior:
        shape = (self.event_shape,) if priors[self.prior].is_made_of_posteriors else ()
        prior: Prior = build_part("prior", priors, self.prior, self.prior_options, self.latent_dim, *shape)
        return prior

    @property
    def networks(self) -> dict[str, NetworkChoice]:
        """Encoder and decoder."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    @property
    def parts(self) -> dict[str, str]:
        """Likelihood and posterior; and the prior, unless codes are points, which none is trained against."""
        parts = {"likelihood": self.likelihood, "posterior": self.posterior}
        return parts if self.is_deterministic else {**parts, "prior": self.prior}

    @property
    def is_deterministic(self) -> bool:
        """Whether q(z given x) is a point."""
        return not posteriors[self.posterior].has_density


class WithPrior:
    """A model whose prior is replaced, for measuring it under a prior that was fitted after training.

    Args:
        model: Its encoder and decoder are used as they are.
        prior: Gives the other p(z); a :class:`ConditionalPrior` is given what the model is given.

    Example:
        >>> from latentkit.distributions import StandardNormalPrior
        >>> from latentkit.models import VaeSpecification
        >>> layers = {"network": "mlp", "widths": [8]}
        >>> model = VaeSpecification(event_shape=(3,), latent_dim=2, encoder=layers, decoder=layers).build()
        >>> WithPrior(model, StandardNormalPrior(2)).prior().mean
        tensor([0., 0.])
    """

    def __init__(self, model: LatentVariableModel, prior: Callable[[], Distribution]) -> None:
        self._model = model
        self._prior = prior

    def encode(self, x: Tensor) -> Posterior:
        """Return q(z given x) of the model."""
        return self._model.encode(x)

    def decode(self, z: Tensor) -> Distribution:
        """Return p(x given z) of the model."""
        return self._model.decode(z)

    def prior(self) -> Distribution:
        """Return the other p(z)."""
        return self._prior()

    def given(self, condition: Tensor) -> WithPrior:
        """Return the model given conditions, under the other prior: given them too, where it can be."""
        prior = self._prior
        given = partial(prior.given, condition) if isinstance(prior, ConditionalPrior) else prior
        return WithPrior(cast(ConditionalModel, self._model).given(condition), given)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the model."""
        return self._model.parameters()
