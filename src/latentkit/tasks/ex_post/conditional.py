"""Priors given conditions: any family, fitted to what a condition leaves open of the latent vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import Prior
from latentkit.models import ConditionalPrior, LinearMeans
from latentkit.tasks.ex_post.family import ExPostFamily, ExPostPriors, FitBudget, Latents

__all__ = ["Conditions", "conditional_sections", "fit_conditional_prior", "restore_conditional_prior"]

#: Name of the section that holds the means of a conditional prior, and the beginning of those of its family.
SECTION, PREFIX = "condition", "condition."
#: Fewest rows of a combination of classes for each number that its Gaussian has in a latent dimension: with 3 to 5
#: digits of MNIST were as probable under a prior of their own as under the shared one (docs/log.md).
_ROWS_OF_A_NUMBER: Final = 5
#: Weight of the ridge penalty, in rows: a coefficient that rests on fewer is more penalty than data.
_RIDGE: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What latent vectors are given.

    Attributes:
        columns: Encoded conditions, shape (n, columns): first a column of ones, then one-hot classes and standardised
            numbers.
        of_classes: Which columns are of classes, shape (columns,), bool.

    Raises:
        InvalidParameterError: If the shapes do not fit together.
    """

    columns: Tensor
    of_classes: Tensor

    def __post_init__(self) -> None:
        if self.columns.ndim != 2 or self.of_classes.shape != self.columns.shape[1:]:
            raise InvalidParameterError(
                "conditions need columns (n, columns) and a truth value for each column; got shapes "
                f"{tuple(self.columns.shape)} and {tuple(self.of_classes.shape)}."
            )

    @property
    def n_numbers(self) -> int:
        """Number of numeric columns."""
        return int((~self.of_classes[1:]).sum())

    def combinations(self) -> tuple[Tensor, Tensor]:
        """The combinations of classes that occur, shape (combinations, columns), and that of each row, shape (n,)."""
        telling = self.of_classes.clone()
        telling[0] = True  # one combination of no classes where all is numbers
        found: tuple[Tensor, Tensor] = torch.unique(self.columns * telling, dim=0, return_inverse=True)
        return found


def fit_conditional_prior(
    family: ExPostFamily, latents: Latents, conditions: Conditions, budget: FitBudget, *, whole: Prior
) -> ConditionalPrior:
    r"""Fit a prior of latent vectors given the conditions that a decoder sees beside them.

    .. math:: p(z \mid c) = p_k(z - W_k^T c)

    Where likelihoods are of thousands of nats, the few that a latent vector could save by leaving a class to the
    condition do not count, and it carries the class too. Drawn from a prior of all rows, it then contradicts the
    condition.

    Every combination k of classes with rows enough has a ridge regression of z on the numbers, and a prior of the
    residuals. How numbers move z differs between classes, so that the regression is within the combination. Enough are
    5 rows for each number that a Gaussian of its own has in a latent dimension: latent_dim + 1, and one for
    each number of the condition. Other combinations, also those of which there is no row, share one regression of all
    rows on numbers and classes, which shrinks the effect of a rare class to none, and the prior of all residuals.

    Args:
        family: What is fitted to the residuals.
        latents: Of the training data; their classes are left out of account.
        conditions: Of the same rows.
        budget: What the fit may use; its reporter hears how many combinations are rare.
        whole: Prior of all rows, for latent vectors without a condition.

    Raises:
        InvalidParameterError: If there is not one condition for each row.

    References:
        Sohn et al., 2015, Learning Structured Output Representation using Deep Conditional Generative Models (p(z given
        a condition)); Ghosh et al., 2020, From Variational to Deterministic Autoencoders, section 4, arXiv:1903.12436.
    """
    if len(conditions.columns) != len(latents.means):
        raise InvalidParameterError(
            f"there must be one condition for each latent vector; got {len(conditions.columns)} for "
            f"{len(latents.means)}."
        )
    rows = latents.means.detach().cpu().double()
    columns = conditions.columns.cpu().double()
    found, places = conditions.combinations()
    enough = rows_enough(rows.shape[1], conditions.n_numbers)
    is_rare = places.bincount() < enough
    if bool(is_rare.any()):
        budget.reporter.note(
            f"{int(is_rare.sum())} of {len(found)} combinations of conditions have fewer than {enough} examples; their "
            "latent vectors are drawn around what their attributes add up to, with the spread of all"
        )
    # the rare ones are fitted together, as one class more that no condition asks for
    numbers = torch.where(is_rare, int((~is_rare).sum()), (~is_rare).cumsum(0) - 1)
    classes = numbers[places]
    combinations = torch.cat((found[~is_rare], found.new_zeros(int(is_rare.any()), found.shape[1])))
    shared = _regression(columns, rows)
    own = [_regression(columns[chosen], rows[chosen]) for chosen in _members(classes, int((~is_rare).sum()))]
    coefficients = torch.stack([*own, *[shared] * (int(is_rare.any()) + 1)])
    centres = torch.einsum("nc,ncl->nl", columns, coefficients[classes])
    residuals = replace(latents, means=(rows - centres).to(latents.means), classes=classes, n_classes=len(combinations))
    means = LinearMeans(combinations.to(latents.means), coefficients.to(latents.means))
    return _assembled(means, family.fit(residuals, budget), whole)


def rows_enough(latent_dim: int, n_numbers: int = 0) -> int:
    """Fewest rows of a combination of classes with which it has a prior of its own.

    Example:
        >>> rows_enough(16)
        85
    """
    return _ROWS_OF_A_NUMBER * (latent_dim + 1 + n_numbers)


def conditional_sections(family: ExPostFamily, prior: ConditionalPrior) -> dict[str, nn.Module]:
    """The modules of a conditional prior that a run keeps, but for its prior of all rows, by the name of a section."""
    priors = ExPostPriors(whole=prior.pooled, classes=list(prior.classes))  # type: ignore[arg-type]  # priors are modules
    parts = {f"{PREFIX}{name}": module for name, module in family.sections(priors).items()}
    return {SECTION: prior.means, **parts}


def restore_conditional_prior(
    family: ExPostFamily, sections: Mapping[str, Mapping[str, Any]], *, whole: Prior
) -> ConditionalPrior | None:
    """Inverse of :func:`conditional_sections`; None where there is no such prior among the sections."""
    if SECTION not in sections:
        return None
    means = LinearMeans(sections[SECTION]["combinations"], sections[SECTION]["coefficients"])
    parts = {name.removeprefix(PREFIX): part for name, part in sections.items() if name.startswith(PREFIX)}
    priors = family.restore(parts, latent_dim=whole.latent_dim, n_classes=means.n_combinations)
    return _assembled(means, priors, whole)


def _assembled(means: LinearMeans, priors: ExPostPriors, whole: Prior) -> ConditionalPrior:
    return ConditionalPrior(means, priors.classes, priors.whole, whole)


def _members(classes: Tensor, n_classes: int) -> list[Tensor]:
    return [(classes == index).nonzero().flatten() for index in range(n_classes)]


def _regression(columns: Tensor, rows: Tensor) -> Tensor:
    r"""Ridge regression of rows on columns, of which the first is 1 and bears no penalty; shape (columns, latent).

    .. math:: W = (X^T X + \lambda I)^{-1} X^T Z    with X and Z centred
    """
    centre, mean = columns[:, 1:].mean(0), rows.mean(0)
    centred = columns[:, 1:] - centre
    penalty = _RIDGE * torch.eye(len(centre), dtype=rows.dtype)
    slopes = torch.linalg.solve(centred.mT @ centred + penalty, centred.mT @ (rows - mean))
    return torch.cat(((mean - centre @ slopes).unsqueeze(0), slopes))
