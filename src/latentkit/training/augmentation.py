"""Augmentations: what is drawn anew of each example whenever it is used, so that no two epochs see the same data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias, final

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.registry import Registry

__all__ = ["Augment", "Augmentation", "Binarize", "Flip", "Shift", "augmentations", "build_augmentation", "is_redrawn"]


class Augmentation(Protocol):
    """A random change of examples in model units.

    Attributes:
        redefines: Whether what is drawn is the data, so that held-out rows are drawn, too; else it only enlarges them.
        needs_images: Whether an example must have the shape (channels, height, width).
    """

    redefines: ClassVar[bool]
    needs_images: ClassVar[bool]

    def __call__(self, x: Tensor, source: torch.Generator) -> Tensor:
        """Return examples of the shape and dtype of `x`, shape (n, *event), drawn with `source`."""
        ...


#: Examples in model units, shape (n, *event), and where random numbers come from, to as many examples.
Augment: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]

augmentations: Registry[type[Augmentation]] = Registry("augmentation")


@augmentations.register("binarize", cites=("burda2016importance",))
@final
@dataclass(frozen=True)
class Binarize:
    """Each number in [0, 1] is the probability of a 1: dynamic binarisation, the protocol of most figures on MNIST.

    .. math:: x' sim Bernoulli(x)

    References:
        Burda et al., 2016, Importance Weighted Autoencoders, section 5.1, arXiv:1509.00519.

    Example:
        >>> x = torch.tensor([[0.0, 1.0, 0.5]])
        >>> Binarize()(x, torch.Generator().manual_seed(0))[0, :2]
        tensor([0., 1.])
    """

    redefines: ClassVar[bool] = True
    needs_images: ClassVar[bool] = False

    def __call__(self, x: Tensor, source: torch.Generator) -> Tensor:
        """Draw every number."""
        return torch.bernoulli(x, generator=source)


@augmentations.register("flip")
@final
@dataclass(frozen=True)
class Flip:
    """Half of the images are mirrored, left to right."""

    redefines: ClassVar[bool] = False
    needs_images: ClassVar[bool] = True

    def __call__(self, x: Tensor, source: torch.Generator) -> Tensor:
        """Mirror by the toss of a coin."""
        mirrored = torch.rand(x.shape[0], generator=source, device=x.device) < 0.5
        return torch.where(mirrored[:, None, None, None], x.flip(-1), x)


@augmentations.register("shift")
@final
@dataclass(frozen=True)
class Shift:
    """Images are moved by whole pixels, up to `pixels` each way; what comes in repeats the edge.

    Args:
        pixels: Largest shift along each side.
    """

    pixels: int = 1
    redefines: ClassVar[bool] = False
    needs_images: ClassVar[bool] = True

    def __call__(self, x: Tensor, source: torch.Generator) -> Tensor:
        """Move each image by its own draw."""
        n, _, height, width = x.shape
        most = self.pixels
        moves = torch.randint(-most, most + 1, (2, n, 1), generator=source, device=x.device)
        rows = (torch.arange(height, device=x.device) + moves[0]).clamp_(0, height - 1)
        columns = (torch.arange(width, device=x.device) + moves[1]).clamp_(0, width - 1)
        moved = x.gather(2, rows[:, None, :, None].expand_as(x))
        return moved.gather(3, columns[:, None, None, :].expand_as(x))


@final
@dataclass(frozen=True)
class _InTurn:
    """Augmentations one after the other."""

    parts: tuple[Augmentation, ...]

    def __call__(self, x: Tensor, source: torch.Generator) -> Tensor:
        for part in self.parts:
            x = part(x, source)
        return x


def build_augmentation(
    names: str | Sequence[str] | None,
    *,
    event_shape: Sequence[int],
    is_bounded: bool,
    validation: bool = False,
) -> Augment | None:
    """Return the augmentations of these names as one, or None where there is none.

    What redefines the data comes last, whatever the order of the names: a shifted grey picture is then binarised.

    Args:
        names: One name, several, or None.
        event_shape: Shape of one example, without the batch.
        is_bounded: Whether model units are in [0, 1].
        validation: Take only those that apply to held-out rows.

    Raises:
        InvalidParameterError: If a name is unknown, or data of this kind cannot be changed so.

    Example:
        >>> build_augmentation("flip", event_shape=(1, 8, 8), is_bounded=True)
        _InTurn(parts=(Flip(),))
    """
    kinds = [augmentations[name] for name in _listed(names)]
    for name, kind in zip(_listed(names), kinds, strict=True):
        if kind.needs_images and len(event_shape) != 3:
            raise InvalidParameterError(
                f"augmentation={name!r} is for images, and an example has the shape {tuple(event_shape)}. Leave it "
                "out, or give images (n, height, width)."
            )
        if kind.redefines and not is_bounded:
            raise InvalidParameterError(
                f"augmentation={name!r} takes numbers as probabilities, and these are reals. Leave it out, or give "
                "data in [0, 1] or 8-bit pixels."
            )
    kept = [kind() for kind in kinds if kind.redefines or not validation]
    return _InTurn(tuple(sorted(kept, key=lambda part: part.redefines))) if kept else None


def is_redrawn(names: str | Sequence[str] | None) -> bool:
    """Whether one of these augmentations makes binary data of grey ones."""
    return any(augmentations[name].redefines for name in _listed(names))


def _listed(names: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if names is None else (names,) if isinstance(names, str) else tuple(names)
