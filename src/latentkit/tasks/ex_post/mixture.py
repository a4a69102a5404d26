"""Gaussian mixtures, fitted by expectation-maximisation."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import derive_seed, generator
from latentkit.distributions import GaussianMixture, GaussianMixturePrior
from latentkit.tasks.ex_post.family import ExPostPriors, FitBudget, Latents, ex_post_priors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MixtureFamily", "fit_class_priors", "fit_mixture_prior"]

_REGULARIZATION = 1e-4  # added to every variance, as a share of the dimension's own
_SMALLEST_WEIGHT = 1e-6  # components below it have no data of their own
_MAX_ROWS = 20_000
#: Steps of expectation-maximisation, at most: of a fit, and of one that only tells whether its number is a good one.
_STEPS, _STEPS_TO_CHOOSE = 100, 20
#: Numbers of components that are tried in turn.
_TRIED = (1, 3, 10, 20, 50)
#: Fewest examples of which a tenth is held out to choose by.
_FEWEST_TO_CHOOSE = 50

#: Fewest rows of a class for each latent dimension with which the classes make the prior of all examples.
_ROWS_OF_A_CLASS = 10

NComponents = int | Literal["auto"]


@ex_post_priors.register("mixture", cites=("ghosh2020variational",))
@final
@dataclass(frozen=True, kw_only=True)
class MixtureFamily:
    """A Gaussian mixture with full covariances, and one for each class; see :func:`fit_mixture_prior`.

    Args:
        n_components: Largest number of components; ``"auto"`` chooses by held-out examples.

    References:
        Ghosh et al., 2020, From Variational to Deterministic Autoencoders, section 4, arXiv:1903.12436.
    """

    time_share: ClassVar[float] = 0.0
    max_rows: ClassVar[int] = _MAX_ROWS

    n_components: NComponents = "auto"

    def __post_init__(self) -> None:
        _check_components(self.n_components)

    def fit(self, latents: Latents, budget: FitBudget) -> ExPostPriors:
        """See :class:`ExPostFamily`; a class is fitted to its own rows alone.

        Where every class has rows enough, the prior of all examples is the mixture of those of the classes: it is
        better than one fitted to all rows without their labels, and costs nothing.
        """
        means, log_vars = latents.means, latents.log_vars
        options: dict[str, Any] = {"n_components": self.n_components, "seed": budget.seed}
        if latents.classes is None:
            return ExPostPriors(whole=fit_mixture_prior(means, log_vars, **options))
        by_class = fit_class_priors(means, log_vars, latents.classes.tolist(), **options)
        classes = [by_class[index] for index in range(latents.n_classes)]
        counts = latents.classes.bincount(minlength=latents.n_classes)
        are_many = int(counts.min()) >= _ROWS_OF_A_CLASS * (means.shape[1] + 1)
        whole = _union(classes, counts) if are_many else fit_mixture_prior(means, log_vars, **options)
        return ExPostPriors(whole=whole, classes=classes)

    def sections(self, priors: ExPostPriors) -> dict[str, nn.Module]:
        """See :class:`ExPostFamily`."""
        return {"mixture": priors.whole, **{f"class{index}": prior for index, prior in enumerate(priors.classes)}}

    def restore(self, sections: Mapping[str, Mapping[str, Any]], *, latent_dim: int, n_classes: int) -> ExPostPriors:
        """See :class:`ExPostFamily`; the sizes are read from the numbers."""
        whole, *classes = (
            GaussianMixturePrior.from_state_dict(dict(sections[name]))
            for name in ("mixture", *(f"class{index}" for index in range(n_classes)))
        )
        return ExPostPriors(whole=whole, classes=classes)


def fit_mixture_prior(
    means: Tensor,
    log_vars: Tensor | None = None,
    *,
    n_components: NComponents = "auto",
    seed: int = 0,
    max_rows: int = _MAX_ROWS,
) -> GaussianMixturePrior:
    """Fit a Gaussian mixture with full covariances to the aggregate posterior.

    .. math:: p(z) = sum_c w_c N(z; m_c, C_c)    fitted to    z ~ 1/n sum_i q(z | x_i)

    Sampling from it instead of N(0, I) closes the holes between the prior and where the encoder puts the data. It is
    fitted to draws from the posteriors, not to their means: the decoder was trained on draws. Dimensions are scaled to
    unit variance for the fit (expectation-maximisation of scikit-learn, float64), each variance is regularised by 1e-4
    of the dimension's own, and components without data are dropped.

    With ``n_components="auto"`` a tenth of the rows is held out, and 1, 3, 10, 20 and 50 components are
    fitted to the others in turn, in few steps, until the held-out rows gain no more than twice the standard error of
    the gain.

    Fewer components are fitted where rows are few (at least 2 (latent + 1) rows for each) and, should a fit still
    fail, half as many until one remains: a Gaussian with the moments of
    the draws.

    Args:
        means: Posterior means, or draws of z where `log_vars` is None; shape (n, latent), n at least 1.
        log_vars: Logarithms of the posterior variances, shape (n, latent): one draw is made for each row, and more
            where rows are few.
        n_components: Largest number of components, at least 1, or ``"auto"``.
        seed: Decides draws, the rows that are used, and the start of the fit.
        max_rows: Largest number of rows to fit to.

    Returns:
        The prior, in the dtype and on the device of `means`.

    Raises:
        InvalidParameterError: If there is no row, a number is not finite, the shapes differ, or an option is below 1.

    References:
        Ghosh et al., 2020, From Variational to Deterministic Autoencoders, section 4, arXiv:1903.12436.
    """
    _check_components(n_components)
    check_integer("max_rows", max_rows, low=1)
    latents = Latents(means=means, log_vars=log_vars)
    mean, scale = latents.moments()
    standard = (_draws(latents.at_most(max_rows, seed=seed), seed=seed, max_rows=max_rows) - mean) / scale
    n_examples = min(means.shape[0], max_rows)  # not the number of draws: several of one example are no more examples
    largest = max(1, n_examples // (2 * (means.shape[1] + 1)))
    seed = derive_seed(seed, "mixture") % 2**32
    count = min(10 if n_components == "auto" else n_components, largest)
    if n_components == "auto" and n_examples >= _FEWEST_TO_CHOOSE:
        count = _chosen(standard, n_examples, largest, seed=seed)
    weights, centres, covariances = _at_most(standard, count, seed=seed)
    cholesky = torch.linalg.cholesky(covariances)
    return GaussianMixturePrior(
        weights.to(means), (mean + scale * centres).to(means), (scale[:, None] * cholesky).to(means)
    )


def fit_class_priors(
    means: Tensor,
    log_vars: Tensor | None,
    labels: Sequence[Hashable],
    *,
    n_components: NComponents = "auto",
    seed: int = 0,
    max_rows: int = _MAX_ROWS,
) -> dict[Hashable, GaussianMixturePrior]:
    """Fit a mixture for each class, to sample by class.

    Args:
        means: Posterior means, shape (n, latent).
        log_vars: Logarithms of the posterior variances, or None where `means` are draws.
        labels: One for each row.
        n_components: Largest number of components of a class, or ``"auto"``.
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


def _union(parts: Sequence[GaussianMixturePrior], counts: Tensor) -> GaussianMixturePrior:
    """The mixture of mixtures, each weighted by its number of rows."""
    weights = torch.cat([count * part.log_weights.exp() for count, part in zip(counts, parts, strict=True)])
    means, choleskys = (torch.cat([getattr(part, name) for part in parts]) for name in ("means", "cholesky"))
    return GaussianMixturePrior(weights, means, choleskys)


def _check_components(n_components: NComponents) -> None:
    if n_components != "auto":
        check_integer("n_components", n_components, low=1, hint="Use 'auto' to choose by held-out examples.")


def _draws(latents: Latents, *, seed: int, max_rows: int) -> Tensor:
    """Draws from the posteriors, float64, on the CPU; the i-th is of example i modulo their number."""
    rows = latents.means.detach().cpu().double()
    if latents.log_vars is None:
        return rows
    # several draws of each of few rows cost nothing and keep one draw's accident out of the fit
    copies = max(1, min(max_rows, 2000) // rows.shape[0])
    spread = (0.5 * latents.log_vars.detach().cpu().double()).exp().repeat(copies, 1)
    rows = rows.repeat(copies, 1)
    source = generator(seed, "ex-post", "draws")
    return rows + spread * torch.randn(rows.shape, generator=source, dtype=torch.float64)


def _chosen(rows: Tensor, n_examples: int, largest: int, *, seed: int) -> int:
    """The last number of components, of more and more, by which held-out examples became more probable.

    What counts is a gain of more than twice its standard error, after few steps of the fits.
    """
    held_out = torch.zeros(n_examples, dtype=torch.bool)
    held_out[torch.randperm(n_examples, generator=generator(seed, "held-out"))[: n_examples // 10]] = True
    n_held_out, n_draws = int(held_out.sum()), len(rows) // n_examples
    held_out = held_out.repeat(n_draws)
    chosen, best = 1, torch.full((n_held_out,), -torch.inf, dtype=torch.float64)
    for count in itertools.takewhile(lambda count: count <= largest, _TRIED):
        weights, centres, covariances = _at_most(rows[~held_out], count, seed=seed, max_iter=_STEPS_TO_CHOOSE)
        mixture = GaussianMixture((weights / weights.sum()).log(), centres, torch.linalg.cholesky(covariances))
        scores = mixture.log_prob(rows[held_out]).reshape(n_draws, n_held_out).mean(0)
        gain = scores - best
        if count > 1 and not gain.mean() > 2.0 * gain.std() / n_held_out**0.5:
            break
        chosen, best = count, scores
    return chosen


def _at_most(rows: Tensor, count: int, *, seed: int, max_iter: int = _STEPS) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, centres and covariances of this many components, or of half as many where they cannot be fitted."""
    fitted = None
    while count > 1 and fitted is None:
        fitted = _expectation_maximization(rows.numpy(), count, seed=seed, max_iter=max_iter)
        count //= 2
    return _one_gaussian(rows) if fitted is None else fitted


def _expectation_maximization(rows: NDArray[np.float64], n_components: int, *, seed: int, max_iter: int) -> Any:
    """Weights, centres and covariances as float64 tensors, or None where scikit-learn cannot fit as many components."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    mixture = GaussianMixture(
        n_components, covariance_type="full", reg_covar=_REGULARIZATION, max_iter=max_iter, random_state=seed
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
    """A single Gaussian with the moments of `rows`; float64."""
    centred = rows - rows.mean(0)
    covariance = centred.mT @ centred / rows.shape[0] + _REGULARIZATION * torch.eye(rows.shape[1], dtype=torch.float64)
    return torch.ones(1, dtype=torch.float64), rows.mean(0, keepdim=True), covariance.unsqueeze(0)
