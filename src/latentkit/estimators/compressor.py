"""Compression: a model learnt from data makes archives of data like them, and gives them back."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Final, Self, final

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from latentkit.codec.coders import Coder, CoderState, coder_from_state
from latentkit.codec.lossy import LossyCoder
from latentkit.core.errors import DamagedArchiveError, RunError, UnsupportedOperationError
from latentkit.core.files import sha256, write_bytes, write_json
from latentkit.core.parameters import parse_duration
from latentkit.core.version import __version__
from latentkit.estimators.archives import Source, Target, read_archive, write_archive
from latentkit.estimators.describing import RUN_FORMAT, environment, to_yaml
from latentkit.estimators.parameters import validate
from latentkit.estimators.randomness import draw_seed, python_random_kept
from latentkit.estimators.runs import (
    CODER,
    CONFIG,
    ENVIRONMENT,
    METRICS,
    check_content,
    check_place,
    damaged_config,
    loaders,
    read_coder,
    read_config,
    read_metrics,
    staged,
    write_coder,
    write_config,
    write_metrics,
    write_tensors,
)
from latentkit.tasks.compression import Rows, TrainedEncoder, learn_coder, learn_lossy_coder, open_contents
from latentkit.training import Engine
from latentkit.training.progress import make_reporter

__all__ = ["COMPRESSOR", "Compressor"]

#: What ``config.yaml`` calls a compressor, and the files of what approximates.
COMPRESSOR: Final = "compressor"
LOSSY_CODER: Final = "lossy.bin"
LOSSY_ENCODER: Final = "lossy.safetensors"


@final
@dataclass(kw_only=True, eq=False, repr=False)
class Compressor(BaseEstimator):  # type: ignore[misc]
    r"""Compresses data like those that it has learnt, without loss unless a quality is asked for.

    What costs few bits is what a model finds probable: data x take about

    .. math:: -\log_2 p(x) \text{ bits.}

    Of images the model is a network of whole numbers that sees the pixels before each pixel
    (:class:`~latentkit.codec.pixels.PixelCoder`); of tables and of texts one of what is known of a row so far, and of
    what followed the like (:class:`~latentkit.codec.rows.RowCoder`, :class:`~latentkit.codec.texts.TextCoder`). The
    model of texts holds up to 1 MiB of those that it has learnt from.

    Every step of decoding is arithmetic of whole numbers: an archive opens on any machine, with any number of threads,
    and gives back each byte; it is decoded and compared before it counts.
    What does not fit the model is compressed by zstd, so that nothing grows.

    With `lossy` a second model is learnt, which approximates images (:class:`~latentkit.codec.lossy.LossyCoder`): what
    comes back is near to what was given, and the same on any machine.

    Args:
        max_time: Time to learn, seconds or text such as ``"5m"``; None for no limit. With a limit of time the same seed
            need not give the same model.
        max_epochs: Passes over images, at most; None for no limit. Of texts over drawn bytes; None for 3.
        keeps_rows: Whether the model of a table holds the rows that it has learnt from, where that helps: archives are
            smaller, and the model is much larger, so that it pays with ``embed=False``.
        lossy: Whether to learn to approximate images, too, for ``compress(quality=)``. Each model has half of
            `max_time` then; bringing the second one into whole numbers comes on top of it.
        device: To learn on.
        random_state: Seed; None draws one.
        verbose: 0 is silent, 1 shows progress.

    Attributes:
        coder_: What turns blocks into bytes and back.
        lossy_coder_: What approximates images; None without `lossy`.
        history_: How learning went, a record per epoch.
        bits_: What a byte of held-out data costs by the model, bits.
        seed_: The seed.

    References:
        Duda, 2013, Asymmetric numeral systems, arXiv:1311.2540.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> images = (load_digits().images * 15).astype(np.uint8)
        >>> compressor = Compressor(max_time=None, max_epochs=3, random_state=0).fit(images[:1500])
        >>> archive = compressor.compress(images[1500:])
        >>> bool((compressor.decompress(archive) == images[1500:]).all())
        True
    """

    max_time: float | str | None = 300.0
    max_epochs: int | None = None
    keeps_rows: bool = False
    lossy: bool = False
    device: str = "cpu"
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "max_time": [str, None, Interval(Real, 0, None, closed="neither")],
        "max_epochs": [None, Interval(Integral, 1, None, closed="left")],
        "keeps_rows": ["boolean"],
        "lossy": ["boolean"],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @python_random_kept()
    def fit(self, X: Any, y: Any = None, *, array: str | None = None) -> Self:
        """Learn what the data are like.

        Args:
            X: Images like those to be compressed: an array of bytes (n, height, width) or (n, height, width, channels),
                or a path: of a folder of PNG files, of .npy, .npz or idx; of a table such as .csv or .parquet; or of
                texts, .txt.
            y: Ignored.
            array: Member of the .npz.
        Raises:
            InvalidParameterError: If a parameter has a value that it cannot have.
            DataError: If there is nothing to learn from; with `lossy`, if there are no images, or not of one or three
                channels.
        """
        validate(self)
        self.seed_ = draw_seed(self.random_state)
        contents = open_contents(X, array=array)
        max_time = None if self.max_time is None else parse_duration("max_time", self.max_time)
        if max_time is not None and self.lossy:
            max_time /= 2
        self.lossy_coder_: LossyCoder | None = None
        if self.lossy:  # first, since it takes fewer kinds of data
            self.lossy_coder_ = learn_lossy_coder(
                contents,
                seed=self.seed_,
                max_time=max_time,
                max_epochs=self.max_epochs,
                device=self.device,
                reporter=make_reporter(self.verbose),
            )
        learnt = learn_coder(
            contents,
            seed=self.seed_,
            max_time=max_time,
            max_epochs=self.max_epochs,
            keeps_rows=self.keeps_rows,
            engine=Engine(device=self.device, matmul="medium"),
            reporter=make_reporter(self.verbose),
        )
        self.coder_ = learnt.coder
        self.history_ = [record.to_dict() for record in learnt.history]
        self.bits_ = learnt.bits
        return self

    @property
    def coders(self) -> tuple[Coder, ...]:
        """What reads the archives that this compressor has written."""
        return (self.coder_,) if self.lossy_coder_ is None else (self.coder_, self.lossy_coder_)

    def coder_of(self, quality: int | None) -> Coder:
        """Return what writes archives of a quality; None gives back each byte.

        Raises:
            InvalidParameterError: If the quality is not from 1 to 100.
            UnsupportedOperationError: If this compressor has not learnt to approximate.
        """
        if quality is None:
            return self.coder_
        if self.lossy_coder_ is None:
            raise UnsupportedOperationError(
                f"quality={quality!r} asks for loss, which this compressor has not learnt. Fit with "
                "Compressor(lossy=True), or latentkit fit DATA -o RUN --compressor --lossy; or leave quality out."
            )
        return self.lossy_coder_.of(quality=quality)

    def compress(
        self,
        X: Any,
        path: Target | None = None,
        *,
        quality: int | None = None,
        array: str | None = None,
        embed: bool = True,
        verify: bool = True,
        n_workers: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Any:
        """Write an archive.

        Args:
            X: An array, a folder, a file of any kind, or a binary stream.
            path: Where to: a path, which gets its name when the archive is whole, or a binary stream. None returns the
                archive as bytes.
            quality: None gives back each byte. From 1, smallest, to 100, nearest, images are approximated where that
                takes fewer bytes; whatever is no image of as many channels as were learnt stays as it is.
            array: Member of a .npz.
            embed: Whether the archive holds the model, so that anybody can open it. Without it an archive is smaller,
                and lost with the model.
            verify: Whether each block is decoded and compared before it counts.
            n_workers: Threads; None for as many as there are processors.
            progress: Called with the bytes done.
        Returns:
            What became of the data (:class:`~latentkit.tasks.compression.Archived`); the archive where `path` is None.
        Raises:
            UnsupportedOperationError: If `quality` is given, and this compressor was fitted without `lossy`.
        """
        check_is_fitted(self)
        return write_archive(
            self.coder_of(quality),
            X,
            path,
            array=array,
            embed=embed,
            verify=verify,
            n_workers=n_workers,
            progress=progress,
        )

    def decompress(self, archive: Source, path: Target | None = None, *, rows: Rows | None = None) -> Any:
        """Return or write what is in an archive that this compressor, or one that embeds its model, has written.

        Args:
            archive: A path, a binary stream, or bytes.
            path: Where to: a path or a binary stream; None returns the array that the archive is of.
            rows: Which items, a number or a slice: rows of an array, lines behind the header of a table, files of a
                folder. No more is read than the blocks that have them. None for all.
        Returns:
            The array; or the paths that were written.
        Raises:
            ArchiveError: If the archive needs another model.
            DamagedArchiveError: If it is not what was written.
            InvalidParameterError: If `path` is None and it is of no array; if there are no such rows.
        """
        check_is_fitted(self)
        return read_archive(self.coders, archive, path, rows=rows)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a folder from which :func:`latentkit.load` gives this compressor back; no pickle is in it."""
        check_is_fitted(self)
        folder = Path(path)
        check_place(folder, COMPRESSOR, "compressor")
        with staged(folder) as stage:
            write_coder(stage, self.coder_)
            lossy = {} if self.lossy_coder_ is None else {"lossy": _written_lossy(stage, self.lossy_coder_)}
            sums = {file.name: sha256(file) for file in sorted(stage.iterdir())}
            write_json(stage / ENVIRONMENT, environment())
            write_metrics(stage, self.history_)
            config = {
                "format": RUN_FORMAT,
                "latentkit": __version__,
                "estimator": COMPRESSOR,
                "parameters": {name: to_yaml(value) for name, value in self.get_params().items()},
                "fitted": {
                    "seed": self.seed_,
                    "bits": self.bits_,
                    "coder": self.coder_.name,
                    "fingerprint": self.coder_.state().fingerprint.hex(),
                    **lossy,
                    "sha256": sums,
                },
            }
            write_config(stage, config)
        return folder


def _written_lossy(folder: Path, coder: LossyCoder) -> dict[str, Any]:
    """Write what approximates, and return what the configuration tells of it."""
    assert isinstance(coder.encoder, TrainedEncoder), "it was learnt here"
    write_bytes(folder / LOSSY_CODER, coder.state().to_bytes())
    write_tensors(folder / LOSSY_ENCODER, coder.encoder.network.state_dict())
    return {"fingerprint": coder.state().fingerprint.hex(), "encoder": coder.encoder.describe()}


def _read_lossy(folder: Path, told: Mapping[str, Any], sums: Mapping[str, str]) -> LossyCoder:
    for name in (LOSSY_CODER, LOSSY_ENCODER):
        check_content(folder / name, sums[name])
    coder = coder_from_state(CoderState.from_bytes((folder / LOSSY_CODER).read_bytes()))
    if not isinstance(coder, LossyCoder):
        raise TypeError(f"{LOSSY_CODER} is of another coder, {coder.name}")
    return coder.of(encoder=TrainedEncoder.of(told["encoder"], load_file(folder / LOSSY_ENCODER)))


@loaders.register(COMPRESSOR)
def _load(folder: Path) -> Compressor:
    config = read_config(folder)
    try:
        fitted: Mapping[str, Any] = config["fitted"]
        known = Compressor().get_params()
        compressor = Compressor(**{name: value for name, value in config["parameters"].items() if name in known})
        compressor.coder_ = read_coder(folder, fitted["sha256"][CODER])
        told = fitted.get("lossy")
        compressor.lossy_coder_ = None if told is None else _read_lossy(folder, told, fitted["sha256"])
        compressor.seed_, compressor.bits_ = int(fitted["seed"]), float(fitted["bits"])
        compressor.history_ = read_metrics(folder / METRICS)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError, OSError) as error:
        if isinstance(error, RunError) and not isinstance(error, DamagedArchiveError):
            raise
        raise damaged_config(folder / CONFIG, error) from error
    return compressor
