"""Every figure of a fitted model of texts."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from latentkit.core.errors import DataError, UnsupportedOperationError
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import generator
from latentkit.data.text import read_texts, to_texts
from latentkit.evaluation import (
    TextEvaluation,
    mutual_information,
    perplexity,
    reconstruction_figures,
    summarize_latents,
    text_quality,
)
from latentkit.tasks import reconstruct

__all__ = ["evaluate_texts"]

#: Texts whose posteriors are compared with each other.
ENCODED = 10_000


def evaluate_texts(
    estimator: Any, X: Any, train: Any, *, n_importance: int | None, n_samples: int, max_texts: int | None, seed: int
) -> TextEvaluation:
    """Measure a model on texts: see :meth:`VAE.evaluate`.

    Raises:
        UnsupportedOperationError: If it is no model of texts.
        DataError: If there are fewer than two texts.
    """
    schema = estimator.schema_
    if schema.kind != "text":
        raise UnsupportedOperationError(
            f"evaluate is for models of texts, and this one was fitted to {schema.kind}. Use log_likelihood, "
            "attribute_control, or the metrics of latentkit.evaluation."
        )
    check_integer("n_samples", n_samples, low=10)
    if max_texts is not None:
        check_integer("max_texts", max_texts, low=2)
    texts = _texts(estimator, X)
    if len(texts) < 2:
        raise DataError("at least 2 texts are needed to measure a model by, and some hundreds to tell models apart.")
    order = torch.randperm(len(texts), generator=generator(seed, "evaluate"))
    rows = order[:max_texts]
    few = _of_rows(estimator, rows)
    chosen = [texts[row] for row in rows.tolist()]
    storage = schema.encode(chosen)
    likelihood = few.log_likelihood(chosen, n_importance=n_importance)
    right, alike = reconstruction_figures(storage, few._map(reconstruct, storage, torch.float32), schema)  # noqa: SLF001 (its own part)
    encoded = schema.encode([texts[row] for row in order[:ENCODED].tolist()])
    means, log_vars = _of_rows(estimator, order[:ENCODED])._map(_moments, encoded, torch.float32).chunk(2, -1)  # noqa: SLF001 (its own part)
    quality = None
    if train is not None:
        # as the model sees them: words that it does not know are the unknown one in all three sets
        known, fresh = (schema.texts(schema.encode(part)) for part in (_texts(estimator, train), texts))
        made = to_texts(_samples(estimator, n_samples, seed))
        quality = text_quality(made, train=known, held_out=fresh, max_texts=n_samples, seed=seed)
    return TextEvaluation(
        likelihood=likelihood,
        perplexity=perplexity(likelihood.log_likelihood, storage, schema),
        latents=summarize_latents(means, log_vars),
        information=mutual_information(means, log_vars, seed=seed),
        tokens_right=right,
        reconstruction_bleu=alike,
        samples=quality,
    )


def _texts(estimator: Any, X: Any) -> list[str]:
    found = read_texts(estimator._unwrapped(X))  # noqa: SLF001 (its own part)
    return to_texts(found.data, source=found.source)


def _moments(model: Any, x: Tensor) -> Tensor:
    posterior = model.encode(x)
    return torch.cat([posterior.mean, posterior.log_var], -1)


def _of_rows(estimator: Any, rows: Tensor) -> Any:
    """The estimator with the conditions of some rows, where each has its own."""
    if estimator.condition_ is None or len(estimator.condition_) == 1:
        return estimator
    bound = copy.copy(estimator)
    bound.condition_ = estimator.condition_[rows]
    return bound


def _samples(estimator: Any, n: int, seed: int) -> Any:
    """Texts of the model, given conditions that are drawn from those of the data, where there are any."""
    n_conditions = 1 if estimator.condition_ is None else len(estimator.condition_)
    asked = torch.randint(n_conditions, (n,), generator=generator(seed, "evaluate", "asked"))
    return _of_rows(estimator, asked).sample(n, random_state=seed % 2**32)
