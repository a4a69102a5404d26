"""Archives of what a fitted estimator can code, and back."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

from sklearn.utils.validation import check_is_fitted

from latentkit.codec.archive import ArchiveReader
from latentkit.codec.archive.source import extent
from latentkit.codec.coders import Coder
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.seeds import derive_seed
from latentkit.tasks.compression import (
    Rows,
    bits_back_coder,
    check_codable,
    compress,
    decompress,
    open_contents,
    opened,
)
from latentkit.tasks.compression.contents.files import FileRestorer

__all__ = ["ArchiveTasks", "NO_BITS_BACK", "Source", "Target", "made_coder", "read_archive", "write_archive"]

Source: TypeAlias = str | os.PathLike[str] | IO[bytes] | bytes
Target: TypeAlias = str | os.PathLike[str] | IO[bytes]

#: Why an estimator without such a model has none.
NO_BITS_BACK: Final = (
    "bits-back coding takes a posterior to draw from. Fit a VAE, or learn to compress beside the model: latentkit fit "
    "--compressor, or Compressor().fit(X)."
)
#: Examples that a coder is made by, at most, and numbers of all of them.
_EXAMPLES: Final = 4096
_NUMBERS: Final = 1 << 23


class ArchiveTasks:
    """Archives by a model with a posterior: data cost about the negative ELBO that it gives them."""

    #: What turns blocks into bytes and back; None until the model has been asked to compress.
    coder_: Coder | None

    def compress(
        self,
        X: Any,
        path: Target | None = None,
        *,
        array: str | None = None,
        embed: bool = True,
        verify: bool = True,
        n_workers: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Any:
        r"""Write an archive, in which data like those of fit take about their negative ELBO.

        .. math:: -E_{q(z \mid x)}[\log_2 p(x \mid z)] + KL(q(z \mid x), p(z)) / \log 2 \text{ bits}

        The model is brought into whole numbers once, as ``coder_``, which :meth:`save` keeps. What is no row or image
        of bytes of its shape, such as floats, is compressed by zstd.

        Args:
            X: An array, a folder, a file of any kind, or a binary stream.
            path: Where to: a path, which gets its name when the archive is whole, or a binary stream. None returns the
                archive as bytes.
            array: Member of a .npz.
            embed: Whether the archive holds the model, so that anybody can open it, unless that takes more than it
                saves. Without it an archive is smaller, and lost with the ``coder_``.
            verify: Whether each block is decoded and compared before it counts.
            n_workers: Threads; None for as many as there are processors.
            progress: Called with the bytes done.
        Returns:
            What became of the data (:class:`~latentkit.tasks.compression.Archived`); the archive where `path` is None.
        Raises:
            UnsupportedOperationError: If the model has parts that are not brought into whole numbers, or was fitted to
                data that are no bytes.
        """
        return write_archive(
            made_coder(self),
            X,
            path,
            array=array,
            embed=embed,
            verify=verify,
            n_workers=n_workers,
            progress=progress,
        )

    def decompress(self, archive: Source, path: Target | None = None, *, rows: Rows | None = None) -> Any:
        """Return or write what is in an archive that holds its model, or was written by the ``coder_``.

        Args:
            archive: A path, a binary stream, or bytes.
            path: Where to: a path or a binary stream; None returns the array that the archive is of.
            rows: A number or a slice of them: rows of the array, lines behind the header of a table, files of a folder.
                Only their blocks are read. None for all.
        Returns:
            The array; or the paths that were written.
        Raises:
            ArchiveError: If the archive needs another model.
            DamagedArchiveError: If it is not what was written.
            InvalidParameterError: If `path` is None and it is of no array; if there are no such rows.
        """
        check_is_fitted(self)
        return read_archive(() if self.coder_ is None else (self.coder_,), archive, path, rows=rows)


def made_coder(estimator: Any) -> Coder:
    """Return the coder of a fitted estimator, and make it if there is none yet.

    It is made by draws of the model, and so of nothing but the model: latent variables lie as the prior has them from
    which the estimator samples.

    Raises:
        UnsupportedOperationError: If the model has none.
    """
    check_is_fitted(estimator)
    if getattr(estimator, "coder_", None) is None:
        try:
            estimator.coder_ = _of_model(estimator)
        except (UnsupportedOperationError, InvalidParameterError) as error:
            raise UnsupportedOperationError(
                f"{error} A compressor that is learnt beside the model takes it: latentkit fit --compressor, or "
                "Compressor().fit(X)."
            ) from error
    coder: Coder = estimator.coder_
    return coder


def _of_model(estimator: Any) -> Coder:
    model, schema = copy.deepcopy(estimator.model_).cpu().float().eval(), estimator.schema_
    check_codable(model, schema)
    n = max(1, min(_EXAMPLES, _NUMBERS // model.n_features))
    draws = estimator.sample(n, draw="sample", random_state=derive_seed(estimator.seed_, "coder"))
    return bits_back_coder(model, schema, schema.encode(draws))


def write_archive(
    coder: Coder,
    source: Any,
    path: Target | None,
    *,
    array: str | None,
    embed: bool,
    verify: bool,
    n_workers: int | None,
    progress: Callable[[int], None] | None,
) -> Any:
    """Write an archive by a coder; see :meth:`ArchiveTasks.compress`."""
    target = io.BytesIO() if path is None else _place(path)
    archived = compress(
        open_contents(source, array=array),
        target,
        coder,
        embeds_model=embed,
        verify=verify,
        n_workers=n_workers,
        progress=progress,
    )
    return target.getvalue() if path is None else archived


def read_archive(coders: Sequence[Coder], archive: Source, path: Target | None, *, rows: Rows | None = None) -> Any:
    """Return or write what is in an archive, by its own model or one of coders; see :meth:`ArchiveTasks.decompress`."""
    source = io.BytesIO(archive) if isinstance(archive, bytes) else _place(archive)
    given = coders if coders and not _holds_another(coders, source) else None
    if path is not None:
        return decompress(source, _place(path), given, rows=rows)
    with opened(source, given, rows=rows) as (restorer, blocks, selection):
        if not isinstance(restorer, FileRestorer):
            raise InvalidParameterError("the archive is of no array: say where to write it, with path=.")
        return restorer.array(blocks, selection)


def _holds_another(coders: Sequence[Coder], source: Any) -> bool:
    """Whether an archive holds another model itself; pipes cannot be looked into."""
    start, n_bytes = (0, 0) if isinstance(source, Path) else extent(source)
    if n_bytes is None:
        return False
    with ArchiveReader(source) as reader:
        is_own = reader.fingerprint in (None, *(coder.state().fingerprint for coder in coders))
        holds = not is_own and reader.model() is not None
    if not isinstance(source, Path):
        source.seek(start)
    return holds


def _place(target: Any) -> Any:
    return Path(target).expanduser() if isinstance(target, (str, os.PathLike)) else target
