"""Which examples a report shows: chosen by the seed, never by hand."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.core.seeds import generator
from latentkit.report.subject import Subject

__all__ = ["examples", "least_likely", "pairs_of_classes"]


def examples(subject: Subject, n: int, purpose: str) -> NDArray[np.int64]:
    """Places in the sample of up to `n` examples; where there are labels, the classes take turns."""
    assert subject.sample is not None, "asked only where there are data"
    order = torch.randperm(subject.sample.n, generator=generator(subject.seed, "report", purpose)).numpy()
    labels = subject.sample.labels
    if labels is None:
        return order[:n]
    turn = np.zeros(len(order), np.int64)
    seen: dict[int, int] = {}
    for place, row in enumerate(order):
        code = int(labels[row])
        turn[place] = seen.get(code, 0)
        seen[code] = turn[place] + 1
    chosen = order[np.lexsort((labels[order], turn))][:n]
    return np.asarray(chosen, np.int64)


def pairs_of_classes(subject: Subject, n: int) -> list[tuple[int, int]]:
    """Places of up to `n` pairs of examples, of different classes where there are labels."""
    assert subject.sample is not None, "asked only where there are data"
    if subject.sample.n < 2:
        return []
    chosen = examples(subject, 2 * n, "interpolation")
    labels = subject.sample.labels
    half = len(chosen) // 2
    result = [(int(a), int(b)) for a, b in zip(chosen[:half], chosen[half : 2 * half], strict=True)]
    if labels is not None:
        result = [(a, b) for a, b in result if labels[a] != labels[b]] or result
    return result


def least_likely(subject: Subject, n: int) -> list[tuple[int, float]]:
    """Places and bounds of the `n` scored rows with the lowest bound on log p(x), lowest first."""
    places, _ = subject.scored
    bounds = subject.likelihood.log_likelihood.numpy()
    order = np.argsort(bounds, kind="stable")[:n]
    return [(int(places[index]), float(bounds[index])) for index in order]
