"""The vector-quantised autoencoder: its latents are codes on a grid, or in a few slots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.distributions import Likelihood, ObservationDistribution, likelihoods
from latentkit.models.codes import CodeDistribution
from latentkit.models.networks import NetworkChoice
from latentkit.models.specification import Specification, build_part, models
from latentkit.models.starting import start_at_mean
from latentkit.nn import GridDecoder, GridEncoder, Quantized, Quantizer, last_layer, quantizers
from latentkit.nn.convolutional import grid_sizes

__all__ = ["CodePosterior", "QuantizedAutoencoder", "QuantizedSpecification"]

#: Codes of an image that no grid is made of.
SLOTS_OF_IMAGE = 32


@final
class CodePosterior:
    """q(z given x) that is certain: the vectors of the codes of x.

    Args:
        mean: Vectors of the codes, flattened, shape (*batch, latent).
    """

    __slots__ = ("mean",)

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean

    def log_prob(self, value: Tensor) -> Tensor:
        """0 where `value` is the mean, else minus infinity, shape (*batch,)."""
        same = (value == self.mean).all(-1)
        return torch.where(same, 0.0, -torch.inf).to(self.mean.dtype)

    def rsample(self, n: int | None = None, *, noise: Tensor | None = None) -> Tensor:
        """The mean, `n` times where it is given; there is nothing to draw."""
        return self.mean if n is None else self.mean.expand(n, *self.mean.shape)

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """As :meth:`rsample`, without gradient."""
        return self.rsample(n).detach()

    def detach(self) -> CodePosterior:
        """The same, cut from the graph."""
        return CodePosterior(self.mean.detach())


@final
class QuantizedAutoencoder(nn.Module):
    r"""Encoder, quantiser and decoder.

    .. math:: c_i = \arg\min_k \|h_i(x) - e_k\|, \qquad p(x, c) = p(c)\, p(x \mid e_{c_1}, ..., e_{c_n})

    The prior p(c) of training is uniform; a better one is fitted to the codes afterwards, see
    :class:`latentkit.models.CodePrior`. As vectors of numbers, latents are the code vectors one after the other.

    Args:
        encoder: Network from x, shape (batch, *event), to (batch, places * quantizer.n_inputs).
        quantizer: From the encoder's numbers to codes.
        decoder: Network from z, shape (batch, places * code_dim), to the likelihood's parameters, (batch, p, *event).
        likelihood: Family of p(x given z).
        grid: Sides of the grid of codes.
        event_shape: Shape of one example in model units.

    References:
        van den Oord et al., 2017, Neural Discrete Representation Learning, arXiv:1711.00937.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        quantizer: Quantizer,
        decoder: nn.Module,
        likelihood: Likelihood,
        grid: tuple[int, ...],
        event_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.quantizer = quantizer
        self.decoder = decoder
        self.likelihood = likelihood
        self.grid = grid
        self.event_shape = event_shape
        self.n_places = prod(grid)
        self.latent_dim = self.n_places * quantizer.code_dim

    def quantize(self, x: Tensor) -> Quantized:
        """Quantise x, shape (batch, *event); vectors carry gradients, and in training the codebook learns."""
        quantized: Quantized = self.quantizer(self._hidden(x))
        return quantized

    def codes(self, x: Tensor) -> Tensor:
        """The codes of x, int64, shape (batch, places)."""
        return self.quantizer.encode(self._hidden(x))

    def encode(self, x: Tensor) -> CodePosterior:
        """Return q(z given x), which is certain of its codes, for x of shape (batch, *event)."""
        return CodePosterior(self.quantizer.vectors(self.codes(x)).to(x.dtype).flatten(1))

    def decode(self, z: Tensor) -> ObservationDistribution:
        """Return p(x given the codes nearest to z), z of shape (*batch, latent)."""
        lead = z.shape[:-1]
        codes = self.quantizer.nearest(z.reshape(-1, self.n_places, self.quantizer.code_dim))
        return self._likelihood(self.quantizer.vectors(codes).to(z.dtype), lead)

    def decode_vectors(self, vectors: Tensor) -> ObservationDistribution:
        """Return p(x given code vectors), shape (batch, places, code_dim), taken as they are."""
        return self._likelihood(vectors, vectors.shape[:1])

    def prior(self) -> CodeDistribution:
        """Return the prior of training: uniform codes."""
        return CodeDistribution(self.quantizer, self.n_places)

    def given(self, condition: Tensor) -> QuantizedAutoencoder:
        """Return the model itself: its codes hold all of x, and a condition goes to the prior over codes."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean reconstruction of x."""
        return self.decode(self.encode(x).mean).mean

    @torch.no_grad()
    def initialise_output(self, x: Tensor) -> None:
        """Start the decoder where the average example is, and the codebook where the encoder puts the data.

        Args:
            x: Some data in model units, shape (n, *event).
        """
        start_at_mean(self.likelihood, last_layer(self.decoder), x)
        self.quantizer.start(torch.cat([self._hidden(part) for part in torch.split(x[:1024], 256)]))

    def _hidden(self, x: Tensor) -> Tensor:
        h: Tensor = self.encoder(x).reshape(-1, self.n_places, self.quantizer.n_inputs)
        return h

    def _likelihood(self, vectors: Tensor, lead: Iterable[int]) -> ObservationDistribution:
        parameters: Tensor = self.decoder(vectors.reshape(-1, self.latent_dim))
        distribution: ObservationDistribution = self.likelihood(parameters.reshape(*lead, *parameters.shape[1:]))
        return distribution


@models.register("vqvae")
@final
@dataclass(frozen=True, kw_only=True)
class QuantizedSpecification(Specification):
    """What a :class:`QuantizedAutoencoder` is made of; see :class:`Specification` for the fields that all share.

    A convolutional encoder gives a grid, which a convolutional decoder of as many stages reads as one; any other
    encoder gives latent_dim / code_dim slots, and any other decoder reads z as one vector.

    Attributes:
        encoder: Resolved network.
        code_dim: Length of a code vector.
        quantizer: Name of the quantiser.
        quantizer_options: Its arguments.
        condition_dim: Columns of a condition, which the prior over codes sees; 0 for none.
    """

    kind: ClassVar[str] = "vqvae"

    encoder: NetworkChoice
    code_dim: int
    quantizer: str = "ema"
    quantizer_options: Mapping[str, Any] = field(default_factory=dict)
    condition_dim: int = 0

    def build(self, **own: nn.Module | None) -> QuantizedAutoencoder:
        """Return the model with fresh weights; `own` may hold ``encoder`` and ``decoder``."""
        grid, quantizer = self.grid, self.build_quantizer()
        likelihood = build_part("likelihood", likelihoods, self.likelihood, self.likelihood_options, self.event_shape)
        output_shape = (likelihood.n_parameters, *self.event_shape)
        encoder: nn.Module
        decoder: nn.Module
        if len(grid) == 2:
            encoder = GridEncoder(self.event_shape, quantizer.n_inputs, **self._convolutional(self.encoder))
        else:
            n_outputs = prod(grid) * quantizer.n_inputs
            encoder = self.settings.encoder(self.encoder, self.event_shape, n_outputs, own=own.get("encoder"))
        if len(grid) == 2 and self.decoder["network"] == "conv" and self._grid_of(self.decoder) == grid:
            options = {**self._convolutional(self.decoder), "upsampling": self.upsampling}
            decoder = GridDecoder(self.code_dim, output_shape, **options)
        else:
            decoder = self.settings.decoder(self.decoder, self.latent_dim, output_shape, own=own.get("decoder"))
        return QuantizedAutoencoder(
            encoder=encoder,
            quantizer=quantizer,
            decoder=decoder,
            likelihood=likelihood,
            grid=grid,
            event_shape=self.event_shape,
        )

    def build_quantizer(self) -> Quantizer:
        """Return the quantiser with a fresh codebook."""
        quantizer: Quantizer = build_part(
            "quantizer", quantizers, self.quantizer, self.quantizer_options, self.code_dim
        )
        return quantizer

    @property
    def grid(self) -> tuple[int, ...]:
        """Sides of the grid that the codes form, (height, width) or (slots,).

        Raises:
            InvalidParameterError: If `latent_dim` is not that of the grid.
        """
        places = check_integer("latent_dim", self.latent_dim, low=1) / check_integer("code_dim", self.code_dim, low=1)
        if self._is_grid:
            grid = self._grid_of(self.encoder)
            if places != prod(grid):
                raise InvalidParameterError(
                    f"a grid of {grid[0]} x {grid[1]} codes of {self.code_dim} numbers has {prod(grid) * self.code_dim}"
                    f" latent dimensions; got latent_dim={self.latent_dim}. Leave it at 'auto', and set code_dim or "
                    "downsampling."
                )
            return grid
        if places != int(places):
            below = max(1, int(places)) * self.code_dim
            raise InvalidParameterError(
                f"latent_dim must be a multiple of code_dim={self.code_dim}, one code for each; got "
                f"{self.latent_dim}. Use latent_dim={below}."
            )
        return (int(places),)

    @property
    def default_places(self) -> int:
        """Codes of one example where nobody asked for a number.

        The places of the grid; half the columns of rows, from 2 to 16; :data:`SLOTS_OF_IMAGE` for images without a
        grid.
        """
        if self._is_grid:
            return prod(self._grid_of(self.encoder))
        return SLOTS_OF_IMAGE if len(self.event_shape) == 3 else max(2, min(16, self.event_shape[0] // 2))

    @property
    def outline(self) -> Quantizer:
        """The quantiser without memory for its numbers: what it is, such as its `n_codes`."""
        with torch.device("meta"):
            return self.build_quantizer()

    @property
    def networks(self) -> dict[str, NetworkChoice]:
        """Encoder and decoder."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    @property
    def is_discrete(self) -> bool:
        """Latents are codes."""
        return True

    @property
    def parts(self) -> dict[str, str]:
        """Likelihood, quantiser, and how many codes out of how many."""
        codes = f"{' x '.join(map(str, self.grid))} out of {self.outline.n_codes}"
        return {"likelihood": self.likelihood, "quantizer": self.quantizer, "codes": codes}

    @property
    def _is_grid(self) -> bool:
        return self.encoder["network"] == "conv" and len(self.event_shape) == 3

    def _grid_of(self, choice: NetworkChoice) -> tuple[int, int]:
        return grid_sizes(self.event_shape[1:], len(choice.get("channels", ())))[-1]

    def _convolutional(self, choice: NetworkChoice) -> dict[str, Any]:
        """Arguments of a grid's network."""
        named = {name: choice[name] for name in ("activation", "normalization") if choice.get(name, "auto") != "auto"}
        return {"channels": tuple(choice["channels"]), "dropout": self.dropout, **named}
