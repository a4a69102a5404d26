"""What every family of priors that are fitted after training has in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.registry import Registry
from latentkit.core.seeds import generator
from latentkit.distributions import Prior
from latentkit.training import Engine
from latentkit.training.progress import Reporter, Silent

__all__ = ["ExPostFamily", "ExPostPriors", "FitBudget", "Latents", "ex_post_priors"]


@dataclass(frozen=True, kw_only=True)
class Latents:
    """Where the encoder puts the training data.

    Attributes:
        means: Posterior means, or latent vectors where `log_vars` is None, shape (n, latent), n at least 1.
        log_vars: Logarithms of the posterior variances, shape (n, latent).
        classes: Class of each row, integers from 0 to n_classes - 1, shape (n,); None without labels.
        n_classes: Number of classes.

    Raises:
        InvalidParameterError: If there is no row, the shapes differ, or a number is not finite.
    """

    means: Tensor
    log_vars: Tensor | None = None
    classes: Tensor | None = None
    n_classes: int = 0

    def __post_init__(self) -> None:
        if self.means.ndim != 2 or 0 in self.means.shape:
            raise InvalidParameterError(
                f"a prior is fitted to at least 1 latent vector, shape (n, latent); got shape "
                f"{tuple(self.means.shape)}."
            )
        if self.log_vars is not None and self.log_vars.shape != self.means.shape:
            raise InvalidParameterError(
                f"means and log_vars must have one shape; got {tuple(self.means.shape)} and "
                f"{tuple(self.log_vars.shape)}."
            )
        spread = torch.zeros(()) if self.log_vars is None else (0.5 * self.log_vars.double()).exp()
        if not torch.isfinite(self.means).all() or not torch.isfinite(spread).all():
            raise InvalidParameterError(
                "latent vectors must be finite to fit a prior; the encoder gave NaN or infinity. Look at the data and "
                "at the training for numbers that are too large."
            )

    def at_most(self, n: int, *, seed: int) -> Latents:
        """These, or `n` of them by chance where there are more."""
        if self.means.shape[0] <= n:
            return self
        chosen = torch.randperm(self.means.shape[0], generator=generator(seed, "ex-post"))[:n]
        return self.of(chosen)

    def of(self, rows: Tensor) -> Latents:
        """Those of some rows."""
        parts = (None if part is None else part[rows] for part in (self.log_vars, self.classes))
        log_vars, classes = parts
        return Latents(means=self.means[rows], log_vars=log_vars, classes=classes, n_classes=self.n_classes)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each dimension of draws from the posteriors, shape (latent,), float64.

        A dimension that never varies keeps a width that is small beside the others, and above rounding beside its mean.
        """
        means = self.means.detach().cpu().double()
        mean, variance = means.mean(0), means.var(0, correction=0)
        if self.log_vars is not None:
            variance = variance + self.log_vars.detach().cpu().double().exp().mean(0)
        stddev = variance.sqrt()
        smallest = max(1e-3 * float(stddev.max()), 1e-6 * float(mean.abs().max()), 1e-9)
        return mean, stddev.clamp_min(smallest)


@dataclass(frozen=True, kw_only=True)
class FitBudget:
    """What a fit may use.

    Attributes:
        seed: Decides everything random.
        max_time: Seconds of a training; None for no limit.
        engine: How networks are trained.
        reporter: Hears how it goes.
    """

    seed: int = 0
    max_time: float | None = None
    engine: Engine = field(default_factory=Engine)
    reporter: Reporter = field(default_factory=Silent)


@dataclass(frozen=True, kw_only=True)
class ExPostPriors:
    """Priors that were fitted together.

    Attributes:
        whole: The prior of all examples.
        classes: The prior of each class, in order; none without labels.
    """

    whole: Prior
    classes: Sequence[Prior] = ()


class ExPostFamily(Protocol):
    """A way to fit a prior to the aggregate posterior; its fields are the options of the user."""

    @property
    def time_share(self) -> float:
        """Share of the time budget of a whole training that the fit gets; 0 for fits that take what they need."""
        ...

    @property
    def max_rows(self) -> int:
        """Largest number of examples that are used."""
        ...

    def fit(self, latents: Latents, budget: FitBudget) -> ExPostPriors:
        """The prior of all rows, and one of each class where there are classes."""
        ...

    def sections(self, priors: ExPostPriors) -> dict[str, nn.Module]:
        """The modules that a run keeps, by the name of their section."""
        ...

    def restore(self, sections: Mapping[str, Mapping[str, Any]], *, latent_dim: int, n_classes: int) -> ExPostPriors:
        """Inverse of :meth:`sections`, from the states of the modules."""
        ...


#: The priors that can be fitted after training, by name.
ex_post_priors: Registry[Callable[..., ExPostFamily]] = Registry("ex-post prior")
