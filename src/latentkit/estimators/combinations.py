"""Settings that do not go together, refused before anything is trained: the reason, and what to set instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import posteriors
from latentkit.estimators.resolving import KL_WARM_UP

__all__ = ["check_batch_statistics", "check_components", "check_point_codes"]

#: Objectives that look at the rows of a batch together.
OF_BATCHES: Final = ("beta_tc", "dip", "factor", "info")


def check_point_codes(
    objective: str, *, posterior: str, prior: str, kl_schedule: str = "linear", kl_warm_up: float = KL_WARM_UP
) -> None:
    """Refuse the objective of deterministic autoencoders with what it would leave untrained.

    Raises:
        InvalidParameterError: If the posterior has a spread, there is a prior of training, or a schedule of the KL.

    Example:
        >>> check_point_codes("reconstruction", posterior="point", prior="normal")
        >>> check_point_codes("reconstruction", posterior="diagonal", prior="normal")
        Traceback (most recent call last):
            ...
        latentkit.core.errors.InvalidParameterError: objective='reconstruction' looks at the mean of q(z given x) ...
    """
    if objective != "reconstruction":
        return
    if posteriors[posterior].has_density:
        raise InvalidParameterError(
            f"objective='reconstruction' looks at the mean of q(z given x) alone, so that posterior={posterior!r} "
            "would keep a spread that nothing has trained, and scores and samples would rest on it. Use "
            "posterior='point' (or Autoencoder), or objective='elbo'."
        )
    if prior != "normal":
        raise InvalidParameterError(
            f"codes that are points have no prior of training, and nothing would train prior={prior!r}. Leave it out: "
            "ex_post='mixture' fits one to the codes afterwards."
        )
    if kl_schedule != "linear" or kl_warm_up != KL_WARM_UP:
        raise InvalidParameterError(
            "objective='reconstruction' has no KL term, and so no schedule of its weight; got "
            f"kl_schedule={kl_schedule!r}, kl_warm_up={kl_warm_up!r}. Leave them out."
        )


def check_batch_statistics(setting: str, name: str, batch_size: Any, kinds: tuple[str, ...] = OF_BATCHES) -> None:
    """Refuse batches of one row for what is measured over the rows of a batch.

    Args:
        setting: Name of the parameter that `name` is the value of.
        name: What was asked for.
        batch_size: As the estimator has it.
        kinds: Values that look at a batch.

    Raises:
        InvalidParameterError: If a batch is one row.
    """
    if name in kinds and batch_size == 1:
        raise InvalidParameterError(
            f"{setting}={name!r} compares the rows of a batch, and batch_size=1 leaves nothing to compare. Use a "
            "batch_size of some dozens, or 'auto'."
        )


def check_components(prior: str, options: Mapping[str, Any] | None, n_rows: int) -> None:
    """Refuse a prior with more components than there are rows to learn them from.

    Raises:
        InvalidParameterError: If there are.
    """
    wanted = (options or {}).get("n_components")
    if isinstance(wanted, int) and wanted > n_rows:
        raise InvalidParameterError(
            f"prior={prior!r} with n_components={wanted} has more components than the {n_rows} examples for training. "
            f"Use prior_options={{'n_components': {max(1, min(100, n_rows // 10))}}}, or more data."
        )
