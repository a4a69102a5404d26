"""Schedules of the divergence's weight during training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

from latentkit.core.parameters import check_integer, check_real
from latentkit.core.registry import Registry

__all__ = ["ConstantKl", "CyclicalKl", "KlSchedule", "LinearKl", "kl_schedule", "kl_schedules"]


class KlSchedule(Protocol):
    """The weight of the divergence as a function of training's progress."""

    def __call__(self, progress: float) -> float:
        """Weight in [0, 1] at `progress` in [0, 1]: 0 is the start of training, 1 its planned end."""
        ...


kl_schedules: Registry[type[KlSchedule]] = Registry("KL schedule")


@kl_schedules.register("constant")
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class ConstantKl:
    """Weight 1 throughout.

    Example:
        >>> ConstantKl()(0.0)
        1.0
    """

    def __call__(self, progress: float) -> float:
        """1."""
        return 1.0


@kl_schedules.register("linear")
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class LinearKl:
    """Warm-up: the weight climbs in a straight line from 0 to 1 over a part of training, then stays.

    .. math:: w(t) = min(1, t / fraction)

    Args:
        fraction: Part of training that the climb takes, in (0, 1].

    Raises:
        InvalidParameterError: If `fraction` is outside (0, 1].

    References:
        Bowman et al., 2016, Generating Sentences from a Continuous Space, section 3.1, arXiv:1511.06349; Sonderby et
        al., 2016, Ladder Variational Autoencoders, section 2.3, arXiv:1602.02282.

    Example:
        >>> [LinearKl(fraction=0.5)(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
        [0.0, 0.5, 1.0, 1.0]
    """

    fraction: float = 0.1

    def __post_init__(self) -> None:
        check_real("fraction", self.fraction, low=0.0, high=1.0, inclusive=(False, True))

    def __call__(self, progress: float) -> float:
        """Weight at `progress`."""
        return min(1.0, max(0.0, progress) / self.fraction)


@kl_schedules.register("cyclical")
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class CyclicalKl:
    """Warm-up again and again: in each of `n_cycles` equal parts the weight climbs from 0 to 1, then stays.

    .. math:: w(t) = min(1, tau / ramp),    tau = n_cycles t - floor(n_cycles t)

    Args:
        n_cycles: Number of cycles, at least 1.
        ramp: Part of a cycle that the climb takes, in (0, 1].

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Fu et al., 2019, Cyclical Annealing Schedule, section 3.2, arXiv:1903.10145.

    Example:
        >>> [CyclicalKl(n_cycles=2, ramp=0.5)(progress) for progress in (0.0, 0.125, 0.25, 0.5, 1.0)]
        [0.0, 0.5, 1.0, 0.0, 1.0]
    """

    n_cycles: int = 4
    ramp: float = 0.5

    def __post_init__(self) -> None:
        check_integer("n_cycles", self.n_cycles, low=1)
        check_real("ramp", self.ramp, low=0.0, high=1.0, inclusive=(False, True))

    def __call__(self, progress: float) -> float:
        """Weight at `progress`; training ends with the weight at 1."""
        if progress >= 1.0:
            return 1.0
        return min(1.0, (max(0.0, progress) * self.n_cycles % 1.0) / self.ramp)


def kl_schedule(name: str, progress: float) -> float:
    """Return the weight of the divergence under the schedule of this name, with its default options.

    Args:
        name: A name of `kl_schedules`: ``"constant"``, ``"linear"``, ``"cyclical"``.
        progress: Part of the planned training that is done, in [0, 1].

    Raises:
        InvalidParameterError: If there is no schedule of this name.

    Example:
        >>> kl_schedule("linear", 0.05)
        0.5
    """
    return kl_schedules[name]()(progress)
