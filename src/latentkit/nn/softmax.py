"""Log-probabilities under a softmax over many classes, some thousands of numbers at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

__all__ = ["Sampled", "log_softmax_of"]

#: Logits that may be in memory as a whole (128 MiB of single precision), and those that are there at once where they
#: may not: fewer, which stay in a processor's cache.
_ALIVE, _AT_ONCE = 1 << 25, 1 << 23


def log_softmax_of(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    r"""Return the log-probability of one class for each row, shape (n,).

    .. math:: \log p_i = l_{i, t_i} - \log \sum_k \exp l_{ik}, \qquad l = h W^T + b

    Of many rows and classes only some logits are in memory at a time; the gradient computes them again.

    Args:
        features: h, shape (n, width).
        weight: W, shape (classes, width).
        bias: b, shape (classes,).
        targets: t, shape (n,), int64.

    Example:
        >>> log_softmax_of(torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(4), torch.tensor([0, 3])).exp()
        tensor([0.2500, 0.2500])
    """
    features, weight, bias = _cast(features, weight, bias)
    if len(features) * len(weight) <= _ALIVE:
        logits = functional.linear(features, weight, bias)
        return -functional.cross_entropy(_wide(logits), targets, reduction="none")
    found: Tensor = _LogSoftmax.apply(features, weight, bias, targets)  # type: ignore[no-untyped-call]
    return found


@final
@dataclass(frozen=True, slots=True)
class Sampled:
    r"""Classes whose logits stand for those of all: the frequent ones, and some drawn of the others.

    .. math:: \hat Z = e^{l_t} + \sum_{k \in F, k \ne t} e^{l_k} + \frac{R}{|S|} \sum_{k \in S, k \ne t} e^{l_k}

    with F the frequent classes, S drawn evenly, without replacement, of the R others. The sum is unbiased for that of
    the softmax; its logarithm is a little too small.

    Attributes:
        classes: F and then S, shape (classes,), int64.
        log_weights: 0 for F, log(R / n) for the n of S, shape (classes,).

    References:
        Jean et al., 2015, On Using Very Large Target Vocabulary for Neural Machine Translation, arXiv:1412.2007.
    """

    classes: Tensor
    log_weights: Tensor

    @classmethod
    def of(cls, order: Tensor, n: int) -> Sampled:
        """Draw by torch's global generator, as dropout does.

        Args:
            order: All classes, those of most uses first, shape (classes,), int64.
            n: How many to take; half of them are the frequent ones.
        """
        frequent, others = order[: n // 2], order[n // 2 :]
        drawn = others[torch.randperm(len(others), device=order.device)[: n - n // 2]]
        weights = torch.zeros(n, device=order.device)
        weights[n // 2 :] = math.log(len(others) / len(drawn))
        return cls(torch.cat([frequent, drawn]), weights)

    def log_probs(self, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        """Return the log-probability of one class for each row, shape (n,), for :func:`log_softmax_of`'s arguments."""
        features, weight, bias = _cast(features, weight, bias)
        logits = functional.linear(features, functional.embedding(self.classes, weight), bias[self.classes])
        logits = _wide(logits) + self.log_weights
        places = torch.full((len(weight),), -1, device=targets.device)
        places[self.classes] = torch.arange(len(self.classes), device=targets.device)
        place = places[targets]
        rows = (place >= 0).nonzero().squeeze(1)
        logits = logits.index_put((rows, place[rows]), logits.new_tensor(-math.inf))
        own = _wide((features * functional.embedding(targets, weight)).sum(-1) + bias[targets])
        return own - torch.logaddexp(own, torch.logsumexp(logits, 1))


def _cast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors in the precision of autocast, where that is on."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(tensor.to(dtype) for tensor in tensors)


@final
class _LogSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        wide = torch.promote_types(features.dtype, torch.float32)
        found, normalizers = (features.new_empty(len(features), dtype=wide) for _ in range(2))
        for rows in _chunks(len(features), len(weight)):
            logits = torch.addmm(bias, features[rows], weight.T).to(wide)
            normalizers[rows] = torch.logsumexp(logits, 1)
            found[rows] = logits.gather(1, targets[rows, None]).squeeze(1) - normalizers[rows]
        ctx.save_for_backward(features, weight, bias, targets, normalizers)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        features, weight, bias, targets, normalizers = cast("tuple[Tensor, ...]", ctx.saved_tensors)
        of_features = torch.empty_like(features)
        of_weight, of_bias = (torch.zeros_like(part, dtype=normalizers.dtype) for part in (weight, bias))
        for rows in _chunks(len(features), len(weight)):
            logits = torch.addmm(bias, features[rows], weight.T).to(normalizers.dtype)
            # d log p / d l is 1 at the target minus the probabilities
            slopes = logits.sub_(normalizers[rows, None]).exp_().mul_(-gradient[rows, None])
            slopes.scatter_add_(1, targets[rows, None], gradient[rows, None])
            of_bias += slopes.sum(0)
            slopes = slopes.to(features.dtype)
            of_features[rows] = slopes @ weight
            of_weight += slopes.T @ features[rows]
        return of_features, of_weight.to(weight.dtype), of_bias.to(bias.dtype), None


def _wide(value: Tensor) -> Tensor:
    return value if value.dtype in (torch.float32, torch.float64) else value.float()


def _chunks(n: int, n_classes: int) -> list[slice]:
    step = max(1, _AT_ONCE // n_classes)
    return [slice(start, start + step) for start in range(0, n, step)]
