"""Differential privacy of an estimator's training: what it asks of the other settings, and the plan of its steps."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, ClassVar, Final, Literal

from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from latentkit.core.errors import InvalidParameterError, RunError
from latentkit.core.protocols import Objective
from latentkit.core.seeds import derive_seed, isolated_rng
from latentkit.data import Dataset
from latentkit.distributions import priors
from latentkit.estimators.combinations import OF_BATCHES
from latentkit.training import PRIVACY_KEY, Checkpoint, Feed, Privacy, PrivateStep, TrainingPlan, calibrate, draw_key
from latentkit.training.engine import steps_per_second

__all__ = [
    "PRIVACY_CITES",
    "PrivacyParameters",
    "check_private_data",
    "check_private_model",
    "draft_privacy",
    "settle_privacy",
]

#: Keys of the bibliography of private training.
PRIVACY_CITES: Final = ("abadi2016deep", "mironov2019renyi", "yousefpour2021opacus")
#: Share of a time budget that the planned steps shall take: where the machine slows down, the rest is there.
PLANNED_TIME: Final = 0.85


@dataclass(kw_only=True, eq=False, repr=False)
class PrivacyParameters:
    """How much the model may tell about any one row.

    Args:
        epsilon: Trains with differential privacy (DP-SGD) and spends this much at most, such as 3; the smaller, the
            more private and the worse. It covers the weights, and rows drawn from them, but not the schema: categories,
            bins and ranges of the columns are learnt from the data as they are. Needs Opacus. None for no privacy.
        delta: Probability with which the bound of `epsilon` may fail; ``"auto"`` is 1 / (n sqrt(n)) of n rows.
        max_grad_norm: Norm to which the gradient of each row is clipped before noise is added to their sum.
    """

    epsilon: float | None = None
    delta: float | Literal["auto"] = "auto"
    max_grad_norm: float = 1.0

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        # below, no noise that the accountant knows is enough; above, nothing is protected
        "epsilon": [Interval(Real, 0.01, 1000, closed="both"), None],
        "delta": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="neither")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither")],
    }

    @property
    def _is_private(self) -> bool:
        return self.epsilon is not None

    def _check_privacy(self) -> None:
        """Refuse settings by which something else than noisy gradients would depend on the rows.

        Raises:
            InvalidParameterError: With the reason, and what to set instead.
        """
        if self.epsilon is None:
            for name in ("delta", "max_grad_norm"):
                if getattr(self, name) != getattr(PrivacyParameters, name):
                    raise InvalidParameterError(
                        f"{name}={getattr(self, name)!r} belongs to private training, which epsilon switches on. Set "
                        "epsilon, such as epsilon=3, or leave it out."
                    )
            return
        settings: dict[str, Any] = self.get_params(deep=False)  # type: ignore[attr-defined]
        for name, refused, reason, advice in _REFUSED:
            if refused(settings[name]):
                raise InvalidParameterError(
                    f"{name}={settings[name]!r} does not go with epsilon={self.epsilon!r}: {reason}. {advice}."
                )


def _is_set(value: Any) -> bool:
    return bool(value)


#: Setting, whether a value of it is refused, why, and what to do.
_REFUSED: Final = (
    (
        "objective",
        lambda name: name in OF_BATCHES,
        "it compares the rows of a batch, and a private step sees each row by itself",
        "Use objective='elbo' or 'iwae'",
    ),
    (
        "objective",
        lambda name: name == "reconstruction",
        "codes that are points have no prior to draw from but one that is fitted to the rows",
        "Use objective='elbo'",
    ),
    (
        "free_bits",
        lambda value: value not in ("auto", 0),
        "free bits are counted in the mean over the rows of a batch",
        "Leave it out",
    ),
    (
        "pretraining",
        _is_set,
        "parts of the model are then trained in turn, and noise is counted for all of it in every step",
        "Leave it out",
    ),
    (
        "aggressive",
        _is_set,
        "parts of the model are then trained in turn, and noise is counted for all of it in every step",
        "Leave it out",
    ),
    (
        "ex_post",
        lambda name: name not in ("auto", "none"),
        "it is fitted to the codes of the rows, without noise",
        "Leave it out: rows are drawn from the prior of training",
    ),
    (
        "prior",
        lambda name: priors[name].is_made_of_posteriors,
        "it starts from examples and is made of them",
        "Use prior='normal' or 'mixture'",
    ),
    (
        "normalization",
        lambda name: name == "batch",
        "it makes each row depend on the others of its batch",
        "Use normalization='layer', or leave it out",
    ),
    (
        "schedule",
        lambda name: name == "plateau",
        "it follows the value of the objective, which is computed from the rows without noise",
        "Use schedule='cosine'",
    ),
    (
        "patience",
        lambda value: value not in ("auto", None),
        "when to stop would be told by rows, without noise",
        "Leave it out: training stops when its steps or its time are over",
    ),
    (
        "precision",
        lambda name: name == "bfloat16",
        "gradients of single rows are computed in single precision",
        "Leave it out",
    ),
    ("compile", _is_set, "gradients of single rows are not compiled", "Leave it out"),
    (
        "warm_start",
        _is_set,
        "the guarantee is that of one fit, and the weights of the fit before have seen rows, too",
        "Use warm_start=False",
    ),
)


def check_private_data(dataset: Dataset, condition: Any) -> None:
    """Refuse labels that would get priors of their own after training.

    Raises:
        InvalidParameterError: If there are labels that are no condition.
    """
    if dataset.labels is not None and condition is None:
        raise InvalidParameterError(
            "labels get priors of their own after training, which are fitted to the rows without noise; that does not "
            "go with epsilon. Keep the labels as a column of the table, or give them as a condition (fit(X, "
            "condition=y), or --conditional)."
        )


def check_private_model(model: nn.Module) -> None:
    """Refuse modules that look at the rows of a batch together.

    Raises:
        InvalidParameterError: With the name of the first one.
    """
    for name, module in model.named_modules():
        if isinstance(module, _NormBase) and module.track_running_stats:
            raise InvalidParameterError(
                f"{name} is a {type(module).__name__}, which keeps statistics of the rows, without noise; that does "
                "not go with epsilon. Use LayerNorm or GroupNorm in its place."
            )


def draft_privacy(estimator: Any, n_rows: int, plan: TrainingPlan) -> Privacy:
    """What an estimator asks for, for this many rows, before the noise that it takes is known.

    Raises:
        InvalidParameterError: If `delta` is so large that a row could be handed out.
    """
    delta = n_rows**-1.5 if estimator.delta == "auto" else float(estimator.delta)
    if delta * n_rows >= 1:
        raise InvalidParameterError(
            f"delta={delta!r} of {n_rows} rows lets a model hand out a row and be called private; it must be below "
            f"{1 / n_rows:.2g}. Use delta='auto', which is {n_rows**-1.5:.2g} here."
        )
    return Privacy(
        epsilon=float(estimator.epsilon),
        delta=delta,
        max_grad_norm=float(estimator.max_grad_norm),
        sample_rate=plan.batch_size / n_rows,
        noise_multiplier=1.0,
        max_steps=0,
        key=0,
    )


def settle_privacy(
    plan: TrainingPlan,
    model: nn.Module,
    objective: Objective,
    train: Feed,
    *,
    recorded: Mapping[str, Any] | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainingPlan:
    """Return a plan whose noise is that of its steps, and whose random numbers nobody can draw again.

    A time budget plans as many epochs as the machine makes in most of it, as measured by a few steps.

    Args:
        plan: With the draft of its privacy.
        model: Measured on a copy.
        objective: What it maximises.
        train: Examples to learn from.
        recorded: The privacy of the run that is resumed, which is then kept.
        checkpoint: Its state.

    Raises:
        InvalidParameterError: If the privacy cannot be had, Opacus is not installed, or it is not that of the run.
    """
    draft = plan.privacy
    assert draft is not None, "asked only where training is private"
    steps = train.steps_per_epoch(plan.batch_size)
    key = draw_key() if checkpoint is None else int(checkpoint.values[PRIVACY_KEY])
    if recorded is None:
        epochs = plan.max_epochs if plan.max_time is None else _epochs_in_time(plan, model, objective, train)
        privacy = calibrate(
            epsilon=draft.epsilon,
            delta=draft.delta,
            max_grad_norm=draft.max_grad_norm,
            sample_rate=draft.sample_rate,
            max_steps=epochs * steps,
            key=key,
        )
    else:
        privacy = Privacy.from_dict(recorded, key=key)
        _check_same(privacy, draft)
    return replace(plan, privacy=privacy, max_epochs=privacy.max_steps // steps, seed=derive_seed(key, "fit"))


def _epochs_in_time(plan: TrainingPlan, model: nn.Module, objective: Objective, train: Feed) -> int:
    assert plan.max_time is not None, "asked only where there is a time budget"
    sample = train.batch(slice(0, plan.batch_size))
    with isolated_rng(0, train.device):
        step = PrivateStep(copy.deepcopy(model), objective, plan)
        rate = steps_per_second(plan.engine, lambda: step(sample, 1.0).objective)
    epochs = int(PLANNED_TIME * plan.max_time * rate / train.steps_per_epoch(plan.batch_size))
    return max(1, min(plan.max_epochs, epochs))


def _check_same(recorded: Privacy, now: Privacy) -> None:
    for name in ("epsilon", "delta", "max_grad_norm", "sample_rate"):
        if getattr(recorded, name) != getattr(now, name):
            raise RunError(
                f"the run that is resumed spends its privacy with {name}={getattr(recorded, name)!r}; these settings "
                f"give {getattr(now, name)!r}. Resume with the same settings and data, or fit into another folder."
            )
