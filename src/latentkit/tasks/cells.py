"""Cells of tables: unknown ones drawn or guessed given the known ones, and rows that fit what is asked of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.protocols import Distribution, LatentVariableModel
from latentkit.core.seeds import RowGenerator, derive_seed, row_keys
from latentkit.distributions import Columns, RegionOf
from latentkit.distributions.likelihood.columns import quantiles

__all__ = ["draw_cells", "expect_cells", "sample_within", "score_cells"]

_CANDIDATES: Final = 8  # for each row that is wanted within regions
_FEWEST: Final = 4096  # candidates in all
_MOST: Final = 1 << 18
_BLOCK: Final = 1 << 15  # rows whose candidates are drawn together, and candidates that are decoded together
_ROUNDS: Final = 4  # each with four times the candidates of the one before
_EFFECTIVE: Final = 0.5  # effective number of candidates for each row that is wanted


def draw_cells(
    model: LatentVariableModel, x: Tensor, *, n_draws: int = 1, keys: Tensor | None = None, seed: int = 0
) -> Tensor:
    r"""Draw the unknown cells of each row given its known ones.

    .. math:: z \sim q(z \mid x_{obs}), \qquad x_{mis} \sim p(x_{mis} \mid x_{obs}, z)

    For models whose encoder has learnt to do with a part of a row and whose decoder can be told one. What a row draws
    depends on its content and the seed, not on its batch or place there.

    Args:
        model: Fitted model of a table, in evaluation mode.
        x: Rows in model units, NaN where unknown, shape (batch, columns).
        n_draws: Draws per row, at least 1.
        keys: Keys of the rows for drawing, shape (batch,); by default those of their content.
        seed: Another seed gives other draws.
    Returns:
        Model units, shape (n_draws, batch, columns); known cells are those of `x`. "Missing" is not drawn.
    References:
        Ivanov et al., 2019, Variational Autoencoder with Arbitrary Conditioning, arXiv:1806.02382.
    """
    source = RowGenerator(row_keys(x) if keys is None else keys, seed=derive_seed(seed, "cells"))
    with torch.no_grad():
        p = _given_known(model, x, n_draws, source)
        return p.complete(x.expand(n_draws, *x.shape), generator=source, missing=False)


def expect_cells(
    model: LatentVariableModel,
    x: Tensor,
    *,
    n_draws: int = 8,
    n_points: int = 50,
    keys: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    r"""Spread evenly over what each unknown cell may be, given the known cells of its row.

    .. math:: p(x_j \mid x_{obs}) \approx \frac{1}{S} \sum_s p(x_j \mid x_{obs}, z_s), \qquad z_s \sim q(z \mid x_{obs})

    The result holds, for every unknown cell on its own, the quantiles (i + 1/2) / n of that distribution: their mean
    and their most frequent value are those of the cell, without the chance of draws. Cells of one row are not drawn
    together: use :func:`draw_cells` for completions that go with each other.

    Args:
        model: Fitted model of a table, in evaluation mode.
        x: Rows in model units, NaN where unknown, shape (batch, columns).
        n_draws: Draws S of z per row.
        n_points: Quantiles n per cell.
        keys: As for :func:`draw_cells`.
        seed: As for :func:`draw_cells`.
    Returns:
        Model units, shape (n_points, batch, columns); known cells are those of `x`.
    """
    check_integer("n_points", n_points, low=1)
    source = RowGenerator(row_keys(x) if keys is None else keys, seed=derive_seed(seed, "cells"))
    levels = (torch.arange(n_points, dtype=torch.float32, device=x.device) + 0.5) / n_points
    points = x.expand(n_points, *x.shape).clone()
    with torch.no_grad():
        p = _given_known(model, x, n_draws, source)
        for column, parts in enumerate(p.probabilities(x.expand(n_draws, *x.shape))):
            holes = x[:, column].isnan()
            if not bool(holes.any()):
                continue
            masses = parts[:, holes].mean(0)
            code = p.family.codes.missing_codes[column]
            if code is not None:
                masses[:, code] = 0.0
            points[:, holes, column] = quantiles(masses, levels).to(x.dtype)
    return points


def score_cells(
    model: LatentVariableModel, x: Tensor, *, n_draws: int = 8, keys: Tensor | None = None, seed: int = 0
) -> Tensor:
    r"""Say how probable each cell is given all other cells of its row.

    .. math:: s_j = \log \frac{1}{S} \sum_s p(x_j \mid x_{-j}, z_s), \qquad z_s \sim q(z \mid x_{-j})

    The least probable cells are those that make a row unusual. The sum over a row is its pseudo-log-likelihood, not its
    log-likelihood.

    Args:
        model: Fitted model of a table, in evaluation mode.
        x: Rows in model units, NaN where unknown, shape (batch, columns).
        n_draws: Draws S of z per row.
        keys: As for :func:`draw_cells`.
        seed: As for :func:`draw_cells`.
    Returns:
        Nats, shape (1, batch, columns); NaN where a cell is unknown.
    References:
        Besag, 1975, Statistical Analysis of Non-Lattice Data (pseudo-likelihood).
    """
    keys = row_keys(x) if keys is None else keys
    scores = torch.empty_like(x)
    with torch.no_grad():
        for column in range(x.shape[-1]):
            others = x.clone()
            others[:, column] = math.nan
            source = RowGenerator(keys, seed=derive_seed(seed, "cells", column))
            p = _given_known(model, others, n_draws, source)
            parts = p.log_prob_given(x[:, column], column, others.expand(n_draws, *x.shape))
            scores[:, column] = torch.logsumexp(parts, 0) - math.log(n_draws)
    return scores.masked_fill(x.isnan(), math.nan).unsqueeze(0)


def sample_within(
    model: LatentVariableModel,
    prior: Distribution,
    n: int,
    regions: Mapping[int, RegionOf],
    *,
    generator: torch.Generator,
) -> tuple[Tensor, float]:
    r"""Draw rows whose columns lie in given regions.

    .. math:: z_i \sim p(z), \quad w_i = P(x_A \in A \mid z_i), \quad \text{rows chosen by } w_i / \sum_j w_j

    Every candidate is drawn inside its regions and weighted by how probable that was, so that no row is thrown away for
    missing a region; rows are then chosen among the candidates and their other columns drawn given those. They are
    chosen at even distances along the sum of the weights, so that as few as can be are chosen twice.

    Args:
        model: Fitted model of a table, in evaluation mode.
        prior: Where latent vectors come from.
        n: Number of rows, at least 1.
        regions: What columns are held to, by their numbers, in the order in which they are drawn; a function gives the
            region for the cells that are known so far.
        generator: Source of randomness.
    Returns:
        Model units, shape (n, columns), and the probability of the regions.
    Raises:
        InvalidParameterError: If the regions are so improbable that no candidate counts; the probability is named.
    References:
        Rubin, 1988, Using the SIR Algorithm to Simulate Posterior Distributions. Kitagawa, 1996, Monte Carlo Filter and
        Smoother for Non-Gaussian Nonlinear State Space Models, appendix (systematic resampling).
    """
    check_integer("n", n, low=1)
    sizes = [min(_BLOCK, n - start) for start in range(0, n, _BLOCK)]
    with torch.no_grad():
        blocks = [_block_within(model, prior, size, regions, generator) for size in sizes]
    rows, probabilities = zip(*blocks, strict=True)
    return torch.cat(rows), sum(size * p for size, p in zip(sizes, probabilities, strict=True)) / n


def _block_within(
    model: LatentVariableModel, prior: Distribution, n: int, regions: Mapping[int, RegionOf], generator: torch.Generator
) -> tuple[Tensor, float]:
    """Rows of which the candidates fit into memory, and the probability of the regions."""
    count = min(_MOST, max(_FEWEST, _CANDIDATES * n))
    for _ in range(_ROUNDS):
        z, rows, log_weights = _candidates(model, prior, count, regions, generator)
        weights = torch.softmax(log_weights, 0)
        probability = float(log_weights.exp().mean())
        effective = float(1.0 / weights.square().sum()) if probability > 0 else 0.0
        if effective >= min(_EFFECTIVE * n, 200) or count >= _MOST:
            break
        count = min(_MOST, 4 * count)
    if not probability > 0 or not math.isfinite(probability):
        raise InvalidParameterError(
            f"no row that the model knows fits what is asked: its probability is below {1 / count:.1g}. Ask for less "
            "at once, or for a wider range."
        )
    chosen = _chosen(weights.cpu(), n, generator).to(rows.device)
    return _decoded(model, z[chosen]).complete(rows[chosen], generator=generator), probability


def _candidates(
    model: LatentVariableModel,
    prior: Distribution,
    count: int,
    regions: Mapping[int, RegionOf],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Latent vectors of the prior, rows within the regions given them, and their log-weights in double precision."""
    device = next(iter(model.parameters())).device
    z = prior.sample(count, generator=generator).to(device)
    parts = [_decoded(model, part).within(regions, generator=generator) for part in torch.split(z, _BLOCK)]
    rows, log_weights = (torch.cat(each) for each in zip(*parts, strict=True))
    return z, rows, log_weights.double()


def _chosen(weights: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """N places drawn by weights at even distances, in any order: none twice whose weight is below 1 / n."""
    ends = weights.cumsum(0)
    places = (torch.arange(n) + torch.rand(1, generator=generator)) / n
    chosen = torch.searchsorted(ends, places.double() * ends[-1], right=True).clamp_max(len(weights) - 1)
    return chosen[torch.randperm(n, generator=generator)]


def _given_known(model: LatentVariableModel, x: Tensor, n_draws: int, source: RowGenerator) -> Columns:
    """p(x given z) for draws of z given the known cells of each row."""
    check_integer("n_draws", n_draws, low=1)
    q: Any = model.encode(x)
    noise = source.normal((n_draws, *q.mean.shape), dtype=q.mean.dtype).to(q.mean.device)
    return _decoded(model, q.rsample(n_draws, noise=noise))


def _decoded(model: LatentVariableModel, z: Tensor) -> Columns:
    p: Any = model.decode(z)
    assert isinstance(p, Columns), "cells are those of tables"
    return p
