"""Compression: a model learnt from data makes archives of data like them, and gives them back to the byte."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import IO, Any, ClassVar, Final, Self, final

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from latentkit.codec.archive import ArchiveReader
from latentkit.codec.archive.source import extent
from latentkit.codec.coders import Coder, CoderState, coder_from_state
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError, RunError
from latentkit.core.files import sha256, write_bytes, write_json
from latentkit.core.parameters import parse_duration
from latentkit.core.version import __version__
from latentkit.estimators.describing import RUN_FORMAT, environment, to_yaml
from latentkit.estimators.parameters import validate
from latentkit.estimators.randomness import draw_seed, python_random_kept
from latentkit.estimators.runs import (
    CONFIG,
    ENVIRONMENT,
    METRICS,
    check_content,
    check_place,
    damaged_config,
    loaders,
    read_config,
    read_metrics,
    staged,
    write_config,
    write_metrics,
)
from latentkit.tasks.compression import Rows, compress, decompress, learn_coder, open_contents, opened
from latentkit.tasks.compression.contents.files import FileRestorer
from latentkit.training import Engine
from latentkit.training.progress import make_reporter

__all__ = ["COMPRESSOR", "Compressor"]

#: What ``config.yaml`` calls a compressor, and the file of its coder.
COMPRESSOR: Final = "compressor"
CODER: Final = "coder.bin"

Source = str | os.PathLike[str] | IO[bytes]


@final
@dataclass(kw_only=True, eq=False, repr=False)
class Compressor(BaseEstimator):  # type: ignore[misc]
    r"""Compresses data like those that it has learnt, without loss.

    What costs few bits is what a model finds probable: data x take about

    .. math:: -\log_2 p(x) \text{ bits.}

    Of images the model is a network of whole numbers that sees the pixels before each pixel
    (:class:`~latentkit.codec.pixels.PixelCoder`). Every step of decoding is arithmetic of whole numbers: an archive
    opens on any machine, with any number of threads, and gives back each byte; it is decoded and compared before it
    counts.
    What does not fit the model is compressed by zstd, so that nothing grows.

    Args:
        max_time: Time to learn, seconds or text such as ``"5m"``; None for no limit. With a limit of time the same seed
            need not give the same model.
        max_epochs: Passes over images, at most; None for no limit.
        keeps_rows: Whether the model of a table holds the rows that it has learnt from, where that helps: archives are
            smaller, and the model is much larger, so that it pays with ``embed=False``.
        device: To learn on.
        random_state: Seed; None draws one.
        verbose: 0 is silent, 1 shows progress.

    Attributes:
        coder_: What turns blocks into bytes and back.
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
    device: str = "cpu"
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "max_time": [str, None, Interval(Real, 0, None, closed="neither")],
        "max_epochs": [None, Interval(Integral, 1, None, closed="left")],
        "keeps_rows": ["boolean"],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @python_random_kept()
    def fit(self, X: Any, y: Any = None, *, array: str | None = None) -> Self:
        """Learn what the data are like.

        Args:
            X: Images like those to be compressed: an array of bytes (n, height, width) or (n, height, width, channels),
                or a path: of a folder of PNG files, of .npy, .npz or idx.
            y: Ignored.
            array: Member of the .npz.
        Raises:
            InvalidParameterError: If a parameter has a value that it cannot have.
            DataError: If there is nothing to learn from.
        """
        validate(self)
        self.seed_ = draw_seed(self.random_state)
        learnt = learn_coder(
            open_contents(X, array=array),
            seed=self.seed_,
            max_time=None if self.max_time is None else parse_duration("max_time", self.max_time),
            max_epochs=self.max_epochs,
            keeps_rows=self.keeps_rows,
            engine=Engine(device=self.device, matmul="medium"),
            reporter=make_reporter(self.verbose),
        )
        self.coder_ = learnt.coder
        self.history_ = [record.to_dict() for record in learnt.history]
        self.bits_ = learnt.bits
        return self

    def compress(
        self,
        X: Any,
        path: str | os.PathLike[str] | IO[bytes] | None = None,
        *,
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
            array: Member of a .npz.
            embed: Whether the archive holds the model, so that anybody can open it. Without it an archive is smaller,
                and lost with the model.
            verify: Whether each block is decoded and compared before it counts.
            n_workers: Threads; None for as many as there are processors.
            progress: Called with the bytes done.
        Returns:
            What became of the data (:class:`~latentkit.tasks.compression.Archived`); the archive where `path` is None.
        """
        check_is_fitted(self)
        target = io.BytesIO() if path is None else path
        archived = compress(
            open_contents(X, array=array),
            _place(target),
            self.coder_,
            embeds_model=embed,
            verify=verify,
            n_workers=n_workers,
            progress=progress,
        )
        return target.getvalue() if isinstance(target, io.BytesIO) and path is None else archived

    def decompress(
        self,
        archive: Source | bytes,
        path: str | os.PathLike[str] | IO[bytes] | None = None,
        *,
        rows: Rows | None = None,
    ) -> Any:
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
        source = io.BytesIO(archive) if isinstance(archive, bytes) else _place(archive)
        coder = self._coder_for(source)
        if path is not None:
            return decompress(source, _place(path), coder, rows=rows)
        with opened(source, coder, rows=rows) as (restorer, blocks, selection):
            if not isinstance(restorer, FileRestorer):
                raise InvalidParameterError("the archive is of no array: say where to write it, with path=.")
            return restorer.array(blocks, selection)

    def _coder_for(self, source: Any) -> Coder | None:
        """The coder of this compressor, unless the archive holds another model itself; pipes cannot be looked into."""
        start, n_bytes = (0, 0) if isinstance(source, Path) else extent(source)
        if n_bytes is None:
            return self.coder_
        with ArchiveReader(source) as reader:
            is_own = reader.fingerprint in (None, self.coder_.state().fingerprint)
            coder = self.coder_ if is_own or reader.model() is None else None
        if not isinstance(source, Path):
            source.seek(start)
        return coder

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a folder from which :func:`latentkit.load` gives this compressor back; no pickle is in it."""
        check_is_fitted(self)
        folder = Path(path)
        check_place(folder, COMPRESSOR, "compressor")
        with staged(folder) as stage:
            write_bytes(stage / CODER, self.coder_.state().to_bytes())
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
                    "sha256": {CODER: sha256(stage / CODER)},
                },
            }
            write_config(stage, config)
        return folder


def _place(target: Any) -> Any:
    return Path(target).expanduser() if isinstance(target, (str, os.PathLike)) else target


@loaders.register(COMPRESSOR)
def _load(folder: Path) -> Compressor:
    config = read_config(folder)
    try:
        fitted: Mapping[str, Any] = config["fitted"]
        check_content(folder / CODER, fitted["sha256"][CODER])
        known = Compressor().get_params()
        compressor = Compressor(**{name: value for name, value in config["parameters"].items() if name in known})
        compressor.coder_ = coder_from_state(CoderState.from_bytes((folder / CODER).read_bytes()))
        compressor.seed_, compressor.bits_ = int(fitted["seed"]), float(fitted["bits"])
        compressor.history_ = read_metrics(folder / METRICS)
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, RunError) and not isinstance(error, DamagedArchiveError):
            raise
        raise damaged_config(folder / CONFIG, error) from error
    return compressor
