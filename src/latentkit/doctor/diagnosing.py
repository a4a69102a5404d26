"""From a fitted estimator to its diagnosis."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sklearn.utils.validation import check_is_fitted

from latentkit.core.errors import UnsupportedOperationError
from latentkit.core.seeds import derive_seed, isolated_rng
from latentkit.doctor.examination import Examination, NotCheckable
from latentkit.doctor.findings import Curve, Diagnosis, Finding, Healthy, Unchecked, ordered
from latentkit.doctor.illnesses import checks, corruption_curves
from latentkit.estimators.generating import GenerativeTasks
from latentkit.estimators.randomness import python_random_kept

__all__ = ["diagnose"]

WITHOUT_CONDITION = (
    "This model was fitted with conditions, and is examined as it is without one: latentkit evaluate tells how it does "
    "when it is given those of the data."
)


@python_random_kept()
def diagnose(
    estimator: Any,
    X: Any = None,
    *,
    held_out: Any = None,
    only: Sequence[str] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Diagnosis:
    """Return what is wrong with a fitted model, by which evidence, and what would help.

    The estimator is left as it is. The longer it takes to compute with, the fewer rows are looked at.

    Args:
        estimator: A fitted :class:`~latentkit.VAE` or another member; checks that do not suit it say so.
        X: The data of its fit, in the form that fit took. Rows that training did not learn from are told from the
            others by the estimator. None leaves out what needs them.
        held_out: Rows that it has not learnt, in place of those among X.
        only: Names of the checks to make; None for all, see :data:`latentkit.doctor.checks`.
        seed: Decides which rows are looked at, and what is drawn.
        progress: Called with the name of each check before it is made.
    Raises:
        InvalidParameterError: If a check is unknown.
        UnsupportedOperationError: If the estimator is no generative member.
        DataError: If there are fewer than two rows.
    References:
        The article behind each check is named in the guide, docs/guide/doctor.md.
    Example:
        >>> from sklearn.datasets import load_iris
        >>> from latentkit import VAE
        >>> X = load_iris().data
        >>> silent = VAE(latent_dim=2, beta=1000.0, max_epochs=20, random_state=0).fit(X)
        >>> diagnose(silent, X, only=["posterior-collapse"]).names
        ('posterior-collapse',)
    """
    if not isinstance(estimator, GenerativeTasks):
        raise UnsupportedOperationError(
            f"a {type(estimator).__name__} cannot be diagnosed. Give the model in it, a VAE or another member."
        )
    check_is_fitted(estimator)
    chosen = {name: checks[name] for name in (checks if only is None else only)}
    start = time.perf_counter()
    findings: list[Finding] = []
    healthy: list[Healthy] = []
    unchecked: list[Unchecked] = []
    device = next(estimator.model_.parameters()).device
    with isolated_rng(derive_seed(seed, "doctor"), device):
        examination = Examination(estimator, X, held_out=held_out, seed=seed)
        for name, check in chosen.items():
            if progress is not None:
                progress(name)
            outcome = check(examination)
            if isinstance(outcome, Finding):
                findings.append(outcome)
            elif isinstance(outcome, Healthy):
                healthy.append(outcome)
            else:
                unchecked.append(outcome)
        curves = _curves(examination) if set(chosen) == set(checks) else ()
    return Diagnosis(
        findings=ordered(findings),
        healthy=tuple(healthy),
        unchecked=tuple(unchecked),
        curves=curves,
        n_train=examination.n("train"),
        n_held_out=examination.n("held out"),
        seconds=time.perf_counter() - start,
        notes=() if estimator.condition_schema_ is None else (WITHOUT_CONDITION,),
    )


def _curves(examination: Examination) -> tuple[Curve, ...]:
    try:
        return corruption_curves(examination)
    except NotCheckable:
        return ()
