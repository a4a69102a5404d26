"""The ladder: latents in layers, inferred from the top down."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast, final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.weak import WeakTensorKeyDictionary

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice, check_integer, suggestion
from latentkit.core.protocols import Distribution
from latentkit.core.seeds import generator
from latentkit.distributions import (
    DiagonalGaussian,
    Likelihood,
    StandardNormal,
    kl_divergence,
    likelihoods,
    register_kl_given_draw,
)
from latentkit.distributions.noise import drawn_shape, standard_normal
from latentkit.distributions.precision import at_least_float32
from latentkit.models.networks import NetworkChoice
from latentkit.models.specification import Specification, build_part, models
from latentkit.models.starting import start_at_mean
from latentkit.models.vae import Conditioned, Join, conditioned, joining
from latentkit.nn.families import NORMALIZATIONS, check_dropout, check_sizes
from latentkit.nn.ladder import LadderDecoder, LadderEncoder, LadderLayer, LevelSettings, levels_of, standardise_layers

__all__ = ["LAYOUTS", "LadderAutoencoder", "LadderPosterior", "LadderSpecification", "sizes_of"]

#: Examples of the pass that layers are scaled by.
INITIAL_ROWS = 256
LAYOUTS = ("vector", "grid")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Descent:
    """One way down the ladder, and what was met on it.

    Attributes:
        layers: Posteriors of the layers given the latents above them, top first.
        output: Features below the last layer, shape (rows, *level); of one row where nothing depends on z.
        below: What came up from the data, by which a posterior knows its own.
        condition: What the way was given.
        weights: Version of the weights.
    """

    layers: Sequence[DiagonalGaussian]
    output: Tensor
    below: Sequence[Tensor]
    condition: Tensor | None
    weights: int


class _Memory:
    """The ways down of the latent vectors that are alive, so that none is gone twice.

    A way is forgotten with its tensor, and does not count once tensor or weights were changed in place.
    """

    def __init__(self) -> None:
        self._kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def __reduce__(self) -> tuple[type[_Memory], tuple[()]]:
        return _Memory, ()  # the copy of a model has weights of its own, and remembers nothing

    def keep(self, z: Tensor, way: _Descent) -> None:
        """Keep the way of these latents; compiled code keeps none."""
        if not torch.compiler.is_compiling():
            self._kept[z] = (way, _state(z))

    def recall(self, z: Tensor) -> _Descent | None:
        """The way of these very latents, where it is known."""
        if torch.compiler.is_compiling() or z not in self._kept:
            return None
        way, before = self._kept[z]
        is_same = _version(z) == before if isinstance(before, int) else torch.equal(before, z)
        return cast(_Descent, way) if is_same else None


def _version(tensor: Tensor) -> int:
    """How often a tensor was changed in place; 0 where torch does not count it."""
    return 0 if tensor.is_inference() else int(tensor._version)  # noqa: SLF001 (torch has no public name for the count of changes in place)


def _state(tensor: Tensor) -> int | Tensor:
    """What shows whether a tensor is changed in place later: its version, or a copy where torch counts none."""
    return tensor.clone() if tensor.is_inference() else _version(tensor)


class _Way(nn.Module):
    """The way down as a module of its own, so that it can be gone with other weights."""

    def __init__(self, merges: nn.ModuleList, layers: nn.ModuleList) -> None:
        super().__init__()
        self.merges = merges
        self.layers = layers

    def forward(
        self,
        start: Tensor,
        below: Sequence[Tensor],
        choose: Callable[[int, DiagonalGaussian], Tensor],
    ) -> tuple[list[DiagonalGaussian], list[Tensor], Tensor]:
        """Go down; `choose` gives the latents of each layer, shape (*lead, batch, n_dims), from its posterior."""
        h = start
        posteriors: list[DiagonalGaussian] = []
        chosen: list[Tensor] = []
        for number, (merge, layer) in enumerate(zip(self.merges, self.layers, strict=True)):
            parameters = merge(below[number], h)
            if chosen:
                parameters = parameters.reshape(*chosen[0].shape[:-1], -1)
            posterior = DiagonalGaussian.from_parameters(parameters)
            u = choose(number, posterior)
            posteriors.append(posterior)
            chosen.append(u)
            h = step_down(cast(LadderLayer, layer), h, u)
        return posteriors, chosen, h


def step_down(layer: LadderLayer, h: Tensor, u: Tensor) -> Tensor:
    """Return the features for the layer below.

    .. math:: z_l = m_l(z_{>l}) + s_l(z_{>l}) u_l

    Args:
        layer: Gives mean m and standard deviation s, and adds z to the features.
        h: Features from above, shape (1 or k, *level), k dividing the number of rows.
        u: Standardised latents of the layer, shape (*batch, n_dims).
    """
    u = u.reshape(-1, u.shape[-1])
    if h.shape[0] not in (1, u.shape[0]):
        h = h.repeat(u.shape[0] // h.shape[0], *[1] * (h.ndim - 1))
    z = DiagonalGaussian.from_parameters(layer.prior_parameters(h)).rsample(noise=u)
    result: Tensor = layer(h, z)
    return result


@final
class LadderPosterior:
    r"""Posterior of a ladder's standardised latents, which factorises from the top down.

    .. math:: q(u | x) = \prod_{l=L}^{1} N(u_l; \mu_l(x, u_{>l}), \sigma_l^2(x, u_{>l}))

    Draws remember the way on which they were made, as long as they live: the model decodes them, and this posterior
    tells their density and their divergence, without going it again. Several draws that carry gradients are the
    exception: their gradients shall be those of z alone (as DReG needs it).

    Args:
        model: Whose networks lead down.
        below: What its encoder brought up from x, top first.
        condition: What the model is given.
        is_fixed: Whether the weights of the networks are cut from the graph, as `below` is.
    """

    __slots__ = ("_below", "_condition", "_is_fixed", "_mean", "_model")

    def __init__(
        self, model: LadderAutoencoder, below: Sequence[Tensor], condition: Tensor | None, *, is_fixed: bool = False
    ) -> None:
        self._model = model
        self._below = below
        self._condition = condition
        self._is_fixed = is_fixed
        self._mean: tuple[Tensor, Tensor] | None = None

    @property
    def mean(self) -> Tensor:
        """The way through the means, shape (batch, latent), exact at the top; below it given the means above."""
        return self._along_means()[0]

    @property
    def log_var(self) -> Tensor:
        """Logarithms of the variances on the way through the means, shape (batch, latent)."""
        return self._along_means()[1]

    @property
    def stddev(self) -> Tensor:
        """Standard deviations on the way through the means, shape (batch, latent)."""
        return torch.exp(0.5 * self.log_var)

    def rsample(self, n: int | None = None, *, noise: Tensor | None = None) -> Tensor:
        """Reparameterised draws from the top down, shape (batch, latent) or (n, batch, latent).

        Args:
            n: Number of draws for each example; None for one draw without a leading dimension.
            noise: Standard normal numbers of the shape of the result; drawn from torch's global generator by default.
        """
        if noise is None:
            shape = drawn_shape(n, (self._below[0].shape[0], self._model.latent_dim))
            noise = standard_normal(shape, like=at_least_float32(self._below[0].new_empty(0)))
        parts = self._model.split(noise)
        z, way = self._descend(lambda number, layer: layer.rsample(noise=parts[number]))
        if noise.ndim == 2 or not torch.is_grad_enabled():
            self._model.remember(z, way)
        return z

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws without gradient, shape (batch, latent) or (n, batch, latent)."""
        with torch.no_grad():
            shape = drawn_shape(n, (self._below[0].shape[0], self._model.latent_dim))
            like = at_least_float32(self._below[0].new_empty(0))
            return self.rsample(n, noise=standard_normal(shape, like=like, generator=generator))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats of `value`, shape (*draws, batch, latent) to (*draws, batch)."""
        value = at_least_float32(value)
        parts = self._model.split(value)
        return torch.stack([q.log_prob(part) for q, part in zip(self.layers(value), parts, strict=True)]).sum(0)

    def layers(self, value: Tensor) -> Sequence[DiagonalGaussian]:
        """Posteriors of the layers, top first, each given the part of `value` above it.

        Batch shape (*draws, batch), but (batch,) at the top.
        """
        known = self._model.recall(value, self._condition)
        if known is not None and known.below is self._below:
            return known.layers
        parts = self._model.split(value.expand(*value.shape[:-2], self._below[0].shape[0], -1))
        return self._descend(lambda number, _: parts[number])[1].layers

    def detach(self) -> LadderPosterior:
        """The same distribution, cut from the graph: features and weights; draws given to it lead through it still."""
        return LadderPosterior(self._model, [part.detach() for part in self._below], self._condition, is_fixed=True)

    def _along_means(self) -> tuple[Tensor, Tensor]:
        if self._mean is None:
            z, way = self._descend(lambda _, layer: layer.mean)
            self._model.remember(z, way)
            self._mean = z, torch.cat([layer.log_var for layer in way.layers], dim=-1)
        return self._mean

    def _descend(self, choose: Callable[[int, DiagonalGaussian], Tensor]) -> tuple[Tensor, _Descent]:
        return self._model.descend(self._below, self._condition, choose, is_fixed=self._is_fixed)


@register_kl_given_draw(LadderPosterior, StandardNormal)
def _ladder_standard(q: LadderPosterior, p: StandardNormal, z: Tensor) -> Tensor:
    terms = [kl_divergence(layer, StandardNormal(layer.mean.shape[-1])) for layer in q.layers(z)]
    # The top does not depend on the draw; the other layers have one term for each.
    return torch.stack([term.reshape(-1, term.shape[-1]).mean(0) for term in terms], dim=-1)


@final
class LadderAutoencoder(nn.Module):
    r"""Latents in layers, from coarse at the top to fine next to the data; inference follows generation downwards.

    .. math::
        z_l = m_l(z_{>l}) + s_l(z_{>l}) \, u_l, \quad u_l \sim N(0, I), \quad x \sim p(x \mid z_L, ..., z_1)

    so that every layer has a learnt Gaussian prior given the layers above, the top one too. The latent vector that this
    model shows is the standardised u, top layer first: its prior is N(0, I) exactly, a step of 1 means the same in
    every layer, and changing the top while the rest stays carries the lower layers along. Divergences are those of z,
    and so are ratios of densities, since the map from u to z is one-to-one.

    The posterior of a layer is read from the features that climb from the data, merged with those that come down:

    .. math:: q(u_l \mid x, u_{>l}) = N(\mu_l(x, u_{>l}), \sigma_l^2(x, u_{>l}))

    Args:
        encoder: The way up.
        decoder: The way down.
        likelihood: Family of p(x given z); may hold learnt parameters such as a shared variance.
        event_shape: Shape of one example in model units.
        join: How the encoder sees a condition beside x; None for a model without conditions.
        condition_dim: Columns of a condition.

    References:
        Sonderby et al., 2016, Ladder Variational Autoencoders, arXiv:1602.02282; Vahdat and Kautz, 2020, NVAE, section
        3.2 (posteriors relative to the prior), arXiv:2007.03898.
    """

    def __init__(
        self,
        *,
        encoder: LadderEncoder,
        decoder: LadderDecoder,
        likelihood: Likelihood,
        event_shape: tuple[int, ...],
        condition_dim: int = 0,
        join: Join | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.dims = decoder.dims
        self.latent_dim = sum(self.dims)
        self.event_shape = event_shape
        self.condition_dim = condition_dim
        self._join = join
        self._memory = _Memory()

    def encode(self, x: Tensor, condition: Tensor | None = None) -> LadderPosterior:
        """Return q(u given x) for x of shape (batch, *event), or q(u given x and a condition)."""
        if self._join is not None:
            seen = x.new_zeros(1, self.condition_dim) if condition is None else condition.to(x)
            return LadderPosterior(self, self.encoder(self._join(x, seen)), condition)
        return LadderPosterior(self, self.encoder(x), condition)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Distribution:
        """Return p(x given u) for u of shape (*batch, latent), or p(x given u and a condition)."""
        known = self.recall(z, condition)
        if known is not None:
            h = known.output
        else:
            h = self._begin(condition)
            for layer, part in zip(self.decoder.layers, self.split(z), strict=True):
                h = step_down(cast(LadderLayer, layer), h, part)
        parameters = self.decoder.finish(h)
        distribution: Distribution = self.likelihood(parameters.reshape(*z.shape[:-1], *parameters.shape[1:]))
        return distribution

    def prior(self) -> StandardNormal:
        """Return p(u), which is N(0, I)."""
        return StandardNormal(self.latent_dim, like=self.decoder.start)

    def given(self, condition: Tensor) -> Conditioned:
        """Return the model of x given conditions, shape (batch, condition_dim), or (1, condition_dim) for every x.

        Raises:
            UnsupportedOperationError: If the model was not fitted with conditions.
        """
        return conditioned(self, condition)

    @property
    def n_features(self) -> int:
        """Number of features of one example."""
        return math.prod(self.event_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean reconstruction of x, along the posterior's means."""
        return self.decode(self.encode(x).mean).mean

    @torch.no_grad()
    def initialise_output(self, x: Tensor) -> None:
        """Start from some data in model units, shape (n, *event): layers at unit variance, the output at their mean.

        The layers are scaled on the way of the first examples with one draw of u, from a generator of its own.
        """
        start_at_mean(self.likelihood, self.decoder.output_layer, x)
        rows = x[:INITIAL_ROWS]
        noise = standard_normal((len(rows), self.latent_dim), like=rows, generator=generator(0, "ladder"))
        mode = self.training
        self.eval()  # nothing is dropped, and no running statistics are touched
        standardise_layers((self.encoder, self.decoder.layers), lambda: self.encode(rows).rsample(noise=noise))
        self.train(mode)

    # The way down, which posterior and decoder share

    def split(self, z: Tensor) -> Sequence[Tensor]:
        """The parts of latent vectors, shape (*batch, latent), that belong to the layers, top first."""
        return torch.split(z, self.dims, dim=-1)

    def descend(
        self,
        below: Sequence[Tensor],
        condition: Tensor | None,
        choose: Callable[[int, DiagonalGaussian], Tensor],
        *,
        is_fixed: bool = False,
    ) -> tuple[Tensor, _Descent]:
        """Go down once, with the latents that `choose` takes from the posterior of each layer.

        Args:
            below: What the encoder brought up.
            condition: What the model is given.
            choose: Called with the number of a layer, from the top, and its posterior; returns the layer's latents,
                shape (*draws, batch, n_dims).
            is_fixed: Whether the weights are cut from the graph.

        Returns:
            The latents, shape (*draws, batch, latent), top first, and what was met.
        """
        way = _Way(self.encoder.merges, self.decoder.layers)
        start = self._begin(condition)
        if is_fixed:
            weights = {name: weight.detach() for name, weight in way.named_parameters()}
            layers, chosen, output = functional_call(way, weights, (start.detach(), below, choose))
        else:
            layers, chosen, output = way(start, below, choose)
        version = _version(self.decoder.start)
        met = _Descent(layers=layers, output=output, below=below, condition=condition, weights=version)
        return torch.cat(chosen, dim=-1), met

    def remember(self, z: Tensor, way: _Descent) -> None:
        """Keep the way of these latents as long as they live."""
        self._memory.keep(z, way)

    def recall(self, z: Tensor, condition: Tensor | None) -> _Descent | None:
        """The way that these very latents came, where it is known and still holds."""
        way = self._memory.recall(z)
        if way is None or way.condition is not condition or way.weights != _version(self.decoder.start):
            return None
        return way

    def _begin(self, condition: Tensor | None) -> Tensor:
        return self.decoder.begin(None if condition is None else condition.to(self.decoder.start))


@models.register("ladder")
@final
@dataclass(frozen=True, kw_only=True)
class LadderSpecification(Specification):
    """What a :class:`LadderAutoencoder` is made of; see :class:`Specification` for the fields that all share.

    Encoder and decoder have one width (or number of channels) for each layer, from the data to the top.

    Attributes:
        encoder: Resolved network of the way up.
        layer_dims: Latents of each layer, from the data to the top; with `latent_layout` ``"grid"``, channels of them.
        latent_layout: ``"vector"``, or ``"grid"``: the latents of a layer lie on its grid.
        n_blocks: Residual blocks of a layer, each way.
        posterior: What a run says of it: every ladder's is ``"top-down"``.
        prior: Likewise: ``"normal"``, scaled layer by layer.
        condition_dim: Columns of a condition; 0 for none.
    """

    kind: ClassVar[str] = "ladder"

    encoder: NetworkChoice
    layer_dims: Sequence[int]
    latent_layout: str = "vector"
    n_blocks: int = 1
    posterior: str = "top-down"
    prior: str = "normal"
    condition_dim: int = 0

    def counted(self) -> LadderSpecification:
        """Return this specification with `latent_dim` counted: what the layers have together.

        Raises:
            InvalidParameterError: If the parts do not go together.
        """
        levels = levels_of(sizes_of(self.decoder), self.event_shape, on_grids=self._check())
        places = [math.prod(level.grid or ()) if self.latent_layout == "grid" else 1 for level in levels]
        return replace(self, latent_dim=sum(map(math.prod, zip(self.layer_dims, places, strict=True))))

    def build(self, **own: nn.Module | None) -> LadderAutoencoder:
        """Return the model with fresh weights; a ladder takes no modules of the user's own."""
        check_integer("n_blocks", self.n_blocks, low=0)
        on_grids = self._check()
        likelihood = build_part("likelihood", likelihoods, self.likelihood, self.likelihood_options, self.event_shape)
        seen, join = joining(self.event_shape, self.condition_dim, by_channels=on_grids)
        up, down = (
            levels_of(sizes_of(choice), self.event_shape, on_grids=on_grids) for choice in (self.encoder, self.decoder)
        )
        ways = [self._settings(choice) for choice in (self.encoder, self.decoder)]
        output_shape = (likelihood.n_parameters, *self.event_shape)
        decoder = LadderDecoder(down, self.layer_dims, output_shape, ways[1], condition_dim=self.condition_dim)
        model = LadderAutoencoder(
            encoder=LadderEncoder(seen, up, down, self.layer_dims, ways[0]),
            decoder=decoder,
            likelihood=likelihood,
            event_shape=self.event_shape,
            condition_dim=self.condition_dim,
            join=join,
        )
        if model.latent_dim != self.latent_dim:
            raise InvalidParameterError(
                f"latent_dim of a ladder is the sum over its layers, here {model.latent_dim}; got {self.latent_dim}."
            )
        return model

    def _settings(self, choice: NetworkChoice) -> LevelSettings:
        if choice["normalization"] == "batch":
            raise InvalidParameterError(
                "batch normalisation has nothing to go by at the top of a ladder, whose features are the same for "
                "every example. Use normalization='group', 'layer' or 'none'."
            )
        return LevelSettings(
            n_blocks=self.n_blocks,
            activation=choice["activation"],
            normalization=check_choice("normalization", choice["normalization"], NORMALIZATIONS[1:]),
            dropout=check_dropout(self.dropout),
            upsampling=self.upsampling,
            has_grids=self.latent_layout == "grid",
        )

    def _check(self) -> bool:
        """Check that the parts go together; tell whether features lie on grids."""
        check_choice("latent_layout", self.latent_layout, LAYOUTS)
        kinds = {"decoder": self.decoder["network"], "encoder": self.encoder["network"]}
        for role, kind in kinds.items():
            if kind == "custom":
                raise InvalidParameterError(
                    f"a ladder builds its networks layer by layer, so {role} cannot be a module of your own. Use "
                    "'mlp', 'conv' or a tuple of widths, one for each layer."
                )
            if kind not in ("mlp", "conv"):
                raise InvalidParameterError(
                    f"{role} must be 'auto', 'mlp', 'conv' or a tuple of widths, one for each layer; got {kind!r}."
                    f"{suggestion(kind, ('mlp', 'conv'))}"
                )
        if kinds["encoder"] != kinds["decoder"]:
            raise InvalidParameterError(
                f"the ways up and down a ladder meet in every layer, so both must be 'mlp' or both 'conv'; got "
                f"encoder {kinds['encoder']!r}, decoder {kinds['decoder']!r}."
            )
        on_grids: bool = kinds["decoder"] == "conv"
        if on_grids and len(self.event_shape) != 3:
            raise InvalidParameterError("decoder='conv' needs images, and these data are rows. Use 'mlp' or 'auto'.")
        if not on_grids and self.upsampling != "transposed":
            raise InvalidParameterError(
                f"upsampling={self.upsampling!r} belongs to a convolutional decoder, and this one is 'mlp'. Leave it "
                "out, or use decoder='conv'."
            )
        if not on_grids and self.latent_layout == "grid":
            raise InvalidParameterError(
                "latent_layout='grid' lays latents on the grids of a convolutional ladder, and this one is 'mlp'. Use "
                "latent_layout='vector', or decoder='conv'."
            )
        counts = {
            "encoder": len(sizes_of(self.encoder)),
            "decoder": len(sizes_of(self.decoder)),
            "latent_dim": len(check_sizes("latent_dim", self.layer_dims)),
        }
        if len(set(counts.values())) != 1 or not counts["decoder"]:
            given = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise InvalidParameterError(f"a ladder needs one width and one latent_dim for each layer; {given}.")
        return on_grids

    @property
    def networks(self) -> dict[str, NetworkChoice]:
        """Encoder and decoder."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    @property
    def parts(self) -> dict[str, str]:
        """Likelihood, posterior and prior."""
        return {"likelihood": self.likelihood, "posterior": self.posterior, "prior": self.prior}


def sizes_of(choice: NetworkChoice) -> tuple[int, ...]:
    """Return the width of each layer of a resolved network, or its number of channels."""
    name = "channels" if choice["network"] == "conv" else "widths"
    return check_sizes(name, choice.get(name, ()))
