"""A training step that is differentially private: gradients of single rows, clipped, summed and drowned in noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.protocols import Batch, LatentVariableModel, Objective, Terms
from latentkit.training.optimizers import build_optimizer
from latentkit.training.plan import TrainingPlan

__all__ = ["PrivateStep"]

#: Numbers in the gradients that are held at once: 256 MB.
HELD = 1 << 26
#: Keeps the quotient finite where a gradient is zero.
TINY = 1e-6


@final
class PrivateStep:
    r"""One step of optimisation that is differentially private: of DP-SGD, with any optimiser.

    .. math:: g = \frac{1}{L} \left( \sum_{i \in B} g_i \min(1, C / |g_i|) + N(0, \sigma^2 C^2 I) \right)

    with g_i the gradient of row i alone, B the rows that were drawn, L their expected number, C the `max_grad_norm` and
    sigma the `noise_multiplier` of the plan's privacy. The objective sees every row by itself, so that no other row can
    have a part in its gradient; one that is not finite counts as zero. What the optimiser makes of g costs no privacy.

    Args:
        model: The model that is trained.
        objective: What it maximises; one phase over parameters of the model.
        plan: The settings, with their privacy.

    Raises:
        InvalidParameterError: If the objective has several phases, or parameters of its own.

    References:
        Abadi et al., 2016, Deep Learning with Differential Privacy, algorithm 1, arXiv:1607.00133.
    """

    def __init__(self, model: nn.Module, objective: Objective, plan: TrainingPlan) -> None:
        assert plan.privacy is not None, "asked only where training is private"
        self.privacy, self.expected, self.gradient_clip = plan.privacy, plan.batch_size, plan.gradient_clip
        self.phases = objective.phases(cast(LatentVariableModel, model))
        self._example = _OneRow(model, objective)
        names = {id(parameter): name for name, parameter in self._example.named_parameters()}
        if len(self.phases) != 1 or any(id(parameter) not in names for parameter in self.phases[0].parameters):
            raise InvalidParameterError(
                f"a private step has one noisy gradient, of the model's parameters; {type(objective).__name__} takes "
                "several, or learns itself. Use objective='elbo', or leave epsilon out."
            )
        self._parameters = {names[id(parameter)]: parameter for parameter in self.phases[0].parameters}
        self.optimizers = [
            build_optimizer(
                plan.optimizer,
                self.phases[0].parameters,
                learning_rate=plan.learning_rate,
                weight_decay=plan.weight_decay,
                options=plan.optimizer_options,
            )
        ]

    def __call__(self, batch: Batch, kl_weight: float, number: int = 0, progress: float = 1.0) -> Terms:
        """Take a step and return the terms of its rows, detached.

        Args:
            batch: The rows that were drawn, of which there may be none.
            kl_weight: Weight of the KL term, in [0, 1].
            number: Of the step, from 0: no two steps have the same noise.
            progress: Without meaning: all that is trained is trained in every step.
        """
        gradients, terms = self.clipped_sum(batch, kl_weight)
        parameters = list(self._parameters.values())
        device = parameters[0].device
        noise = self.privacy.noise(sum(parameter.numel() for parameter in parameters), number).to(device)
        parts = torch.split(noise, [parameter.numel() for parameter in parameters])
        for (name, parameter), part in zip(self._parameters.items(), parts, strict=True):
            parameter.grad = (gradients[name] + part.view_as(parameter)) / self.expected
        if self.gradient_clip is not None:
            nn.utils.clip_grad_norm_(parameters, self.gradient_clip)
        self.optimizers[0].step()
        return terms

    def clipped_sum(self, batch: Batch, kl_weight: float) -> tuple[dict[str, Tensor], Terms]:
        """Return the sum over rows of the gradients of minus the objective, each clipped, by parameter; and the terms.

        Raises:
            UnsupportedOperationError: If a part of the model cannot be differentiated row by row.
        """
        weights = {name: parameter.detach() for name, parameter in self._parameters.items()}
        total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        terms = [_no_terms(batch.x)]
        held = max(1, HELD // sum(weight.numel() for weight in weights.values()))
        for start in range(0, len(batch.x), held):
            gradients, part = self._gradients(weights, _rows_of(batch, slice(start, start + held)), kl_weight)
            terms.append(part)
            factors = _clip_factors(gradients, self.privacy.max_grad_norm)
            for name, gradient in gradients.items():
                total[name] += torch.tensordot(factors, gradient, dims=1)
        columns = ([getattr(part, name) for part in terms] for name in ("objective", "log_likelihood", "kl"))
        return total, Terms(*(torch.cat(column) for column in columns))

    def scale_learning_rate(self, factor: float) -> None:
        """Set the learning rate to `factor` times its full strength."""
        self.optimizers[0].scale_learning_rate(factor)

    def _gradients(
        self, weights: Mapping[str, Tensor], rows: Mapping[str, Tensor], kl_weight: float
    ) -> tuple[dict[str, Tensor], Terms]:
        """Gradients of minus the objective of each row, shapes (rows, *parameter), all finite; and the terms."""

        def loss(weights: Mapping[str, Tensor], row: Mapping[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
            terms = functional_call(self._example, dict(weights), (row, kl_weight))
            return -terms[0], terms

        by_row: Callable[..., Any] = vmap(grad(loss, has_aux=True), in_dims=(None, 0), randomness="different")
        try:
            with _Batchable():
                gradients, terms = by_row(weights, rows)
        except RuntimeError as error:
            raise UnsupportedOperationError(
                "training with epsilon takes the gradient of every row by itself (torch.func.vmap), and a part of this "
                f"model does not allow it: {str(error).strip().splitlines()[0]} Use the parts that 'auto' chooses, or "
                "leave epsilon out."
            ) from error
        return gradients, Terms(*(term.detach() for term in terms))


class _OneRow(nn.Module):
    """The objective of a row by itself, as a function of the parameters of the model."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self._objective = objective

    def forward(self, row: Mapping[str, Tensor], kl_weight: float) -> tuple[Tensor, ...]:
        batch = Batch(**{name: value.unsqueeze(0) for name, value in row.items()})
        terms = self._objective(cast(LatentVariableModel, self.model), batch, kl_weight=kl_weight)
        return terms.objective[0], terms.log_likelihood[0], terms.kl[0]


class _Batchable(TorchFunctionMode):
    """Computes what vmap would do row by row, with a warning, from operations that it can batch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.embedding_bag:
            return _sum_of_embeddings(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _sum_of_embeddings(
    places: Tensor, weight: Tensor, *, mode: str = "mean", per_sample_weights: Tensor | None = None, **others: Any
) -> Tensor:
    """``torch.nn.functional.embedding_bag`` with ``mode="sum"`` and bags of one length, shape (*batch, width)."""
    assert mode == "sum", "the networks of latentkit sum their embeddings"
    vectors = functional.embedding(places, weight)
    return vectors.sum(-2) if per_sample_weights is None else (vectors * per_sample_weights.unsqueeze(-1)).sum(-2)


def _rows_of(batch: Batch, part: slice) -> dict[str, Tensor]:
    """The fields of some rows of a batch that are there, by name."""
    fields = {"x": batch.x, "mask": batch.mask, "condition": batch.condition, "rows": batch.rows}
    return {name: value[part] for name, value in fields.items() if value is not None}


def _no_terms(x: Tensor) -> Terms:
    nothing = x.new_empty(0)
    return Terms(nothing, nothing, nothing)


def _clip_factors(gradients: dict[str, Tensor], max_norm: float) -> Tensor:
    """What the gradient of each row is multiplied by, shape (rows,); where one is not finite it becomes zero."""
    squares = [
        torch.linalg.vector_norm(gradient.reshape(len(gradient), -1), dim=1).square() for gradient in gradients.values()
    ]
    norms = torch.stack(squares).sum(0).sqrt()
    broken = ~norms.isfinite()
    if bool(broken.any()):
        for gradient in gradients.values():
            gradient[broken] = 0.0
    return (max_norm / (norms + TINY)).clamp_max(1.0).masked_fill(broken, 0.0)
