"""pythae's models and trainer, as its documentation has them used: the other side of the comparisons.

Needs ``pip install pythae``.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import tempfile
import time
from collections.abc import Sequence
from typing import Any


def perceptron(shape: tuple[int, ...], hidden: Sequence[int], latent: int, *, is_binary: bool = True) -> Any:
    """Pythae's VAE with relu perceptrons between `shape` and `latent`, by widths; Bernoulli or Gaussian."""
    from math import prod

    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from torch import nn

    def layers(*widths: int) -> list[nn.Module]:
        return [part for a, b in itertools.pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*layers(prod(shape), *hidden))
            self.mean, self.log_var = nn.Linear(hidden[-1], latent), nn.Linear(hidden[-1], latent)

        def forward(self, x: Any) -> Any:
            h = self.body(x.reshape(len(x), -1))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            widths = (latent, *reversed(hidden))
            last = [nn.Linear(widths[-1], prod(shape)), *([nn.Sigmoid()] if is_binary else [])]
            self.body = nn.Sequential(*layers(*widths), *last)

        def forward(self, z: Any) -> Any:
            return ModelOutput(reconstruction=self.body(z).reshape(len(z), *shape))

    config = VAEConfig(input_dim=shape, latent_dim=latent, reconstruction_loss="bce" if is_binary else "mse")
    return VAE(config, encoder=Encoder(), decoder=Decoder())


def train(model: Any, x: Any, *, n_epochs: int, **settings: Any) -> list[float]:
    """Train by pythae's own pipeline; seconds from the start of each epoch to that of the next, the first left out."""
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    starts: list[float] = []

    class Clock(TrainingCallback):
        def on_epoch_begin(self, *arguments: Any, **options: Any) -> None:
            starts.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = BaseTrainerConfig(output_dir=folder, num_epochs=n_epochs, **settings)
        TrainingPipeline(model=model, training_config=config)(train_data=x, callbacks=[Clock()])
    return [b - a for a, b in itertools.pairwise(starts[1:])]
