"""A prior fitted after training to where the data lie in the latent space."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import derive_seed, generator
from latentkit.distributions import GaussianMixturePrior

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["fit_class_priors", "fit_mixture_prior"]

_REGULARIZATION = 1e-4  # added to every variance, as a share of the dimension's own
_SMALLEST_WEIGHT = 1e-6  # components below it have no data of their own


def fit_mixture_prior(
    means: Tensor,
    log_vars: Tensor | None = None,
    *,
    n_components: int = 10,
    seed: int = 0,
    max_rows: int = 20_000,
) -> GaussianMixturePrior:
    """Fit a Gaussian mixture with full covariances to the aggregate posterior.

    .. math:: p(z) = sum_c w_c N(z; m_c, C_c)    fitted to    z ~ 1/n sum_i q(z | x_i)

    Sampling from it instead of N(0, I) closes the holes between the prior and where the encoder puts the data. It is
    fitted to draws from the posteriors, not to their means: the decoder was trained on draws. Dimensions are scaled to
    unit variance for the fit (expectation-maximisation of scikit-learn, float64), each variance is regularised by 1e-4
    of the dimension's own, and components without data are dropped.

    Fewer components are fitted where rows are few (at least 2 (latent + 1) rows for each) and, should a fit still
    fail, half as many until one remains: a Gaussian with the moments of
    the draws.

    Args:
        means: Posterior means, or draws of z where `log_vars` is None; shape (n, latent), n at least 1.
        log_vars: Logarithms of the posterior variances, shape (n, latent): one draw is made for each row, and more
            where rows are few.
        n_components: Largest number of components.
        seed: Decides draws, the rows that are used, and the start of the fit.
        max_rows: Largest number of rows to fit to.

    Returns:
        The prior, in the dtype and on the device of `means`.

    Raises:
        InvalidParameterError: If there is no row, a number is not finite, the shapes differ, or an option is below 1.

    References:
        Ghosh et al., 2020, From Variational to Deterministic Autoencoders, section 4, arXiv:1903.12436.
    """
    check_integer("n_components", n_components, low=1)
    check_integer("max_rows", max_rows, low=1)
    rows = _draws(means, log_vars, seed=seed, max_rows=max_rows)
    mean, stddev = rows.mean(0), rows.std(0, correction=0)
    # a dimension that never varies keeps a width that is small beside the others, and above rounding beside its mean
    scale = stddev.clamp_min(1e-3 * max(float(stddev.max()), 1e-3 * float(mean.abs().max()), 1e-6))
    standard = (rows - mean) / scale
    n_examples = min(means.shape[0], max_rows)  # not rows.shape[0]: several draws of one example are no more examples
    count = max(1, min(n_components, n_examples // (2 * (rows.shape[1] + 1))))
    fitted = None
    while count > 1 and fitted is None:
        fitted = _expectation_maximization(standard.numpy(), count, seed=derive_seed(seed, "mixture") % 2**32)
        count = count if fitted is not None else count // 2
    weights, centres, covariances = fitted if fitted is not None else _one_gaussian(standard)
    cholesky = torch.linalg.cholesky(covariances)
    return GaussianMixturePrior(
        weights.to(means), (mean + scale * centres).to(means), (scale[:, None] * cholesky).to(means)
    )


def fit_class_priors(
    means: Tensor,
    log_vars: Tensor | None,
    labels: Sequence[Hashable],
    *,
    n_components: int = 10,
    seed: int = 0,
    max_rows: int = 20_000,
) -> dict[Hashable, GaussianMixturePrior]:
    """Fit a mixture for each class, to sample by class.

    Args:
        means: Posterior means, shape (n, latent).
        log_vars: Logarithms of the posterior variances, or None where `means` are draws.
        labels: One for each row.
        n_components: Largest number of components of a class.
        seed: See :func:`fit_mixture_prior`; the fit of a class does not depend on the other classes.
        max_rows: Largest number of rows to fit to, of each class.

    Returns:
        Label to prior, in the order of first appearance. A class of a single row gets that row's posterior.

    Raises:
        InvalidParameterError: If the number of labels is not that of the rows; see also :func:`fit_mixture_prior`.
    """
    if len(labels) != means.shape[0]:
        raise InvalidParameterError(f"labels must have one value per row; got {len(labels)} for {means.shape[0]} rows.")
    members: dict[Hashable, list[int]] = {}
    for row, label in enumerate(labels):
        members.setdefault(label, []).append(row)
    return {
        label: fit_mixture_prior(
            means[rows],
            None if log_vars is None else log_vars[rows],
            n_components=n_components,
            seed=seed,
            max_rows=max_rows,
        )
        for label, rows in members.items()
    }


def _draws(means: Tensor, log_vars: Tensor | None, *, seed: int, max_rows: int) -> Tensor:
    """At most `max_rows` draws from the posteriors, float64, on the CPU."""
    if means.ndim != 2 or 0 in means.shape:
        raise InvalidParameterError(
            f"a prior is fitted to at least 1 latent vector, shape (n, latent); got shape {tuple(means.shape)}."
        )
    if log_vars is not None and log_vars.shape != means.shape:
        raise InvalidParameterError(
            f"means and log_vars must have one shape; got {tuple(means.shape)} and {tuple(log_vars.shape)}."
        )
    source = generator(seed, "ex-post")
    rows = means.detach().cpu().double()
    spread = None if log_vars is None else (0.5 * log_vars.detach().cpu().double()).exp()
    if not torch.isfinite(rows).all() or (spread is not None and not torch.isfinite(spread).all()):
        raise InvalidParameterError(
            "latent vectors must be finite to fit a prior; the encoder gave NaN or infinity. Look at the data and at "
            "the training for numbers that are too large."
        )
    if rows.shape[0] > max_rows:
        chosen = torch.randperm(rows.shape[0], generator=source)[:max_rows]
        rows, spread = rows[chosen], None if spread is None else spread[chosen]
    if spread is None:
        return rows
    # several draws of each of few rows cost nothing and keep one draw's accident out of the fit
    copies = max(1, min(max_rows, 2000) // rows.shape[0])
    rows, spread = rows.repeat(copies, 1), spread.repeat(copies, 1)
    return rows + spread * torch.randn(rows.shape, generator=source, dtype=torch.float64)


def _expectation_maximization(rows: NDArray[np.float64], n_components: int, *, seed: int) -> Any:
    """Weights, centres and covariances as float64 tensors, or None where scikit-learn cannot fit as many components."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    mixture = GaussianMixture(
        n_components, covariance_type="full", reg_covar=_REGULARIZATION, max_iter=100, random_state=seed
    )
    # The products are small: a second thread wins little, and beside a busy neighbour it costs minutes.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # a hundred steps without full convergence, or fewer distinct rows than components, still give a good prior
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            mixture.fit(rows)
        except ValueError:  # ill-defined covariances
            return None
    weights, centres, covariances = (
        torch.from_numpy(part) for part in (mixture.weights_, mixture.means_, mixture.covariances_)
    )
    kept = weights > _SMALLEST_WEIGHT
    complete = torch.isfinite(covariances).all() and (torch.linalg.cholesky_ex(covariances).info == 0).all()
    return (weights[kept], centres[kept], covariances[kept]) if complete else None


def _one_gaussian(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A single Gaussian with the moments of `rows`, which are centred; float64."""
    covariance = rows.mT @ rows / rows.shape[0] + _REGULARIZATION * torch.eye(rows.shape[1], dtype=torch.float64)
    return torch.ones(1, dtype=torch.float64), rows.mean(0, keepdim=True), covariance.unsqueeze(0)
