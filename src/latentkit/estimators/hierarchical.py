"""The hierarchical variational autoencoder as an estimator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, final

from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice
from latentkit.core.protocols import Objective
from latentkit.estimators.fitting import BOUND, TrainedEstimator
from latentkit.estimators.parameters import ExPostParameters, NetworkParameters, completed
from latentkit.estimators.registry import estimators
from latentkit.estimators.resolving import (
    default_latent_dim,
    resolve_kl_schedule,
    resolve_objective,
)
from latentkit.estimators.vectors import VectorTasks
from latentkit.models import LadderSpecification, NetworkChoice, resolve_network, settle
from latentkit.models.ladder import LAYOUTS, sizes_of
from latentkit.nn.families import check_sizes
from latentkit.objectives import objectives

__all__ = ["HierarchicalVAE"]

#: Layers of a ladder over rows, where nothing says how many.
N_LAYERS = 3
#: Smallest width that "auto" gives a layer.
SMALLEST_WIDTH = 32
#: Nats that each layer has for free under "auto".
FREE_BITS = 0.5
#: What "auto" means in all layers: after 300 steps on MNIST seven nats ahead of relu.
ACTIVATION = "silu"
#: Latents, at most, to which a mixture is fitted after training: its covariances are full.
MOST_MIXED = 256
#: Objectives that ask of q(z given x) no more than draws, their density and, layer by layer, a divergence.
OBJECTIVES = ("elbo", "iwae", "dreg", "stl", "miwae", "ciwae", "info")
#: Channels of latents that "auto" gives each layer on a grid.
GRID_LATENTS = 8


@estimators.register("hierarchical", cites=("sonderby2016ladder", "vahdat2020nvae"))
@final
@completed
@dataclass(kw_only=True, eq=False, repr=False)
class HierarchicalVAE(VectorTasks, NetworkParameters, ExPostParameters, TrainedEstimator):
    r"""Ladder variational autoencoder: latents in layers, coarse at the top, fine next to the data.

    .. math:: \log p(x) \ge E_q[\log p(x \mid z)] - \beta \sum_l KL(q(z_l \mid x, z_{>l}), p(z_l \mid z_{>l}))

    Inference goes from the top down, as generation does: what the layers above have settled need not be inferred
    again. Latent vectors have the layers one after the other, top first, each standardised by its learnt prior: N(0, I)
    is their prior, and a change of the top carries the layers below along.

    Args:
        latent_dim: Latents of the layers, from the data to the top, such as ``(32, 16, 8)``, or one number for every
            layer; ``latent_dim_`` is their total. With ``latent_layout="grid"`` they are channels of the layer's grid.
        n_layers: Number of layers; ``"auto"`` follows the sizes that are given, else three for rows, and for images as
            many as bring their sides to 4, at least two.
        encoder: The way up: ``"auto"`` is as wide as the decoder, ``"mlp"``, ``"conv"``, or a tuple of widths such as
            ``(512, 256, 128)``, one for each layer from the data to the top. The way down is `decoder`, likewise.
            Modules of your own have no layers to meet in, and are refused.
        channels: Channels of the layers of a convolutional ladder, from fine to coarse.
        n_blocks: Gated residual blocks of a layer, on the way up and again on the way down.
        latent_layout: ``"vector"``: each layer has one vector for the whole image; ``"grid"``: latents at every place
            of the layer's grid, which gives better bounds and thousands of dimensions, too many for an ex-post mixture:
            ``ex_post="none"`` goes with it, or a prior that a network learns.
        objective: ``"elbo"``, ``"iwae"``, ``"dreg"`` or ``"stl"``.
        beta: Weight of the KL term; 1 is the bound.
        free_bits: Nats of KL that each layer has for free, so that upper layers are not switched off; ``"auto"`` is 0.5
            for the ``"elbo"``, else 0.
        n_importance: Draws per example of the importance-weighted objectives; ``"auto"`` is 5 for them.
        kl_schedule: ``"linear"`` warm-up of the KL term, ``"cyclical"`` or ``"constant"``.
        kl_warm_up: Share of training over which a linear warm-up rises.

    Attributes:
        latent_dim_: Latent dimensions of all layers.

    References:
        Sonderby et al., 2016, Ladder Variational Autoencoders, arXiv:1602.02282; Kingma et al., 2016, arXiv:1606.04934
        (free bits, top-down inference with residual networks).

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X = load_iris().data
        >>> vae = HierarchicalVAE((2, 1), decoder=(32, 16), max_epochs=5, random_state=0).fit(X)
        >>> vae.transform(X).shape, vae.sample(3).shape
        ((150, 3), (3, 4))
    """

    latent_dim: int | Sequence[int] | Literal["auto"] = field(default="auto", kw_only=False)
    n_layers: int | Literal["auto"] = "auto"
    encoder: str | Sequence[int] | nn.Module = "auto"
    channels: Sequence[int] | Literal["auto"] = "auto"
    n_blocks: int = 1
    latent_layout: Literal["vector", "grid"] = "vector"
    objective: str = "elbo"
    beta: float = 1.0
    free_bits: float | Literal["auto"] = "auto"
    n_importance: int | Literal["auto"] = "auto"
    kl_schedule: str = "linear"
    kl_warm_up: float = 0.1

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "latent_dim": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), tuple, list],
        "n_layers": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "encoder": [str, tuple, list, nn.Module],
        "channels": [StrOptions({"auto"}), tuple, list],
        "n_blocks": [Interval(Integral, 0, None, closed="left")],
        "latent_layout": [StrOptions(set(LAYOUTS))],
        "objective": [str],
        "beta": [Interval(Real, 0, None, closed="left")],
        "free_bits": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "n_importance": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "kl_schedule": [str],
        "kl_warm_up": [Interval(Real, 0, 1, closed="both")],
    }

    # What is trained

    def _specify(self, n_rows: int, condition_dim: int) -> LadderSpecification:
        self._check_ex_post()
        event_shape = tuple(self.schema_.event_shape)
        likelihood, options = self._resolve_likelihood()
        decoder = self._network(self.decoder, event_shape, n_rows)
        encoder = decoder if self.encoder == "auto" else self._network(self.encoder, event_shape, n_rows)
        layer_dims = self._layer_dims(event_shape, len(sizes_of(decoder)))
        specification = LadderSpecification(
            event_shape=event_shape,
            latent_dim=sum(layer_dims),
            layer_dims=list(layer_dims),
            latent_layout=self.latent_layout,
            encoder=encoder,
            decoder=decoder,
            n_blocks=int(self.n_blocks),
            likelihood=likelihood,
            likelihood_options=options,
            activation=self.activation,
            normalization=self.normalization,
            dropout=self._resolve_dropout(),
            upsampling=self.upsampling,
            condition_dim=condition_dim,
        ).counted()
        if self.ex_post == "mixture" and specification.latent_dim > MOST_MIXED:
            raise InvalidParameterError(
                f"ex_post='mixture' fits full covariances to all latents, to {MOST_MIXED} at most; this ladder has "
                f"{specification.latent_dim}. Use ex_post='none', which samples from the ladder's own prior, or "
                "latent_layout='vector'."
            )
        return specification

    def _network(self, network: Any, event_shape: tuple[int, ...], n_rows: int) -> NetworkChoice:
        """A network with one size for each layer."""
        choice = settle(
            resolve_network(network, event_shape, n_rows=n_rows),
            activation=ACTIVATION if self.activation == "auto" else self.activation,
            normalization=self.normalization,
        )
        if choice["network"] == "conv" and "channels" in choice:
            if self.channels != "auto":
                return {**choice, "channels": list(check_sizes("channels", self.channels))}
            return {**choice, "channels": self._as_many(choice["channels"], max(2, len(choice["channels"])))}
        if self.channels != "auto":
            raise InvalidParameterError(
                f"channels={self.channels!r} belong to a convolutional ladder, and this one is {choice['network']!r}. "
                "Leave them out, or use decoder='conv' with images."
            )
        if choice["network"] == "mlp" and network in ("auto", "mlp"):
            widest = choice["widths"][0]
            smallest = min(widest, SMALLEST_WIDTH)
            return {**choice, "widths": self._as_many([max(widest >> i, smallest) for i in range(8)], N_LAYERS)}
        return choice

    def _as_many(self, sizes: list[int], usual: int) -> list[int]:
        """The first sizes, as many as there shall be layers; the last is repeated where there are too few."""
        n = self._given_layers() or usual
        return (sizes + [sizes[-1]] * n)[:n]

    def _given_layers(self) -> int | None:
        """The number of layers that was asked for."""
        if self.n_layers != "auto":
            return int(self.n_layers)
        return None if isinstance(self.latent_dim, (str, int, Integral)) else len(self.latent_dim)

    def _layer_dims(self, event_shape: tuple[int, ...], n_layers: int) -> tuple[int, ...]:
        """Latents of each layer, from the data to the top; "auto" halves them from layer to layer."""
        if self.n_layers != "auto" and int(self.n_layers) != n_layers:
            raise InvalidParameterError(
                f"n_layers={self.n_layers!r}, and decoder or channels give {n_layers} sizes. Give one size for each "
                "layer, or leave n_layers out."
            )
        if isinstance(self.latent_dim, Integral):
            return (int(self.latent_dim),) * n_layers
        if not isinstance(self.latent_dim, str):
            return check_sizes("latent_dim", self.latent_dim)
        if self.latent_layout == "grid":
            return (GRID_LATENTS,) * n_layers
        return tuple(max(1, default_latent_dim(event_shape) >> i) for i in range(n_layers))

    def _objective(self) -> Objective:
        check_choice("objective", self.objective, OBJECTIVES)
        free_bits = (FREE_BITS if self.objective == "elbo" else 0.0) if self.free_bits == "auto" else self.free_bits
        name, arguments = resolve_objective(
            self.objective, beta=float(self.beta), free_bits=float(free_bits), n_importance=self.n_importance
        )
        objective: Objective = objectives[name](**arguments)
        return objective

    def _kl_weight(self) -> Callable[[float], float]:
        return resolve_kl_schedule(self.kl_schedule, float(self.kl_warm_up))

    @property
    def _value_name(self) -> str:
        return BOUND if self.beta >= 1 else f"ELBO with beta={self.beta:g}, no bound on log p(x)"

    def _cites(self) -> tuple[str, ...]:
        return (*objectives.cites(self.objective), *self._ex_post_cites())
