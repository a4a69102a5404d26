"""Which coder suits what is to be compressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from latentkit.codec.coders import Coder
from latentkit.core.errors import DataError
from latentkit.core.seeds import derive_seed, isolated_rng
from latentkit.tasks.compression.contents import Contents
from latentkit.tasks.compression.pixels import fit_pixel_coder
from latentkit.training import Engine, EpochRecord
from latentkit.training.progress import Reporter

__all__ = ["LearntCoder", "check_learnable", "learn_coder"]


@final
@dataclass(frozen=True, slots=True)
class LearntCoder:
    """A coder, and how it was learnt.

    Attributes:
        coder: The coder.
        history: One record per epoch.
        bits: What a byte of data that were held out costs by the model, bits.
    """

    coder: Coder
    history: Sequence[EpochRecord]
    bits: float


def learn_coder(
    contents: Contents,
    *,
    seed: int,
    max_time: float,
    engine: Engine | None = None,
    reporter: Reporter | None = None,
) -> LearntCoder:
    """Learn to code what is like these contents.

    Args:
        contents: Images, or lines of a table.
        seed: Of everything random.
        max_time: Seconds, about.
        engine: How to compute; None for what suits.
        reporter: Hears how it goes.
    Raises:
        DataError: If there is nothing that a model could learn; a classic coder would do as well.
    """
    check_learnable(contents)
    with isolated_rng(derive_seed(seed, "coder")):
        fitted = fit_pixel_coder(contents.images(), seed=seed, max_time=max_time, engine=engine, reporter=reporter)
    return LearntCoder(fitted.coder, fitted.training.history, fitted.bits)


def check_learnable(contents: Contents) -> None:
    """See that a model can learn from contents.

    Raises:
        DataError: If there is nothing to learn: a classic coder would do as well.
    """
    if not contents.has_images:
        raise DataError(
            f"{contents.name}: there are no images of 8 bits in it to learn from. Give a folder of PNG files, or an "
            "array of bytes (n, height, width)."
        )
