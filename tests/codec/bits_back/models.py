"""Small variational autoencoders in whole numbers, trained for a moment."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.codec import ExactNetwork, Span, exact_perceptron
from latentkit.codec.bits_back import Coins, GaussianLatents, LatentChain, LatentLayer
from latentkit.codec.bits_back.latents import LEVELS_PER_UNIT
from latentkit.core.seeds import isolated_rng

N_NUMBERS = 30
STEPS = 16
LEVELS = Span(-48, 0)


def rows(n: int, seed: int = 0) -> np.ndarray:
    """Bits that hang together by three causes, uint8, shape (n, 30)."""
    random = np.random.default_rng(seed)
    loadings = np.random.default_rng(99).normal(size=(3, N_NUMBERS)) * 2
    logits = random.normal(size=(n, 3)) @ loadings
    return (random.random((n, N_NUMBERS)) < 1 / (1 + np.exp(-logits))).astype(np.uint8)


def grid(n_latents: int) -> GaussianLatents:
    return GaussianLatents(
        steps=STEPS,
        means=Span(-64, 63),
        levels=LEVELS,
        prior=np.zeros((n_latents, 2), np.int64),
        coarse_step=STEPS,
        coarse=np.zeros((n_latents, 2), np.int64),
    )


@final
class Perceptron(nn.Module):
    """One hidden layer; a mean and the logarithm of a standard deviation of each output, or a logit."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(n_inputs, 32), nn.Linear(32, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(functional.relu(self.inner(x)))

    def gaussian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_stddev = self(x).chunk(2, 1)
        return mean, log_stddev.clamp(-3, 0)

    def exact(self, x: Tensor, scales: Tensor, *, step: float, inputs: Span, outputs: Span) -> ExactNetwork:
        last = nn.Linear(32, len(scales))
        last.weight.data, last.bias.data = self.outer.weight.data * scales[:, None], self.outer.bias.data * scales
        return exact_perceptron(
            [self.inner, last], functional.relu, x, input_step=step, inputs=inputs, output_step=1, outputs=outputs
        )


def _log_density(z: Tensor, mean: Tensor, log_stddev: Tensor) -> Tensor:
    return (-log_stddev - 0.5 * ((z - mean) / log_stddev.exp()).square()).sum(1)


def trained(*dims: int, examples: np.ndarray | None = None) -> LatentChain:
    """The chain of a model with so many latent variables in each layer, from the data to the top."""
    x = torch.from_numpy(rows(1000, seed=1) if examples is None else examples).float()
    below = (N_NUMBERS, *dims)
    with isolated_rng(0):
        ways = nn.ModuleList(Perceptron(n, 2 * m) for n, m in zip(below, dims, strict=False))
        backs = nn.ModuleList(
            Perceptron(m, n if number == 0 else 2 * n) for number, (n, m) in enumerate(zip(below, dims, strict=False))
        )
        optimizer = torch.optim.Adam([*ways.parameters(), *backs.parameters()], 5e-3)
        for _ in range(250):
            met, bound = [x], torch.zeros(len(x))
            for way in ways:
                mean, log_stddev = way.gaussian(met[-1])
                met.append(mean + log_stddev.exp() * torch.randn_like(mean))
                bound = bound - _log_density(met[-1], mean, log_stddev)
            logits = backs[0](met[1])
            bound = bound - functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
            for back, z, above in zip(backs[1:], met[1:], met[2:], strict=False):
                bound = bound + _log_density(z, *back.gaussian(above))
            bound = bound - 0.5 * met[-1].square().sum(1)
            optimizer.zero_grad()
            (-bound.mean()).backward()
            optimizer.step()
    layers = []
    met_steps = [x, *((z.detach() * STEPS).round().clamp(-100, 100) for z in met[1:])]
    for number, (way, back, n) in enumerate(zip(ways, backs, dims, strict=True)):
        latents = grid(n)
        below_span = Span(0, 1) if number == 0 else layers[-1].latents.span
        step = 1.0 if number == 0 else 1 / STEPS
        scales = torch.tensor([float(STEPS)] * n + [float(LEVELS_PER_UNIT)] * n)
        encoder = way.exact(met_steps[number], scales, step=step, inputs=below_span, outputs=Span(-64, 63))
        back_scales = torch.full((N_NUMBERS,), 64.0) if number == 0 else _twice(dims[number - 1])
        decoder = back.exact(
            met_steps[number + 1], back_scales, step=1 / STEPS, inputs=latents.span, outputs=Span(-1024, 1024)
        )
        codes = np.arange(LEVELS.low, LEVELS.high + 1)
        layers.append(LatentLayer(latents, encoder, decoder, codes, LEVELS.low))
    return LatentChain(layers, Coins())


def _twice(n: int) -> Tensor:
    return torch.tensor([float(STEPS)] * n + [float(LEVELS_PER_UNIT)] * n)
