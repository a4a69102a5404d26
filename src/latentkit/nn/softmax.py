"""Log-probabilities under a softmax over many classes, some thousands of numbers at a time."""

from __future__ import annotations

from typing import Any, cast, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["log_softmax_of"]

#: Logits that are alive at once: 16 MiB of single precision, which a cache of the last level holds.
_ALIVE = 1 << 22


def log_softmax_of(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    r"""Return the log-probability of one class for each row, shape (n,).

    .. math:: \log p_i = l_{i, t_i} - \log \sum_k \exp l_{ik}, \qquad l = h W^T + b

    Only some rows of l are in memory at a time; the gradient computes them again.

    Args:
        features: h, shape (n, width).
        weight: W, shape (classes, width).
        bias: b, shape (classes,).
        targets: t, shape (n,), int64.

    Example:
        >>> log_softmax_of(torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(4), torch.tensor([0, 3])).exp()
        tensor([0.2500, 0.2500])
    """
    device = features.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        features, weight, bias = features.to(dtype), weight.to(dtype), bias.to(dtype)
    found: Tensor = _LogSoftmax.apply(features, weight, bias, targets)  # type: ignore[no-untyped-call]
    return found


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
    @once_differentiable  # type: ignore[untyped-decorator]
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


def _chunks(n: int, n_classes: int) -> list[slice]:
    step = max(1, _ALIVE // n_classes)
    return [slice(start, start + step) for start in range(0, n, step)]
