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
    order = [int(place) for place in examples(subject, min(subject.sample.n, 20 * n), "interpolation")]
    labels = subject.sample.labels
    codes = {place: place if labels is None else int(labels[place]) for place in order}
    n_classes = len(set(codes.values()))
    result: list[tuple[int, int]] = []
    while len(order) > 1 and len(result) < n:
        first = order.pop(0)
        # Half a turn further are other classes than in the last pair.
        others = [place for place in order if codes[place] != codes[first]] or order
        second = others[min(n_classes // 2, len(others) - 1)] if labels is not None else others[0]
        order.remove(second)
        result.append((first, second))
    return result


def least_likely(subject: Subject, n: int) -> list[tuple[int, float]]:
    """Places and bounds of the `n` scored rows with the lowest bound on log p(x), lowest first."""
    places, _ = subject.scored
    bounds = subject.likelihood.log_likelihood.numpy()
    order = np.argsort(bounds, kind="stable")[:n]
    return [(int(places[index]), float(bounds[index])) for index in order]
