"""Which coder suits what is to be compressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from latentkit.codec.coders import Coder
from latentkit.codec.lossy import LossyCoder
from latentkit.codec.texts import TextCoder
from latentkit.core.errors import DataError, InvalidParameterError, UnfitDataError
from latentkit.core.seeds import derive_seed
from latentkit.tasks.compression.contents import Contents
from latentkit.tasks.compression.lossy import fit_lossy_coder, steps_of_an_epoch
from latentkit.tasks.compression.pixels import fit_pixel_coder
from latentkit.tasks.compression.rows import fit_row_coder
from latentkit.tasks.compression.texts import fit_text_coder, known_part
from latentkit.training import Engine, EpochRecord
from latentkit.training.progress import Reporter, Silent

__all__ = ["LearntCoder", "check_learnable", "learn_coder", "learn_lossy_coder"]


_MOST_LINE_BYTES: Final = 1 << 26  # of a table or of texts, that are learnt from
_MOST_HELD_OUT: Final = 1 << 16  # bytes of texts, that tell what they cost
_UNLIMITED: Final = 1 << 62  # steps
_TOLD: Final = 1000  # steps, after which a line tells of them


@final
@dataclass(frozen=True, slots=True)
class LearntCoder:
    """A coder, and how it was learnt.

    Attributes:
        coder: The coder.
        history: One record per epoch; empty where it is not told.
        bits: What a byte of data that were held out costs by the model, bits.
    """

    coder: Coder
    history: Sequence[EpochRecord]
    bits: float


def learn_coder(
    contents: Contents,
    *,
    seed: int,
    max_time: float | None,
    max_epochs: int | None = None,
    keeps_rows: bool = False,
    engine: Engine | None = None,
    reporter: Reporter | None = None,
) -> LearntCoder:
    """Learn to code what is like these contents.

    Args:
        contents: Images, lines of a table, or texts.
        seed: Of everything random.
        max_time: Seconds, about; None for no limit.
        max_epochs: Passes over images at most; None for no limit.
        keeps_rows: Whether the model of a table holds the rows that it has learnt from, where that helps: archives are
            smaller, the model is much larger.
        engine: How to compute; None for what suits.
        reporter: Hears how it goes.
    Raises:
        DataError: If there is nothing that a model could learn; a classic coder would do as well.
    """
    check_learnable(contents)
    if not contents.has_images:
        lines = contents.lines(_MOST_LINE_BYTES)
        if contents.has_texts:
            return _learnt_texts(lines, seed, max_time, max_epochs)
        return _learnt_rows(lines, seed, max_time, keeps_rows=keeps_rows)
    fitted = fit_pixel_coder(
        contents.images(), seed=seed, max_time=max_time, max_epochs=max_epochs, engine=engine, reporter=reporter
    )
    return LearntCoder(fitted.coder, fitted.training.history, fitted.bits)


def learn_lossy_coder(
    contents: Contents,
    *,
    seed: int,
    max_time: float | None,
    max_epochs: int | None = None,
    device: str = "cpu",
    reporter: Reporter | None = None,
) -> LossyCoder:
    """Learn to approximate what is like the images of these contents.

    Args:
        contents: Grey images, or images of three colours.
        seed: Of everything random.
        max_time: Seconds of training; None for no limit. Bringing the model into whole numbers comes on top of it.
        max_epochs: Passes over the pixels at most; None for no limit.
        device: To learn on.
        reporter: Hears how it goes.
    Raises:
        DataError: If there are no images, or others.
        InvalidParameterError: If nothing ends the training.
    """
    check_learnable(contents, lossy=True)
    if max_time is None and max_epochs is None:
        raise InvalidParameterError("max_time=None and max_epochs=None would train for ever. Give one of them.")
    images, hears = contents.images(), reporter or Silent()

    def tell(step: int, objective: float) -> None:
        if step % _TOLD == 0:
            hears.note(f"lossy compression: step {step:,}, objective {objective:.4g}")

    return fit_lossy_coder(
        images,
        seed=derive_seed(seed, "lossy"),
        n_steps=_UNLIMITED if max_epochs is None else max_epochs * steps_of_an_epoch(images),
        max_seconds=max_time,
        device=device,
        report=tell,
    )


def check_learnable(contents: Contents, *, lossy: bool = False) -> None:
    """See that a model can learn from contents.

    Args:
        contents: What is to be learnt from.
        lossy: Whether to approximate, too, which images alone can be.

    Raises:
        DataError: If there is nothing to learn: a classic coder would do as well.
    """
    if lossy and not contents.has_images:
        raise DataError(
            f"{contents.name}: there are no images of 8 bits in it, and nothing else is compressed with loss. Fit "
            "without lossy, or give a folder of PNG files or an array of bytes (n, height, width)."
        )
    if not (contents.has_images or contents.has_lines):
        raise DataError(
            f"{contents.name}: there are no images of 8 bits and no lines of a table in it to learn from. Give a "
            "folder of PNG files, an array of bytes (n, height, width), a table such as .csv, or texts, .txt."
        )


def _learnt_rows(lines: bytes, seed: int, max_time: float | None, *, keeps_rows: bool) -> LearntCoder:
    """A coder of tables; what lines cost is told by the last twentieth, which it does not see."""
    learnt_from, held_out = _parted(lines)
    options: dict[str, Any] = {} if max_time is None else {"max_seconds": max_time}
    coder = fit_row_coder([learnt_from], seed=seed, size="large" if keeps_rows else "small", **options)
    return LearntCoder(coder, (), _bits(coder, held_out or lines))


def _learnt_texts(lines: bytes, seed: int, max_time: float | None, max_epochs: int | None) -> LearntCoder:
    """A coder of texts; what they cost is told by the last twentieth, which is known to it only afterwards."""
    learnt_from, held_out = _parted(lines)
    options: dict[str, Any] = {} if max_time is None else {"max_seconds": max_time}
    if max_epochs is not None:
        options["n_epochs"] = max_epochs
    coder = fit_text_coder(learnt_from, seed=seed, **options)
    bits = _bits(coder, held_out[:_MOST_HELD_OUT] or lines)
    return LearntCoder(TextCoder(known_part(lines), coder.chances.network), (), bits)


def _parted(lines: bytes) -> tuple[bytes, bytes]:
    """All lines but the last twentieth, and that."""
    ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n")) + 1
    place = int(ends[len(ends) * 19 // 20]) if len(ends) > 1 else len(lines)
    return lines[:place], lines[place:]


def _bits(coder: Coder, held_out: bytes) -> float:
    """What a byte of lines costs by a coder."""
    try:
        return 8.0 * len(coder.encode(held_out, held_out.count(b"\n") or 1)) / len(held_out)
    except UnfitDataError:
        return 8.0
