"""Differential privacy of a training: how much noise, which rows in which step, and what has been spent."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError

__all__ = ["Privacy", "PrivacySpent", "calibrate", "draw_key", "spent_epsilon"]

#: The accountant of Opacus that is asked: Renyi differential privacy, a proven upper bound in milliseconds.
ACCOUNTANT = "rdp"
#: Orders of the divergence, of which the best counts: few fractions, which are slow; large ones for a small epsilon.
ORDERS = (1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 4.5, *range(5, 64), 80, 96, 128, 192, 256, 512)
#: How far below the epsilon that was asked for the search for the noise may stop, as a share of it.
TOLERANCE = 0.003
#: What random numbers are for, as a word of the counter that they are drawn from.
ROWS, NOISE = 0, 1


@final
@dataclass(frozen=True, kw_only=True)
class PrivacySpent:
    r"""What a training has spent: its weights, and whatever is computed from them alone, are (epsilon, delta)-private.

    .. math:: P(M(D) \in S) \le e^\epsilon P(M(D') \in S) + \delta

    for all sets S of outcomes and all D and D' of which one has a row that the other has not.

    Attributes:
        epsilon: Spent by the steps that were taken; at most `target_epsilon`.
        delta: Probability with which the bound may fail.
        target_epsilon: What was asked for.
        noise_multiplier: Standard deviation of the noise for a `max_grad_norm` of 1.
        max_grad_norm: Largest Euclidean norm of the gradient of one row.
        sample_rate: Probability with which a row is in a step.
        n_steps: Steps that were taken.

    References:
        Dwork and Roth, 2014, The Algorithmic Foundations of Differential Privacy, definition 2.4.
    """

    epsilon: float
    delta: float
    target_epsilon: float
    noise_multiplier: float
    max_grad_norm: float
    sample_rate: float
    n_steps: int

    def summary(self) -> str:
        """The guarantee in a line, for people."""
        return f"epsilon {self.epsilon:.3g} of {self.target_epsilon:g}, delta {self.delta:.2g}"

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@final
@dataclass(frozen=True, kw_only=True)
class Privacy:
    """How a training is kept differentially private.

    Every step takes each row with probability `sample_rate`, clips the gradient of each to `max_grad_norm`, and adds
    Gaussian noise to their sum (Abadi et al., 2016). Rows and noise are drawn from a secret key: whoever knew it could
    take the noise off again. They depend on it and the number of the step alone.

    Args:
        epsilon: Most that may be spent.
        delta: Probability with which the bound may fail.
        max_grad_norm: Largest Euclidean norm of the gradient of one row.
        sample_rate: Probability with which a row is in a step.
        noise_multiplier: Standard deviation of the noise for a `max_grad_norm` of 1.
        max_steps: Steps after which epsilon is spent.
        key: Secret of 128 bits; see :func:`draw_key`.

    References:
        Abadi et al., 2016, Deep Learning with Differential Privacy, algorithm 1, arXiv:1607.00133.
    """

    epsilon: float
    delta: float
    max_grad_norm: float
    sample_rate: float
    noise_multiplier: float
    max_steps: int
    key: int = field(repr=False)

    def rows(self, n: int, step: int) -> Tensor:
        """Numbers of those of n rows that are in a step, each with probability `sample_rate`, ascending."""
        return torch.from_numpy(np.flatnonzero(self._source(ROWS, step).random(n) < self.sample_rate))

    def noise(self, n: int, step: int) -> Tensor:
        """The n numbers that a step adds to the sum of the gradients, float32, shape (n,)."""
        numbers = self._source(NOISE, step).standard_normal(n, dtype=np.float32)
        return torch.from_numpy(numbers).mul_(self.noise_multiplier * self.max_grad_norm)

    def spent(self, n_steps: int) -> PrivacySpent:
        """What the first `n_steps` steps have spent."""
        epsilon = spent_epsilon(
            noise_multiplier=self.noise_multiplier, sample_rate=self.sample_rate, n_steps=n_steps, delta=self.delta
        )
        return PrivacySpent(
            epsilon=epsilon,
            delta=self.delta,
            target_epsilon=self.epsilon,
            noise_multiplier=self.noise_multiplier,
            max_grad_norm=self.max_grad_norm,
            sample_rate=self.sample_rate,
            n_steps=n_steps,
        )

    def summary(self) -> str:
        """What is planned, and what is not covered, for people."""
        return (
            f"differentially private: epsilon {self.epsilon:g}, delta {self.delta:.2g}, in {self.max_steps:,} steps "
            f"with noise {self.noise_multiplier:.3g}; not private are the schema (categories, bins, ranges) and the "
            "figures of training"
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields but the key as JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "key"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, key: int) -> Self:
        """Inverse of :meth:`to_dict`."""
        return cls(**values, key=key)

    def _source(self, purpose: int, step: int) -> np.random.Generator:
        # Each step and purpose has 2**128 counts of its own.
        return np.random.Generator(np.random.Philox(key=self.key, counter=[0, 0, step, purpose]))


def draw_key() -> int:
    """Return a fresh secret of 128 bits from the operating system, for :class:`Privacy`."""
    return secrets.randbits(128)


def spent_epsilon(*, noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """Return the epsilon that steps of the subsampled Gaussian mechanism have spent, by Opacus's accountant.

    Args:
        noise_multiplier: Standard deviation of the noise for a sensitivity of 1.
        sample_rate: Probability with which a row is in a step.
        n_steps: Number of steps.
        delta: Probability with which the bound may fail.

    Raises:
        InvalidParameterError: If Opacus is not installed.

    References:
        Mironov, Talwar and Zhang, 2019, Renyi Differential Privacy of the Sampled Gaussian Mechanism, arXiv:1908.10530.
    """
    if not n_steps:
        return 0.0
    with _opacus():
        from opacus.accountants import create_accountant

        accountant = create_accountant(mechanism=ACCOUNTANT)
        accountant.history = [(noise_multiplier, sample_rate, n_steps)]
        return float(accountant.get_epsilon(delta=delta, alphas=list(ORDERS)))


def calibrate(
    *, epsilon: float, delta: float, max_grad_norm: float, sample_rate: float, max_steps: int, key: int
) -> Privacy:
    """Return the privacy whose steps together spend `epsilon`, and no more, with the least noise.

    Raises:
        InvalidParameterError: If no noise is enough, or Opacus is not installed.
    """
    with _opacus():
        from opacus.accountants.utils import get_noise_multiplier

        try:
            noise_multiplier = get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=sample_rate,
                steps=max_steps,
                accountant=ACCOUNTANT,
                epsilon_tolerance=TOLERANCE * epsilon,
                alphas=list(ORDERS),
            )
        except ValueError as error:
            raise InvalidParameterError(
                f"no noise makes {max_steps} steps that each take {sample_rate:.2%} of the rows private with "
                f"epsilon={epsilon!r} and delta={delta!r} ({error}). Use a larger one."
            ) from error
    return Privacy(
        epsilon=epsilon,
        delta=delta,
        max_grad_norm=max_grad_norm,
        sample_rate=sample_rate,
        noise_multiplier=float(noise_multiplier),
        max_steps=max_steps,
        key=key,
    )


@contextmanager
def _opacus() -> Iterator[None]:
    """Say what to install where Opacus is not, and spare people its advice on the orders of its accountant."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opacus":
            raise
        raise InvalidParameterError(
            "training with epsilon needs Opacus, which accounts for what is spent. Install it: "
            "pip install 'latentkit[privacy]'"
        ) from error
