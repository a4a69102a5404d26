"""Fitted variational autoencoders as coders: their networks in whole numbers, and a grid for their latent variables."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentkit.codec import BitsBackCoder, GaussianLatents, Span, exact_perceptron
from latentkit.codec.bits_back import LatentChain, LatentLayer
from latentkit.codec.bits_back.latents import LEVELS_PER_UNIT
from latentkit.codec.image_networks import RowNetwork
from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import generator
from latentkit.data import ArraySchema, TableSchema, TextSchema
from latentkit.distributions import DiagonalGaussian, DiagonalPosterior
from latentkit.distributions.posterior import bounded_log_var
from latentkit.models import LadderAutoencoder, VariationalAutoencoder
from latentkit.nn import MLP, ConvDecoder, ConvEncoder, activations
from latentkit.tasks.compression.convolutions import ConvolutionBits, exact_conv_decoder, exact_conv_encoder
from latentkit.tasks.compression.outputs import DecoderOutputs, decoder_outputs

__all__ = ["bits_back_coder", "check_codable"]

#: Rows by which grids, priors and activations are scaled.
_EXAMPLES: Final = 4096
#: Of them, those by which convolutions are scaled.
_SHOWN: Final = 256
#: Of them, those by which the values of latent variables without bits back are chosen.
_FIRST: Final = 128
#: Grid steps in the standard deviation that all but one in a hundred posteriors exceed; and in a unit.
_STEPS_OF_A_STDDEV: Final = 2.0
_FEWEST_STEPS, _MOST_STEPS = 16, 512
_ROOM: Final = 1.25  # for means, beyond those of the examples
_LEVELS: Final = Span(-112, 40)
#: Of a raw log-variance: half of it, in sixteenths, and how far it is told.
_CODES: Final = Span(-320, 320)
_CODES_OF_A_LOG_VAR: Final = LEVELS_PER_UNIT / 2
_COARSE_SHARES: Final = (2.0, 1.0, 0.5, 0.25)
_LEAST_SPREAD: Final = 0.15  # of rounded values, of their steps


def bits_back_coder(
    model: nn.Module,
    schema: ArraySchema | TableSchema | TextSchema,
    storage: Tensor,
    *,
    seed: int = 0,
    weight_bits: int = 8,
    activation_bits: int = 8,
) -> BitsBackCoder:
    """Return the coder that codes rows for about the negative ELBO of a fitted model.

    The prior of the coder has a normal distribution for each latent variable, of the mean and variance that draws of
    the posteriors of the data have: for a standard normal prior a little better than that; in place of any other it
    costs what the other one had learnt beyond it. Rows of a block are bytes in the order of the user's data, each of
    them a value as it is where the values are whole numbers from 0 to 255, and else the number of its level.

    Args:
        model: Fitted, with a Gaussian posterior of independent latent variables, perceptrons or convolutional
            networks, and the likelihood ``"bernoulli"``, ``"discretized_logistic"`` or ``"categorical"``.
        schema: Of its data, which take at most 256 values.
        storage: Data that it was fitted on, or some of them, as the schema stores them, shape (n, *event).
        seed: Of which of them are looked at, and of draws.
        weight_bits: Bits of a weight, at most; sums have to be exact.
        activation_bits: Bits of an activation.

    Raises:
        UnsupportedOperationError: If the model has parts that are not brought into whole numbers.
        InvalidParameterError: If its layers are too wide for sums that are exact.
        DataError: If there are no data.
    """
    check_integer("weight_bits", weight_bits, low=2, high=16)
    model, schema = check_codable(model, schema)
    if not len(storage):
        raise DataError("there are no data to learn the grid of latent variables from.")
    drawn = torch.randperm(len(storage), generator=generator(seed, "examples"))[:_EXAMPLES]
    symbols = storage[drawn]
    n_symbols = schema.n_levels
    assert n_symbols is not None
    order = schema.layout.from_event(np.arange(math.prod(schema.event_shape)).reshape(1, *schema.event_shape)).ravel()
    outputs = decoder_outputs(model.likelihood)
    if outputs.likelihood.n_symbols != n_symbols:
        raise UnsupportedOperationError(
            f"the likelihood is of {outputs.likelihood.n_symbols} values, and the data take {n_symbols}. Fit on zeros "
            "and ones, or with likelihood='discretized_logistic'."
        )
    precision = _Precision(weight_bits, activation_bits)
    with torch.no_grad():
        mode = model.training
        posterior = model.eval().encode(schema.to_model(symbols))
        model.train(mode)
        assert isinstance(posterior, DiagonalGaussian)
        noise = torch.randn(posterior.mean.shape, generator=generator(seed, "draws"))
        z = posterior.mean + posterior.stddev * noise
    latents = _grid(posterior, z)
    encoder = _encoder(model.encoder, schema, symbols, order, latents, precision)
    decoder = _decoder(model.decoder, schema, z, outputs, order, latents, precision)
    candidates = []
    for share in _COARSE_SHARES:
        grid = _with_coarse(latents, posterior.mean, max(1, round(share * latents.steps)))
        layer = LatentLayer(grid, encoder, decoder, *_level_codes(grid))
        candidates.append(BitsBackCoder(LatentChain([layer], outputs.likelihood), _alphabet(schema)))
    few = symbols[:_FIRST].flatten(1)[:, torch.from_numpy(order)].numpy()
    return min(candidates, key=lambda coder: coder.chain.first_bits(few))


def check_codable(
    model: nn.Module, schema: ArraySchema | TableSchema | TextSchema
) -> tuple[VariationalAutoencoder, ArraySchema]:
    """Return a model and its schema, if they are of a kind that codes.

    Raises:
        UnsupportedOperationError: If the model has no posterior of independent latent variables, or its data are none
            of at most 256 values.
    """
    if isinstance(model, LadderAutoencoder):
        raise UnsupportedOperationError(
            "a hierarchical model finds its latent variables from the top down, by gates and skip connections, which "
            "are not brought into whole numbers. Fit a VAE to compress by it."
        )
    if not isinstance(model, VariationalAutoencoder):
        raise UnsupportedOperationError(
            f"a {type(model).__name__} is no variational autoencoder, by whose posterior bits come back. Fit a VAE."
        )
    if isinstance(schema, TextSchema):
        raise UnsupportedOperationError(
            "networks over texts are not brought into whole numbers, without which an archive would not open elsewhere."
        )
    if model.condition_dim:
        raise UnsupportedOperationError("a model that was fitted with conditions has no coder. Fit without conditions.")
    if not isinstance(model.posterior, DiagonalPosterior):
        raise UnsupportedOperationError(
            f"draws of a {type(model.posterior).__name__} are not found one number after the other. Fit with "
            "posterior='diagonal'."
        )
    if model.posterior.norm is not None:
        raise UnsupportedOperationError(
            "means that are normalised over a batch are not brought into whole numbers. Fit without posterior_options."
        )
    if not isinstance(schema, ArraySchema) or schema.n_levels is None:
        raise UnsupportedOperationError(
            "only data of at most 256 values on an even grid are coded without loss by this model: pixels, or zeros "
            "and ones."
        )
    return model, schema


def dense_layers(network: nn.Module, role: str) -> list[nn.Linear]:
    """Return the linear layers that a perceptron consists of when it is used, batch normalisation folded into them.

    Args:
        network: In the state in which it is used.
        role: What it is called in messages.

    Raises:
        UnsupportedOperationError: If it has other parts.
    """
    use = f"Fit with {role}='conv', or 'mlp' or a tuple of widths with normalization='none' or 'batch'."
    if not isinstance(network, MLP):
        raise UnsupportedOperationError(
            f"the {role} is a {type(network).__name__}, which is not brought into whole numbers. {use}"
        )
    if network.normalization in {"layer", "group"}:
        raise UnsupportedOperationError(
            f"the {role} has {network.normalization} normalisation, which divides by what it sees and so is not exact. "
            f"{use}"
        )
    if network.residual and any(a == b for a, b in pairwise(network.widths)):
        raise UnsupportedOperationError(f"the {role} has skip connections, whose sums are not brought into one. {use}")
    layers = []
    for number, linear in enumerate(network.linears):
        assert isinstance(linear, nn.Linear)
        norm = network.norms[number] if number < len(network.norms) else None
        layers.append(_folded(linear, norm if isinstance(norm, nn.BatchNorm1d) else None))
    return layers


@final
@dataclass(frozen=True, slots=True)
class _Precision:
    weight_bits: int
    activation_bits: int

    @property
    def of_convolutions(self) -> ConvolutionBits:
        """The same of convolutions; what residual blocks add to has two bits more."""
        return ConvolutionBits(self.weight_bits, self.activation_bits + 2, self.activation_bits)


def _grid(posterior: DiagonalGaussian, z: Tensor) -> GaussianLatents:
    """Latent variables with steps as fine as posteriors need, and a prior like the draws of them."""
    smallest = float(posterior.stddev.flatten().kthvalue(max(1, posterior.stddev.numel() // 100)).values)
    fine = 2 ** math.ceil(math.log2(_STEPS_OF_A_STDDEV / max(smallest, 1e-9)))
    return _grid_of(posterior, z, min(_MOST_STEPS, max(_FEWEST_STEPS, fine)))


def _grid_of(posterior: DiagonalGaussian, z: Tensor, steps: int) -> GaussianLatents:
    levels = (LEVELS_PER_UNIT * posterior.stddev.log()).round()
    reach = math.ceil(_ROOM * steps * float(posterior.mean.abs().max())) + 1
    means = Span(-reach, reach)
    centres = (z.double().mean(0) * steps).round().clamp(means.low, means.high)
    spreads = (LEVELS_PER_UNIT * z.double().std(0, correction=0).clamp_min(1e-3).log()).round()
    prior = torch.stack([centres, spreads.clamp(_LEVELS.low, _LEVELS.high)], 1).long().numpy()
    span = Span(max(_LEVELS.low, int(levels.min()) - 1), min(_LEVELS.high, int(levels.max()) + 1))
    try:
        return GaussianLatents(steps=steps, means=means, levels=span, prior=prior, coarse_step=steps, coarse=prior)
    except InvalidParameterError:
        if steps == 1:
            raise
        return _grid_of(posterior, z, steps // 2)


def _with_coarse(latents: GaussianLatents, means: Tensor, coarse_step: int) -> GaussianLatents:
    """The same with other values of latent variables that get no bits back, and what is known of them."""
    rounded = (means.double() * latents.steps / coarse_step).round()
    stddevs = (rounded.var(0, correction=0) + 1.0 / 12.0).sqrt().clamp_min(_LEAST_SPREAD)
    spreads = (LEVELS_PER_UNIT * (stddevs * coarse_step / latents.steps).log()).round()
    centres = (rounded.mean(0) * coarse_step).round().clamp(latents.means.low, latents.means.high)
    coarse = torch.stack([centres, spreads.clamp(_LEVELS.low, _LEVELS.high)], 1).long().numpy()
    return GaussianLatents(
        steps=latents.steps,
        means=latents.means,
        levels=latents.levels,
        prior=latents.prior_parameters,
        coarse_step=coarse_step,
        coarse=coarse,
    )


def _level_codes(latents: GaussianLatents) -> tuple[NDArray[np.int64], int]:
    """The level of each raw log-variance that an encoder gives, and the first of these."""
    raw = torch.arange(_CODES.low, _CODES.high + 1, dtype=torch.float64) / _CODES_OF_A_LOG_VAR
    levels = (LEVELS_PER_UNIT * 0.5 * bounded_log_var(raw)).round().clamp(latents.levels.low, latents.levels.high)
    return levels.long().numpy(), _CODES.low


def _encoder(
    network: nn.Module,
    schema: ArraySchema,
    symbols: Tensor,
    order: NDArray[np.int64],
    latents: GaussianLatents,
    precision: _Precision,
) -> RowNetwork:
    n, n_symbols = latents.n_latents, schema.n_levels
    assert n_symbols is not None
    scales = torch.tensor([float(latents.steps)] * n + [_CODES_OF_A_LOG_VAR] * n)
    outputs = Span(min(latents.means.low, _CODES.low), max(latents.means.high, _CODES.high))
    if isinstance(network, ConvEncoder):
        return exact_conv_encoder(
            network,
            schema.to_model(symbols[:_SHOWN]),
            n_symbols=n_symbols,
            channels_first=not schema.layout.channels_last,
            scales=scales,
            outputs=outputs,
            bits=precision.of_convolutions,
        )
    linears = dense_layers(network, "encoder")
    linears[0] = _with_columns(linears[0], order)
    return exact_perceptron(
        [*linears[:-1], _scaled(linears[-1], scales)],
        _activation(network),
        symbols.flatten(1)[:, torch.from_numpy(order)].double(),
        input_step=1.0 / (n_symbols - 1),
        inputs=Span(0, n_symbols - 1),
        output_step=1.0,
        outputs=outputs,
        weight_bits=precision.weight_bits,
        activation_bits=precision.activation_bits,
    )


def _decoder(
    network: nn.Module,
    schema: ArraySchema,
    z: Tensor,
    outputs: DecoderOutputs,
    order: NDArray[np.int64],
    latents: GaussianLatents,
    precision: _Precision,
) -> RowNetwork:
    if isinstance(network, ConvDecoder):
        return exact_conv_decoder(
            network,
            z[:_SHOWN],
            steps=latents.steps,
            inputs=latents.span,
            channels_first=not schema.layout.channels_last,
            outputs=outputs,
            bits=precision.of_convolutions,
        )
    linears = dense_layers(network, "decoder")
    each = torch.from_numpy(order)
    places = torch.cat([parameter * len(order) + each for parameter in range(len(outputs.scales))])
    scales = torch.tensor(outputs.scales).repeat_interleave(len(order))
    offsets = torch.tensor(outputs.offsets).repeat_interleave(len(order))
    last = _scaled(_with_rows(linears[-1], places), scales, offsets)
    return exact_perceptron(
        [*linears[:-1], last],
        _activation(network),
        (z.double() * latents.steps).round().clamp(latents.span.low, latents.span.high),
        input_step=1.0 / latents.steps,
        inputs=latents.span,
        output_step=1.0,
        outputs=outputs.span,
        weight_bits=precision.weight_bits,
        activation_bits=precision.activation_bits,
    )


def _alphabet(schema: ArraySchema) -> bytes:
    """The byte of each level: its value where all are bytes, else its number."""
    n_symbols = schema.n_levels
    assert n_symbols is not None
    levels = np.arange(n_symbols)
    values = schema.numbers.decode(torch.from_numpy(levels / (n_symbols - 1)), snap=True)
    are_bytes = (values == np.rint(values)).all() and values.min() >= 0 and values.max() <= 255
    return (values if are_bytes else levels).astype(np.uint8).tobytes()


def _folded(linear: nn.Linear, norm: nn.BatchNorm1d | None) -> nn.Linear:
    r"""A linear layer and what normalises its outputs, by what is known of them, as one.

    .. math:: W' = s W, \qquad b' = s (b - m) + \beta, \qquad s = \gamma / \sqrt{v + \epsilon}
    """
    if norm is None:
        return _scaled(linear, torch.ones(linear.out_features))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scales = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return _scaled(linear, scales, norm.bias.double() - scales * norm.running_mean.double())


def _scaled(linear: nn.Linear, scales: Tensor, offsets: Tensor | None = None) -> nn.Linear:
    """A copy whose outputs are multiplied by scales, and to which offsets are added then."""
    scaled = nn.Linear(linear.in_features, linear.out_features, dtype=torch.float64)
    with torch.no_grad():
        scaled.weight.copy_(linear.weight * scales.double()[:, None])
        bias = scales.double() * linear.bias
        scaled.bias.copy_(bias if offsets is None else bias + offsets)
    return scaled


def _with_columns(linear: nn.Linear, order: NDArray[np.int64]) -> nn.Linear:
    """A copy that takes its inputs in another order."""
    other = _scaled(linear, torch.ones(linear.out_features))
    with torch.no_grad():
        other.weight.copy_(linear.weight[:, torch.from_numpy(order)])
    return other


def _with_rows(linear: nn.Linear, places: Tensor) -> nn.Linear:
    """A copy that gives its outputs in another order."""
    other = _scaled(linear, torch.ones(linear.out_features))
    with torch.no_grad():
        other.weight.copy_(linear.weight[places])
        other.bias.copy_(linear.bias[places])
    return other


def _activation(network: nn.Module) -> Callable[[Tensor], Tensor]:
    assert isinstance(network, MLP)
    return activations[network.activation].function
