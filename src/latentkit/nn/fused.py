"""A multilayer perceptron as one node of the graph, for training on a CPU.

Each operation of a graph costs some microseconds forward and again backward, whatever its size: for the small networks
that tables need, that is most of a step. Here the layers of a perceptron are one operation whose backward pass is
written out. In half precision each weight is also cast once and kept for both passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["FUSABLE", "can_fuse", "fused_perceptron"]

_Backward = Callable[[Tensor, Tensor], Tensor]

#: Activations whose derivative is a function of their output: in-place function, and gradient from output.
FUSABLE: dict[str, tuple[Callable[[Tensor], Tensor], _Backward]] = {
    "relu": (torch.relu_, lambda g, h: torch.ops.aten.threshold_backward(g, h, 0)),
    "tanh": (torch.tanh_, torch.ops.aten.tanh_backward),
}


def can_fuse(x: Tensor, activation: str) -> bool:
    """Tell whether :func:`fused_perceptron` may stand for the layers here: training, on a CPU, eagerly."""
    return (
        activation in FUSABLE
        and torch.is_grad_enabled()
        and x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and torch._C._functorch.peek_interpreter_stack() is None  # noqa: SLF001 (vmap and grad see through no custom node)
    )


def fused_perceptron(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *, activation: str) -> Tensor:
    r"""Affine layers with an activation between them.

    .. math:: h_0 = x, \quad h_i = a(W_i h_{i-1} + b_i), \quad y = W_L h_{L-1} + b_L

    Args:
        x: Inputs, shape (batch, n_inputs).
        weights: Shapes (n_outputs, n_inputs) of each layer.
        biases: Shapes (n_outputs,).
        activation: ``"relu"`` or ``"tanh"``.
    Returns:
        Outputs, shape (batch, n_outputs), in the autocast dtype where autocast is on. Gradients of any order.
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weights[0].dtype
    parameters = [p for pair in zip(weights, biases, strict=True) for p in pair]
    result: Tensor = _Perceptron.apply(x, activation, dtype, *parameters)  # type: ignore[no-untyped-call]
    return result


class _Perceptron(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: str, dtype: torch.dtype, *parameters: Tensor) -> Tensor:
        apply, _ = FUSABLE[activation]
        weights = [weight.to(dtype) for weight in parameters[0::2]]
        h = x.to(dtype)
        hidden = []
        with torch.autocast("cpu", enabled=False):
            for i, (weight, bias) in enumerate(zip(weights, parameters[1::2], strict=True)):
                hidden.append(h)
                h = torch.addmm(bias.to(dtype), h, weight.t())
                if i < len(weights) - 1:
                    h = apply(h)
        ctx.save_for_backward(x, *parameters)
        ctx.activation, ctx.dtype, ctx.hidden = activation, dtype, hidden
        # In float32 these are the parameters themselves, which the saved tensors guard against changes in place.
        ctx.weights = weights if dtype != parameters[0].dtype else None
        return h

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors
        if torch.is_grad_enabled():  # a derivative of this derivative is wanted
            return _differentiable_gradients(x, parameters, ctx, gradients[0])
        weights = parameters[0::2] if ctx.weights is None else ctx.weights
        hidden = ctx.hidden
        _, back = FUSABLE[ctx.activation]
        found: list[Tensor | None] = [None] * len(parameters)
        g: Tensor = gradients[0]
        for i in reversed(range(len(weights))):
            found[2 * i] = (g.t() @ hidden[i]).to(parameters[2 * i].dtype)
            found[2 * i + 1] = g.sum(0, dtype=parameters[2 * i + 1].dtype)
            if i > 0:
                g = back(g @ weights[i], hidden[i])
        into = (g @ weights[0]).to(x.dtype) if ctx.needs_input_grad[0] else None
        return into, None, None, *found


def _differentiable_gradients(
    x: Tensor, parameters: Sequence[Tensor], ctx: Any, gradient: Tensor
) -> tuple[Tensor | None, ...]:
    """The same gradients through ordinary operations, which have derivatives of their own."""
    apply = {"relu": torch.relu, "tanh": torch.tanh}[ctx.activation]
    h = x.to(ctx.dtype)
    n_layers = len(parameters) // 2
    with torch.autocast("cpu", enabled=False):
        for i, (weight, bias) in enumerate(zip(parameters[0::2], parameters[1::2], strict=True)):
            h = functional.linear(h, weight.to(ctx.dtype), bias.to(ctx.dtype))
            if i < n_layers - 1:
                h = apply(h)
    inputs = [x, *parameters]
    needed = [ctx.needs_input_grad[0], *ctx.needs_input_grad[3:]]
    wanted = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
    found = iter(torch.autograd.grad(h, wanted, gradient, create_graph=True))
    into, *rest = [next(found) if need else None for need in needed]
    return into, None, None, *rest
