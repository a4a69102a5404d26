"""Models made to have exactly one illness, for the doctor to find, and healthy ones, which it must leave in peace."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from _measuring import data_folder

from latentkit import GAN, VAE, VQVAE, Autoencoder
from latentkit.core.errors import DivergenceError
from latentkit.core.protocols import Batch
from latentkit.objectives import Elbo

#: Sets on which the limits of the checks were chosen, and others on which the published figures are computed.
CALIBRATION, FINAL = ("fashion", "pendigits", "omniglot", "breast_cancer"), ("digits", "mnist", "wine", "frey")


@dataclass(frozen=True)
class Data:
    """A set: rows to fit on, rows that no fit sees, and networks and times that suit it."""

    name: str
    train: Any
    test: Any
    settings: Mapping[str, Any]

    @property
    def is_image(self) -> bool:
        return self.train.ndim == 3

    @property
    def n_features(self) -> int:
        return math.prod(self.train.shape[1:])


@dataclass(frozen=True)
class Patient:
    """A fitted estimator with the rows that a diagnosis is given."""

    estimator: Any
    data: Any
    held_out: Any = None


#: A mixture of a fixed number of components, which takes a moment to fit.
MIXTURE = {"ex_post_options": {"n_components": 10}}
SMALL = {**MIXTURE, "latent_dim": 8, "encoder": (128,), "decoder": (128,), "max_epochs": 60}
GREY = {**MIXTURE, "latent_dim": 16, "encoder": (128,), "decoder": (128,), "max_epochs": 40, "likelihood": "gaussian"}
ROWS = {
    **MIXTURE,
    "latent_dim": 4,
    "encoder": (64,),
    "decoder": (64,),
    "max_epochs": 60,
    "batch_size": 32,
    "learning_rate": 2e-3,
}


def _images(name: str, file: str, key: str, n_train: int, n_test: int, **settings: Any) -> Callable[[], Data]:
    def load() -> Data:
        with np.load(data_folder() / "images" / file) as content:
            x = content[key]
        x = x[np.random.default_rng(0).permutation(len(x))[: n_train + n_test]]
        return Data(name, x[:n_train], x[n_train:], {**GREY, **settings})

    return load


def _rows(x: Any, name: str, n_test: int, **settings: Any) -> Data:
    x = x[np.random.default_rng(0).permutation(len(x))].astype(np.float32)
    return Data(name, x[n_test:], x[:n_test], {**ROWS, **settings})


def _digits() -> Data:
    from sklearn.datasets import load_digits

    x = load_digits().images.astype(np.uint8)
    x = x[np.random.default_rng(0).permutation(len(x))]
    return Data("digits", x[:1000], x[1000:1400], SMALL)


def _breast_cancer() -> Data:
    from sklearn.datasets import load_breast_cancer

    return _rows(load_breast_cancer().data, "breast_cancer", 140, max_epochs=300)


def _wine() -> Data:
    x = np.genfromtxt(data_folder() / "tables" / "wine_white.csv", delimiter=",", skip_header=1)
    return _rows(x[:2000, :11], "wine", 500)


def _pendigits() -> Data:
    with np.load(data_folder() / "anomaly" / "28_pendigits.npz") as file:
        return _rows(file["X"][file["y"] == 0][:2000], "pendigits", 500)


SETS: dict[str, Callable[[], Data]] = {
    "fashion": _images("fashion", "fashion_mnist.npz", "x_train", 1500, 400),
    "omniglot": _images("omniglot", "omniglot_small_28.npz", "x", 1500, 400),
    "pendigits": _pendigits,
    "breast_cancer": _breast_cancer,
    "digits": _digits,
    "mnist": _images("mnist", "mnist.npz", "x_train", 1000, 300),
    "wine": _wine,
    "frey": _images("frey", "frey_faces.npz", "x", 1000, 300),
}


def fitted(data: Data, x: Any = None, *, kind: Any = VAE, seed: int = 0, **settings: Any) -> Any:
    """An estimator with the settings of the set, and others."""
    known = {**data.settings, **settings}
    known = {name: value for name, value in known.items() if name in kind().get_params()}
    return kind(**known, random_state=seed).fit(data.train if x is None else x)


@cache
def _well(name: str) -> Any:
    return fitted(SETS[name]())


def well(data: Data) -> Any:
    """A copy of a healthy model, to be made ill."""
    return copy.deepcopy(_well(data.name))


# Illnesses. Each function makes a model that has one; a doctor must name it. The problem stands beside it.

FAULTS: dict[str, tuple[str, str, Callable[[Data], Patient | None]]] = {}


def fault(label: str, problem: str, name: str) -> Callable[[Any], Any]:
    def decorator(plant: Callable[[Data], Patient | None]) -> Callable[[Data], Patient | None]:
        FAULTS[label] = (problem, name, plant)
        return plant

    return decorator


@fault("KL term of weight 300", "inference", "posterior-collapse")
def _heavy(data: Data) -> Patient:
    return Patient(fitted(data, beta=300.0), data.train)


@fault("encoder with noise on its weights", "inference", "amortisation-gap")
def _noisy_encoder(data: Data) -> Patient:
    estimator = well(data)
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in estimator.model_.encoder.parameters():
            if weight.ndim > 1:
                weight.add_(0.6 * weight.std() * torch.randn(weight.shape, generator=source))
    return Patient(estimator, data.train)


@fault("encoder learnt anew from 40 rows", "inference", "overfitted-encoder")
def _learnt_by_heart(data: Data) -> Patient:
    estimator = well(data)
    rows = data.train[:40]
    model = estimator.model_
    with torch.no_grad():
        for layer in model.encoder.linears:
            torch.nn.init.xavier_uniform_(layer.weight)
            layer.bias.zero_()
    x = estimator.schema_.to_model(estimator.schema_.encode(rows)).float()
    optimizer, objective = torch.optim.Adam(model.encoder.parameters(), lr=2e-3), Elbo()
    for _ in range(2000):
        optimizer.zero_grad()
        (-objective(model, Batch(x)).objective.mean()).backward()
        optimizer.step()
    model.zero_grad()
    estimator.validation_fraction = 0.0  # all these rows were learnt from
    return Patient(estimator, rows, data.test)


@fault("wide encoder, narrow decoder, 150 pictures", "inference", "overfitted-encoder")
def _wide_encoder(data: Data) -> Patient | None:
    if not data.is_image:  # rows of so few numbers leave nothing to learn by heart
        return None
    rows = data.train[:150]
    wide = {"encoder": (1024, 1024), "decoder": (16,), "validation_fraction": 0.0, "max_epochs": 300, "batch_size": 32}
    return Patient(fitted(data, rows, **wide), rows, data.test)


@fault("Gaussian on 0 and 1", "generator", "wrong-likelihood")
def _gaussian_on_bits(data: Data) -> Patient:
    bits = (data.train > np.median(data.train, axis=0 if data.train.ndim == 2 else None)).astype(np.float32)
    bits = bits.reshape(len(bits), -1)
    return Patient(fitted(data, bits, likelihood="gaussian"), bits)


@fault("standard deviation fixed far from the error", "generator", "miscalibrated-likelihood")
def _fixed_spread(data: Data) -> Patient:
    options = {"variance": "fixed", "stddev": 1.0 if data.is_image else 0.05}
    return Patient(fitted(data, likelihood="gaussian", likelihood_options=options), data.train)


@fault("mean over features in place of a sum", "generator", "scaled-objective")
def _mean_of_features(data: Data) -> Patient:
    return Patient(fitted(data, beta=float(data.n_features)), data.train)


@fault("KL term divided by 20", "generator", "scaled-objective")
def _light(data: Data) -> Patient:
    return Patient(fitted(data, beta=0.05), data.train)


@fault("wide networks, 120 rows, no rows held out", "overfitting", "overfitting")
def _few_rows(data: Data) -> Patient:
    rows = data.train[:120]
    wide = {
        "encoder": (512, 512),
        "decoder": (512, 512),
        "validation_fraction": 0.0,
        "max_epochs": 400,
        "batch_size": 32,
    }
    return Patient(fitted(data, rows, **wide), rows, data.test)


@fault("60 rows learnt by heart", "overfitting", "memorisation")
def _by_heart(data: Data) -> Patient:
    rows = data.train[:60]
    wide = {"encoder": (512, 512), "decoder": (512, 512), "validation_fraction": 0.0, "max_epochs": 600, "beta": 0.1}
    prior = {"ex_post": "mixture", "ex_post_options": {"n_components": 50}}
    return Patient(fitted(data, rows, **wide, **prior), rows, data.test[:300])


@fault("posteriors far from N(0, I)", "sample quality", "prior-hole")
def _hole(data: Data) -> Patient:
    return Patient(fitted(data, beta=0.01, ex_post="none", ex_post_options=None), data.train)


@fault("one latent for pictures", "sample quality", "blur")
def _one_latent(data: Data) -> Patient | None:
    return Patient(fitted(data, latent_dim=1), data.train) if data.is_image else None


@fault("standard deviation 1 on pictures", "sample quality", "blur")
def _averages(data: Data) -> Patient | None:
    options = {"variance": "fixed", "stddev": 1.0}
    return (
        Patient(fitted(data, likelihood="gaussian", likelihood_options=options), data.train) if data.is_image else None
    )


@fault("generator deaf to z", "sample quality", "mode-collapse")
def _deaf(data: Data) -> Patient:
    estimator = fitted(data, kind=GAN, max_epochs=4, likelihood="auto")  # it has none
    with torch.no_grad():
        next(iter(estimator.model_.decoder.parameters())).mul_(0.01)
    return Patient(estimator, data.train)


@fault("rate of 0.3", "optimisation", "learning-rate-high")
def _wild(data: Data) -> Patient:
    return _at_first_rate_of(data, 0.3, 0.1, 0.03)


@fault("rate of 1e-5", "optimisation", "learning-rate-low")
def _timid(data: Data) -> Patient:
    return _at_first_rate_of(data, 1e-5, 3e-5, 1e-4)


def _at_first_rate_of(data: Data, *rates: float) -> Patient:
    """The first of these rates at which the fit itself does not give up and say so."""
    for rate in rates:
        with contextlib.suppress(DivergenceError):
            return Patient(fitted(data, learning_rate=rate, max_epochs=15), data.train)
    raise AssertionError("training survives one of these")


@fault("two epochs", "optimisation", "stopped-early")
def _cut(data: Data) -> Patient:
    return Patient(fitted(data, max_epochs=2), data.train)


@fault("rectifiers switched off", "optimisation", "dead-units")
def _dead(data: Data) -> Patient:
    estimator = fitted(data, activation="relu")
    bias = estimator.model_.decoder.linears[0].bias
    with torch.no_grad():
        bias[: int(0.8 * len(bias))] = -1e3
    return Patient(estimator, data.train)


@fault("codes out of reach", "optimisation", "dead-codes")
def _unreachable(data: Data) -> Patient:
    estimator = fitted(data, kind=VQVAE, latent_dim="auto", max_epochs=2, n_codes=64, prior_share=0.01)
    estimator.model_.quantizer.codebook.vectors[3:] = 1e4
    return Patient(estimator, data.train)


@fault("weights on a direction that hardly varies", "robustness", "fragile-encoder")
def _fragile(data: Data) -> Patient:
    rows = data.train
    if not data.is_image:  # a column that follows from two others; of pictures some pixels are always black
        rows = np.concatenate([rows, rows[:, :2].sum(1, keepdims=True)], axis=1)
    estimator = fitted(data, rows)
    x = estimator.schema_.to_model(estimator.schema_.encode(rows)).float().flatten(1)
    _, values, axes = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    quiet, spread = axes[-1], float(values[-1]) / math.sqrt(len(x))
    first = estimator.model_.encoder.linears[0]
    reach = (first.weight @ (x - x.mean(0)).T).std(1)
    with torch.no_grad():
        strength = (0.05 * reach / max(spread, 1e-3)).unsqueeze(1) * quiet
        first.weight.add_(strength)
        first.bias.sub_(strength @ x.mean(0))
    return Patient(estimator, rows)


@fault("one row in 25 is noise", "robustness", "contaminated-data")
def _contaminated(data: Data) -> Patient:
    random = np.random.default_rng(0)
    rows = data.train.copy()
    spoilt = random.permutation(len(rows))[: len(rows) // 25]
    if data.is_image:
        rows[spoilt] = random.integers(0, int(rows.max()) + 1, rows[spoilt].shape)
    else:
        rows[spoilt] = rows.mean(0) + 6.0 * rows.std(0) * random.standard_normal(rows[spoilt].shape)
    return Patient(fitted(data, rows), rows)


# Healthy models: no check may find anything that is more than good to know.

HEALTHY: dict[str, Callable[[Data], Patient]] = {
    "as the set asks": lambda data: Patient(fitted(data, seed=1), data.train),
    "another seed": lambda data: Patient(fitted(data, seed=2), data.train),
    "another width": lambda data: Patient(fitted(data, encoder=(200,), decoder=(200,), seed=3), data.train),
    "an importance-weighted bound": lambda data: Patient(fitted(data, objective="iwae", seed=4), data.train),
    "an autoencoder": lambda data: Patient(fitted(data, kind=Autoencoder, seed=5), data.train),
}
