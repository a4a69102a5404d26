"""Learning-rate schedules: a factor in [0, 1] for every moment of training.

A schedule sees the *progress* of training, which runs from 0 to 1 over the planned epochs (or over the time budget,
whichever is further), so that one schedule serves ten seconds and ten hours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from latentkit.core.registry import Registry

__all__ = ["Constant", "Cosine", "Exponential", "Plateau", "Schedule", "Step", "schedules", "warm_up"]


class Schedule(Protocol):
    """A learning-rate schedule."""

    def factor(self, progress: float) -> float:
        """Factor on the learning rate at this progress in [0, 1]."""
        ...

    def observe(self, score: float) -> None:
        """Hear the validation score of an epoch; larger is better."""
        ...

    def state(self) -> dict[str, float]:
        """What must be restored for training to go on as it would have."""
        ...

    def load_state(self, state: dict[str, float]) -> None:
        """Restore what :meth:`state` returned."""
        ...


schedules: Registry[type[Schedule]] = Registry("schedule")


def warm_up(progress: float, fraction: float) -> float:
    """Linear ramp from nearly 0 to 1 over the first `fraction` of training.

    Example:
        >>> warm_up(0.01, 0.02), warm_up(0.5, 0.02), warm_up(0.0, 0.0)
        (0.5, 1.0, 1.0)
    """
    return 1.0 if progress >= fraction else max(progress / fraction, 1e-3)


class _Stateless:
    """A schedule that depends on progress alone."""

    def observe(self, score: float) -> None:
        """Hear the validation score; nothing depends on it."""

    def state(self) -> dict[str, float]:
        """Nothing to keep."""
        return {}

    def load_state(self, state: dict[str, float]) -> None:
        """Nothing to restore."""


@schedules.register("constant")
@dataclass
class Constant(_Stateless):
    """The same learning rate throughout."""

    def factor(self, progress: float) -> float:
        """1 at any progress."""
        return 1.0


@schedules.register("cosine")
@dataclass
class Cosine(_Stateless):
    r"""Half a cosine from 1 down to `floor`.

    .. math:: f(p) = \text{floor} + (1 - \text{floor}) (1 + \cos \pi p) / 2

    References:
        Loshchilov and Hutter, 2017, SGDR, arXiv:1608.03983.

    Example:
        >>> Cosine(floor=0.0).factor(0.5)
        0.5
    """

    floor: float = 0.01

    def factor(self, progress: float) -> float:
        """Half a cosine."""
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@schedules.register("step")
@dataclass
class Step(_Stateless):
    """Divided by ten at 60 % and at 85 % of training."""

    gamma: float = 0.1
    milestones: tuple[float, ...] = (0.6, 0.85)

    def factor(self, progress: float) -> float:
        """`gamma` to the number of milestones passed."""
        return float(self.gamma ** sum(progress >= milestone for milestone in self.milestones))


@schedules.register("exponential")
@dataclass
class Exponential(_Stateless):
    r"""Geometric decay: :math:`f(p) = \text{final}^p`.

    Example:
        >>> Exponential(final=0.01).factor(0.5)
        0.1
    """

    final: float = 0.01

    def factor(self, progress: float) -> float:
        """Geometric decay from 1 to `final`."""
        return float(self.final ** min(1.0, progress))


@schedules.register("plateau")
@dataclass
class Plateau:
    """Halved when the validation score has not improved for `patience` epochs.

    Needs a validation part; without one the training objective is heard instead.
    """

    gamma: float = 0.5
    patience: int = 3
    best: float = -math.inf
    waited: int = 0
    current: float = 1.0

    def factor(self, progress: float) -> float:
        """The current factor."""
        return self.current

    def observe(self, score: float) -> None:
        """Halve the rate when the score has stalled."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.current, self.waited = self.current * self.gamma, 0

    def state(self) -> dict[str, float]:
        """Best score, epochs waited and the current factor."""
        return {"best": self.best, "waited": self.waited, "current": self.current}

    def load_state(self, state: dict[str, float]) -> None:
        """Restore the three."""
        self.best, self.waited, self.current = float(state["best"]), int(state["waited"]), float(state["current"])
