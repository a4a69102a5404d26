"""Walks through the latent space: interpolate, traverse, find the direction of an attribute, edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice, check_integer, check_real
from latentkit.core.protocols import LatentVariableModel
from latentkit.core.seeds import generator
from latentkit.distributions import Drawing, Tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "AttributeDirection",
    "attribute_direction",
    "edit",
    "interpolate",
    "interpolate_texts",
    "latent_path",
    "traverse",
]

_SMALL_ANGLE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeDirection:
    """The direction of the latent space along which an attribute grows, and how well it explains the attribute.

    Attributes:
        direction: Unit vector, shape (latent,), in the dtype of the latent vectors.
        kind: ``"binary"`` (two values; towards the larger) or ``"numeric"``.
        score: Held-out accuracy (binary) or R2 (numeric) of a linear model in the latent space, by cross-validation.
        baseline: What ignoring z would score: the larger class's share, or 0.
        metric: ``"accuracy"`` or ``"R2"``.
        spread: Standard deviation of the latent vectors along the direction: a strength of this size is a usual step.
        n: Rows that it was learnt from.
    """

    direction: Tensor
    kind: Literal["binary", "numeric"]
    score: float
    baseline: float
    metric: Literal["accuracy", "R2"]
    spread: float
    n: int


def interpolate(
    model: LatentVariableModel,
    z_a: Tensor,
    z_b: Tensor,
    *,
    steps: int = 9,
    path: Literal["spherical", "linear"] = "spherical",
) -> Tensor:
    """Examples on the way from one to another.

    Args:
        model: Fitted model.
        z_a: Start, shape (*batch, latent).
        z_b: End, shape of `z_a`.
        steps: Number of examples, both ends included, at least 2.
        path: See :func:`latent_path`.

    Returns:
        Means of p(x given z) in model units, shape (steps, *batch, *event).

    Raises:
        InvalidParameterError: If an option has a value that it cannot have or the shapes differ.
    """
    with torch.no_grad():
        return model.decode(latent_path(z_a, z_b, steps=steps, path=path)).mean


def interpolate_texts(
    model: LatentVariableModel,
    z_a: Tensor,
    z_b: Tensor,
    drawing: Drawing,
    *,
    steps: int = 9,
    path: Literal["spherical", "linear"] = "spherical",
    seed: int = 0,
) -> Tensor:
    """Texts on the way from one to another, each drawn with the same random numbers, so that they change with z alone.

    The most probable token each time (temperature 0) makes plain texts that may run in circles; a draw does not.

    Args:
        model: Model that was fitted to texts.
        z_a: Start, shape (batch, latent).
        z_b: End, shape of `z_a`.
        drawing: How each token is chosen.
        steps: Number of texts, both ends included, at least 2.
        path: See :func:`latent_path`.
        seed: Of the random numbers.

    Returns:
        Tokens, shape (steps, batch, max_length).

    Raises:
        InvalidParameterError: If an option has a value that it cannot have or the shapes differ.
    """
    way = latent_path(z_a, z_b, steps=steps, path=path)
    with torch.no_grad():
        steps_of_way = [cast("Tokens", model.decode(z)) for z in way]
        return torch.stack(
            [texts.drawn(drawing, generator=generator(seed, "way", device=way.device)) for texts in steps_of_way]
        )


def latent_path(
    z_a: Tensor, z_b: Tensor, *, steps: int = 9, path: Literal["spherical", "linear"] = "spherical"
) -> Tensor:
    r"""Latent vectors from `z_a` to `z_b`.

    ``"spherical"`` turns the direction at constant speed and changes the norm linearly,

    .. math:: z(t) = ((1 - t) |a| + t |b|)
              \left( \frac{\sin((1 - t) w)}{\sin w} \frac{a}{|a|} + \frac{\sin(t w)}{\sin w} \frac{b}{|b|} \right)

    with w the angle between them, so that the path stays where a high-dimensional Gaussian has its mass; ``"linear"``
    is the straight line. Where directions cannot be turned (nearly equal, or one vector zero) the spherical path is
    the straight line; for opposite directions the plane of turning is arbitrary, and one is chosen that is always the
    same.

    Args:
        z_a: Start, shape (*batch, latent).
        z_b: End, shape of `z_a`.
        steps: Number of vectors, both ends included, at least 2.
        path: ``"spherical"`` or ``"linear"``.

    Returns:
        Shape (steps, *batch, latent); the first is exactly `z_a`, the last exactly `z_b`.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have or the shapes differ.

    References:
        White, 2016, Sampling Generative Networks, arXiv:1609.04468.

    Example:
        >>> latent_path(torch.tensor([0.0, 0.0]), torch.tensor([2.0, 4.0]), steps=3, path="linear")
        tensor([[0., 0.],
                [1., 2.],
                [2., 4.]])
    """
    check_integer("steps", steps, low=2)
    check_choice("path", path, ("spherical", "linear"))
    if z_a.shape != z_b.shape:
        raise InvalidParameterError(
            f"both ends must have one shape; got {tuple(z_a.shape)} and {tuple(z_b.shape)}. "
            "Repeat the shorter end, or interpolate pair by pair."
        )
    t = torch.linspace(0.0, 1.0, steps, dtype=z_a.dtype, device=z_a.device).reshape(-1, *[1] * z_a.ndim)
    way = torch.lerp(z_a, z_b, t) if path == "linear" else _turn(z_a, z_b, t)
    way[0], way[-1] = z_a, z_b
    return way


def traverse(
    model: LatentVariableModel, z: Tensor, dim: int, *, values: Sequence[float] | Tensor | None = None
) -> Tensor:
    """Examples that differ in one latent dimension.

    Args:
        model: Fitted model.
        z: Where to start, shape (*batch, latent).
        dim: The dimension that is set to each of `values`, in [-latent, latent).
        values: In units of the standard normal prior; by default seven from -3 to 3.

    Returns:
        Means of p(x given z) in model units, shape (n_values, *batch, *event).

    Raises:
        InvalidParameterError: If `dim` does not exist or there is no value.
    """
    latent_dim = z.shape[-1]
    check_integer(
        "dim", dim, low=-latent_dim, high=latent_dim - 1, hint=f"The model has {latent_dim} latent dimensions."
    )
    steps = torch.linspace(-3.0, 3.0, 7) if values is None else torch.as_tensor(values)
    if steps.ndim != 1 or not len(steps):
        raise InvalidParameterError(f"values must be a sequence of at least 1 number; got shape {tuple(steps.shape)}.")
    walks = z.expand(len(steps), *z.shape).clone()
    walks[..., dim] = steps.to(z).reshape(-1, *[1] * (z.ndim - 1))
    with torch.no_grad():
        return model.decode(walks).mean


def attribute_direction(z: Tensor, y: Tensor, *, seed: int = 0) -> AttributeDirection:
    """Find the direction along which an attribute grows.

    A linear model of the attribute in the latent space: logistic regression where `y` has two values, ridge regression
    otherwise, both with a mild penalty on centred vectors with one common scale (dimensions that carry nothing must not
    be blown up to unit variance). The direction is the unit vector of its coefficients, from all rows; the score is
    cross-validated (up to 5 parts), so that it tells what the direction is worth on new examples.

    Args:
        z: Latent vectors, shape (n, latent).
        y: The attribute: bool, two values, or numbers; shape (n,).
        seed: Decides the parts of the cross-validation.

    Returns:
        The direction with its held-out score.

    Raises:
        InvalidParameterError: If the shapes do not fit, a number is not finite, `y` is constant, a binary value
            occurs once only, there are fewer than 4 rows, or z is constant.

    References:
        Shen et al., 2020, Interpreting the Latent Space of GANs for Semantic Face Editing, arXiv:1907.10786.
    """
    if z.ndim != 2 or y.shape != z.shape[:1]:
        raise InvalidParameterError(
            f"z must have shape (n, latent) and y shape (n,); got {tuple(z.shape)} and {tuple(y.shape)}."
        )
    if z.shape[0] < 4:
        raise InvalidParameterError(f"a direction needs at least 4 labelled rows; got {z.shape[0]}.")
    rows, target = z.detach().cpu().double(), y.detach().cpu().double()
    if not (torch.isfinite(rows).all() and torch.isfinite(target).all()):
        raise InvalidParameterError("z and y must be finite; leave out rows without a label.")
    values, counts = torch.unique(target, return_counts=True)
    if len(values) < 2:
        raise InvalidParameterError(f"the attribute is {values[0]:g} in every row: nothing to tell apart.")
    is_binary = len(values) == 2
    if is_binary and int(counts.min()) < 2:
        raise InvalidParameterError(
            f"each of the two values must occur at least twice; {values[counts.argmin()]:g} occurs once."
        )
    centred = rows - rows.mean(0)
    scale = centred.square().mean().sqrt()
    if not scale > 0:
        raise InvalidParameterError("every latent vector is the same: there is no direction to find.")
    features = (centred / scale).numpy()
    if is_binary:
        coefficients, score = _logistic(
            features, (target == values[1]).numpy(), parts=min(5, int(counts.min())), seed=seed
        )
    else:
        coefficients, score = _ridge(features, target.numpy(), parts=min(5, rows.shape[0] // 2), seed=seed)
    norm = coefficients.norm()
    # a model that found nothing has no direction of its own: the first axis is as good as any
    direction = coefficients / norm if norm > 0 else torch.eye(rows.shape[1], dtype=torch.float64)[0]
    return AttributeDirection(
        direction=direction.to(z),
        kind="binary" if is_binary else "numeric",
        score=score,
        baseline=float(counts.max() / counts.sum()) if is_binary else 0.0,
        metric="accuracy" if is_binary else "R2",
        spread=float((centred @ direction).std(correction=0)),
        n=rows.shape[0],
    )


def edit(model: LatentVariableModel, z: Tensor, direction: Tensor, strength: float) -> Tensor:
    """Examples moved along a direction.

    .. math:: x' = E[x | z + strength d / |d|]

    Args:
        model: Fitted model.
        z: Where to start, shape (*batch, latent).
        direction: Shape (latent,), scaled to unit length here.
        strength: How far, in units of the standard normal prior; negative removes the attribute.

    Returns:
        Means of p(x given z) in model units, shape (*batch, *event).

    Raises:
        InvalidParameterError: If the direction does not fit `z` or has no length, or `strength` is not finite.
    """
    check_real("strength", strength)
    if direction.shape != z.shape[-1:]:
        raise InvalidParameterError(
            f"direction must have one number per latent dimension, shape ({z.shape[-1]},); "
            f"got shape {tuple(direction.shape)}."
        )
    length = direction.norm()
    if not (torch.isfinite(length) and length > 0):
        raise InvalidParameterError("direction must be finite and have a length above zero.")
    with torch.no_grad():
        return model.decode(z + float(strength) * (direction / length).to(z)).mean


def _turn(z_a: Tensor, z_b: Tensor, t: Tensor) -> Tensor:
    norm_a, norm_b = z_a.norm(dim=-1, keepdim=True), z_b.norm(dim=-1, keepdim=True)
    tiny = torch.finfo(z_a.dtype).tiny
    unit_a, unit_b = z_a / norm_a.clamp_min(tiny), z_b / norm_b.clamp_min(tiny)
    # the half-angle by arctan keeps its digits near 0 and pi, where arccos of the product loses them
    angle = 2.0 * torch.atan2(
        (unit_a - unit_b).norm(dim=-1, keepdim=True), (unit_a + unit_b).norm(dim=-1, keepdim=True)
    )
    # the part of b at right angles to a spans the plane of turning
    across = unit_b - (unit_a * unit_b).sum(-1, keepdim=True) * unit_a
    across = torch.where(angle < torch.pi - _SMALL_ANGLE, across, _perpendicular(unit_a))
    across = across / across.norm(dim=-1, keepdim=True).clamp_min(tiny)
    turned = torch.lerp(norm_a, norm_b, t) * (torch.cos(t * angle) * unit_a + torch.sin(t * angle) * across)
    straight = (angle < _SMALL_ANGLE) | (norm_a == 0) | (norm_b == 0)
    return torch.where(straight, torch.lerp(z_a, z_b, t), turned)


def _perpendicular(unit: Tensor) -> Tensor:
    """A vector at right angles to `unit`, shape (*batch, latent): the axis least like it, made orthogonal."""
    axis = torch.nn.functional.one_hot(unit.abs().argmin(-1), unit.shape[-1]).to(unit)
    return axis - (axis * unit).sum(-1, keepdim=True) * unit


def _logistic(
    features: NDArray[np.float64], target: NDArray[np.bool_], *, parts: int, seed: int
) -> tuple[Tensor, float]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    estimator = LogisticRegression(max_iter=1000)
    folds = StratifiedKFold(parts, shuffle=True, random_state=seed)
    score = float(cross_val_score(estimator, features, target, cv=folds).mean())
    return torch.from_numpy(estimator.fit(features, target).coef_[0].copy()), score


def _ridge(
    features: NDArray[np.float64], target: NDArray[np.float64], *, parts: int, seed: int
) -> tuple[Tensor, float]:
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold, cross_val_predict

    estimator = Ridge(alpha=1.0)
    folds = KFold(parts, shuffle=True, random_state=seed)
    # one R2 of all held-out predictions: parts of few rows have none of their own
    score = float(r2_score(target, cross_val_predict(estimator, features, target, cv=folds)))
    return torch.from_numpy(estimator.fit(features, target).coef_.copy()), score
