"""Optimisers by name: whatever ``torch.optim`` has, fused where it can be."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion

__all__ = ["OptimizerGroup", "build_optimizer", "optimizer_names"]

#: In torch.optim, but of no use here: they need a closure or sparse gradients.
_EXCLUDED = frozenset({"Optimizer", "LBFGS", "SparseAdam"})


def optimizer_names() -> tuple[str, ...]:
    """Return the lower-case names of the optimisers that this torch offers.

    Example:
        >>> {"adam", "adamw", "sgd", "adamax"} <= set(optimizer_names())
        True
    """
    return tuple(_classes())


class OptimizerGroup:
    """One or more torch optimisers that step together.

    Muon updates matrices only; the other parameters then go to AdamW. Everything else is a group of one.

    Args:
        members: Optimisers over disjoint parameters.
        learning_rate: The learning rate at full strength, which :meth:`scale_learning_rate` multiplies.
    """

    def __init__(self, members: Sequence[torch.optim.Optimizer], *, learning_rate: float) -> None:
        self.members = tuple(members)
        self.learning_rate = learning_rate
        self._base = [[float(group["lr"]) for group in member.param_groups] for member in self.members]
        self._steps = [_plain(member, "step") for member in self.members]
        self._parameters = [p for member in self.members for group in member.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter from its gradient."""
        for step in self._steps:
            step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def scale_learning_rate(self, factor: float) -> None:
        """Set every learning rate to `factor` times what it was at the start."""
        for member, rates in zip(self.members, self._base, strict=True):
            for group, rate in zip(member.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the state as named tensors and as JSON values; together they restore it exactly."""
        tensors: dict[str, Tensor] = {}
        values: dict[str, Any] = {}
        for m, member in enumerate(self.members):
            for index, state in _plain(member, "state_dict")()["state"].items():
                for key, value in state.items():
                    if isinstance(value, Tensor):
                        tensors[f"{m}.{index}.{key}"] = value
                    else:
                        values[f"{m}.{index}.{key}"] = value
        return tensors, values

    def load_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore what :meth:`state` returned."""
        for m, member in enumerate(self.members):
            state: dict[int, dict[str, Any]] = {}
            for name, value in [*tensors.items(), *values.items()]:
                owner, index, key = name.split(".", 2)
                if int(owner) == m:
                    state.setdefault(int(index), {})[key] = value.clone() if isinstance(value, Tensor) else value
            current = _plain(member, "state_dict")()
            _plain(member, "load_state_dict")({"state": state, "param_groups": current["param_groups"]})


def build_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter],
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    options: Mapping[str, Any] | None = None,
) -> OptimizerGroup:
    """Return an optimiser of ``torch.optim`` by its name, in any case.

    Args:
        name: ``"adam"``, ``"AdamW"``, ``"sgd"``, ``"adamax"``, ``"muon"`` ...
        parameters: What it updates.
        learning_rate: Step size at full strength.
        weight_decay: L2 penalty or decoupled decay, as that optimiser defines it. Biases, gains and other vectors are
            spared: shrinking them regularises nothing.
        options: Further arguments of that optimiser, such as ``{"momentum": 0.9}`` or ``{"betas": (0.9, 0.99)}``.
    Raises:
        InvalidParameterError: If torch has no such optimiser, or if it does not take an option.
    """
    classes = _classes()
    key = name.lower() if isinstance(name, str) else str(name)
    if key not in classes:
        raise InvalidParameterError(
            f"optimizer must be one of: {', '.join(classes)}; got {name!r}.{suggestion(key, classes)}"
        )
    kind = classes[key]
    weights = [p for p in parameters if p.requires_grad]
    matrices, vectors = [p for p in weights if p.dim() > 1], [p for p in weights if p.dim() <= 1]
    if key == "muon":
        flat = [p for p in matrices if p.dim() != 2]
        hidden = [p for p in matrices if p.dim() == 2]
        members = [_build(kind, [(hidden, weight_decay)], learning_rate, options)] if hidden else []
        rest = [(flat, weight_decay), (vectors, 0.0)]
        members.append(_build(torch.optim.AdamW, rest, learning_rate, None))
    else:
        members = [_build(kind, [(matrices, weight_decay), (vectors, 0.0)], learning_rate, options)]
    return OptimizerGroup(members, learning_rate=learning_rate)


def _build(
    kind: type[torch.optim.Optimizer],
    groups: Sequence[tuple[list[nn.Parameter], float]],
    learning_rate: float,
    options: Mapping[str, Any] | None,
) -> torch.optim.Optimizer:
    accepted = inspect.signature(kind).parameters
    arguments: dict[str, Any] = {"lr": learning_rate, **(options or {})}
    unknown = [option for option in arguments if option not in accepted]
    if unknown:
        offered = [option for option in accepted if option not in ("params", "lr", "weight_decay")]
        raise InvalidParameterError(
            f"optimizer {kind.__name__} has no option {unknown[0]!r}; it has: {', '.join(offered)}."
            f"{suggestion(unknown[0], offered)}"
        )
    decays = any(decay for _, decay in groups)
    if decays and "weight_decay" not in accepted:
        raise InvalidParameterError(f"optimizer {kind.__name__} has no weight decay; use weight_decay=0.")
    if "fused" in accepted and "fused" not in arguments:
        arguments["fused"] = _can_fuse([p for parameters, _ in groups for p in parameters])
    if not decays:  # one group steps faster than two
        groups = [([p for parameters, _ in groups for p in parameters], 0.0)]
    members = [
        {"params": weights, **({"weight_decay": decay} if "weight_decay" in accepted else {})}
        for weights, decay in groups
        if weights
    ]
    try:
        with _without_compiler():
            return kind(members, **arguments)
    except (TypeError, ValueError) as error:
        raise InvalidParameterError(f"optimizer {kind.__name__} refused its options: {error}") from error


def _plain(member: torch.optim.Optimizer, name: str) -> Callable[..., Any]:
    """Return a method of a torch optimiser without the wrappers that torch puts around it.

    They serve profilers, hooks and the compiler, which none of our optimisers meets; on small networks they are a
    tenth of a step, and they import the compiler.
    """
    method: Callable[..., Any] = inspect.unwrap(getattr(type(member), name)).__get__(member)
    return method


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Keep the making of an optimiser from importing torch's compiler, 1.4 s and 74 MB of which nothing is used.

    The first call of ``Optimizer.add_param_group`` imports it, to mark that method as not to be compiled. A mark that
    is there already is taken as it is; this one is removed again, so that who compiles later gets torch's own.
    """
    method = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    mark = "__dynamo_disable"
    if "torch._dynamo" in sys.modules or hasattr(method, mark):
        yield
        return
    setattr(method, mark, method)
    try:
        yield
    finally:
        delattr(method, mark)


def _can_fuse(parameters: Sequence[nn.Parameter]) -> bool:
    return all(p.device.type in ("cpu", "cuda", "mps") and p.is_floating_point() for p in parameters)


def _classes() -> dict[str, type[torch.optim.Optimizer]]:
    found = {}
    for name, kind in vars(torch.optim).items():
        if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and name not in _EXCLUDED:
            found[name.lower()] = kind
    return found
