"""Batched evaluation with bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from latentkit.core.allocation import keep_freed_memory
from latentkit.core.protocols import LatentVariableModel

__all__ = ["decoding_operations", "inference_batch_size", "iterate_batches", "map_batches"]

#: Floating-point numbers that one batch of activations may take; 64 MiB in single precision.
ACTIVATION_BUDGET = 1 << 24


def inference_batch_size(width: int, *, n_samples: int = 1) -> int:
    """Return how many examples to evaluate at once.

    Args:
        width: Numbers in the widest layer of one example.
        n_samples: Latent draws per example that are decoded together.
    Returns:
        A batch size from 1 to 4096 whose widest activation stays within :data:`ACTIVATION_BUDGET`.
    Example:
        >>> inference_batch_size(784), inference_batch_size(3 * 256 * 256)
        (4096, 85)
    """
    return max(1, min(4096, ACTIVATION_BUDGET // max(1, width * n_samples)))


def decoding_operations(model: LatentVariableModel, x: Tensor, latent_dim: int) -> float:
    """Return about how many floating-point operations it takes to score one example given z; the same on every machine.

    Args:
        model: In evaluation mode.
        x: One example in model units, shape (1, *event), on the model's device.
        latent_dim: Numbers of z.
    """
    from torch.utils.flop_counter import FlopCounterMode

    # with gradients, one row costs nothing more, and the counter fails on parametrised layers without them
    with FlopCounterMode(display=False) as counter:
        # decoders of tables and texts work where cells and tokens are scored, each given those before it
        model.decode(torch.zeros(1, latent_dim, device=x.device)).log_prob(x)
    # beside the products: the likelihood's own work, which weighs most where the decoder is small
    return float(counter.get_total_flops()) + 100.0 * math.prod(x.shape[1:])


def iterate_batches(n: int, batch_size: int) -> Iterator[slice]:
    """Yield slices that cover range(n) in order."""
    for start in range(0, n, batch_size):
        yield slice(start, min(start + batch_size, n))


def map_batches(
    function: Callable[[Tensor], Tensor],
    storage: Tensor,
    *,
    batch_size: int,
    prepare: Callable[[Tensor], Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Apply `function` to consecutive rows of `storage` and concatenate the results, without gradients.

    Args:
        function: Called with a batch in model units; returns one row per example.
        storage: Data, shape (n, ...), n at least 1.
        batch_size: Rows at a time; memory is bounded by it.
        prepare: Storage to model units, applied per batch; None where `storage` is in model units.
        device: Where `function` computes; the result is returned on the CPU.
    Returns:
        Results, shape (n, ...).
    Example:
        >>> map_batches(lambda x: x * 2, torch.arange(5.0), batch_size=2)
        tensor([0., 2., 4., 6., 8.])
    """
    keep_freed_memory()
    result: Tensor | None = None
    n = storage.shape[0]
    with torch.inference_mode():
        for rows in iterate_batches(n, batch_size):
            x = storage[rows].to(device)
            part = function(x if prepare is None else prepare(x))
            if rows.start == 0:
                if rows.stop == n:
                    return part.cpu()
                result = torch.empty((n, *part.shape[1:]), dtype=part.dtype)
            assert result is not None
            result[rows] = part
    assert result is not None, "no rows"
    return result
