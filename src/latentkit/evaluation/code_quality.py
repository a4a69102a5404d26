"""All scores of codes against known factors, each beside what shuffled codes would get."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from latentkit.core.registry import Registry
from latentkit.core.seeds import generator
from latentkit.evaluation.disentanglement import dci, factor_vae_score, mutual_information_gap, sap_score
from latentkit.evaluation.figures import Figure
from latentkit.evaluation.inputs import Numbers, check_rows

__all__ = ["disentanglement_metrics", "measure_disentanglement"]

#: A metric takes codes, factors and a seed, and gives named scores, higher being better, and what they rest on.
DisentanglementMetric = Callable[[Numbers, Numbers, int], tuple[dict[str, float], str]]

disentanglement_metrics: Registry[DisentanglementMetric] = Registry("disentanglement metric")


def measure_disentanglement(
    codes: Numbers, factors: Numbers, *, metrics: Sequence[str] | None = None, seed: int = 0
) -> tuple[Figure, ...]:
    """Score codes against known factors by every metric, and shuffled codes as the floor.

    The floor is the score of the same codes given to the wrong rows: what a metric shows at this number of rows where
    there is nothing to find.

    Args:
        codes: Posterior means, shape (n, latent).
        factors: Integers (classes), shape (n, factors).
        metrics: Names of `disentanglement_metrics`; all of them by default.
        seed: Decides the shuffle, and what the metrics draw.

    Returns:
        The figures, in the order of the metrics.

    Raises:
        InvalidParameterError: If the shapes do not fit or a metric is unknown.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(5), torch.arange(5)).repeat(8, 1)
        >>> (figure,) = measure_disentanglement(factors.double(), factors, metrics=["mig"])
        >>> round(figure.value, 6), figure.floor < 0.1
        (1.0, True)
    """
    wanted = [disentanglement_metrics[name] for name in (disentanglement_metrics if metrics is None else metrics)]
    z = check_rows("codes", codes, at_least=2).cpu()
    shuffled = z[torch.randperm(z.shape[0], generator=generator(seed, "shuffled-codes"))]
    figures = []
    for metric in wanted:
        scores, computed_with = metric(z, factors, seed)
        floors, _ = metric(shuffled, factors, seed)
        figures += [
            Figure(
                name=name,
                value=value,
                better="higher",
                floor=floors[name],
                floor_of="codes of shuffled rows",
                computed_with=computed_with,
            )
            for name, value in scores.items()
        ]
    return tuple(figures)


@disentanglement_metrics.register("mig")
def _mig(codes: Numbers, factors: Numbers, seed: int) -> tuple[dict[str, float], str]:
    result = mutual_information_gap(codes, factors)
    return {"MIG": result.score}, result.computed_with


@disentanglement_metrics.register("dci")
def _dci(codes: Numbers, factors: Numbers, seed: int) -> tuple[dict[str, float], str]:
    result = dci(codes, factors, seed=seed)
    names = ("disentanglement", "completeness", "informativeness")
    return {f"DCI {name}": getattr(result, name) for name in names}, result.computed_with


@disentanglement_metrics.register("factor-vae")
def _factor_vae(codes: Numbers, factors: Numbers, seed: int) -> tuple[dict[str, float], str]:
    result = factor_vae_score(codes, factors, seed=seed)
    return {"FactorVAE score": result.score}, result.computed_with


@disentanglement_metrics.register("sap")
def _sap(codes: Numbers, factors: Numbers, seed: int) -> tuple[dict[str, float], str]:
    result = sap_score(codes, factors, seed=seed)
    return {"SAP": result.score}, result.computed_with
