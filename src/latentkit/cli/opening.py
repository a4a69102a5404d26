"""Opening a run, and reading data for it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentkit.cli.columns import Unseen
from latentkit.cli.printing import Printer
from latentkit.cli.reading import Reading, labels_of, naming, read_data
from latentkit.core.errors import InvalidParameterError, RunError

if TYPE_CHECKING:
    from latentkit.data import Dataset, Pieces
    from latentkit.estimators import VAE

__all__ = ["OpenedRun", "open_run"]


@dataclass(frozen=True)
class OpenedRun:
    """A fitted estimator and the settings of its run.

    Attributes:
        estimator: The fitted estimator.
        config: Content of ``config.yaml``.
        path: The folder.
    """

    estimator: VAE
    config: Mapping[str, Any]
    path: Path

    @property
    def schema(self) -> Any:
        """How data become tensors."""
        return self.estimator.schema_

    @property
    def reading(self) -> Reading:
        """How the data of the fit were read."""
        return Reading.recorded(self.config)

    def read(
        self,
        source: str,
        printer: Printer,
        *,
        labels: str | None = None,
        array: str | None = None,
        skip_bad: bool = False,
        as_fitted: bool = False,
    ) -> Dataset:
        """Read DATA as the data of the run were read.

        Args:
            source: DATA.
            printer: Where to tell.
            labels: Column, member or file with the labels; None for that of the run.
            array: Member of a .npz; likewise.
            skip_bad: Whether images that cannot be read are left out.
            as_fitted: Whether these are the data of the fit, of which it may have taken some rows only; of other data
                all are read.
        """
        if self.schema.kind == "text" and _is_text_itself(source):
            from latentkit.data import Dataset

            return Dataset([source], "DATA", "text")
        wanted = self.reading.for_model(self.schema, labels=labels, array=array, skip_bad=skip_bad)
        wanted = replace(wanted, is_later=not as_fitted)
        try:
            return self._shaped(read_data(source, wanted, printer))
        except InvalidParameterError:
            if labels is not None or array is not None or wanted == wanted.without_names():
                raise
        # These data have no such column or member: they may hold the same numbers under other names.
        return self._shaped(read_data(source, wanted.without_names(), printer))

    def given_labels(self, dataset: Dataset, printer: Printer, *, n: int | None = None) -> VAE:
        """The estimator, given the labels of the data (of the first n) where its fit was given labels.

        Where the data have none it stays as it is, and that is told.
        """
        schema = self.estimator.condition_schema_
        if schema is None:
            return self.estimator
        labels = labels_of(dataset)
        if not labels or len(schema.attributes) != 1:
            printer.note(
                "warning: this model was given labels in its fit, and these data have none: it is asked without them. "
                "Name them with --labels."
            )
            return self.estimator
        return self.estimator.given(labels[:n])

    def pieces(
        self,
        source: str,
        printer: Printer,
        *,
        labels: str | None = None,
        array: str | None = None,
        skip_bad: bool = False,
    ) -> Pieces:
        """Read DATA as :meth:`read` does, a piece at a time where its format allows it: Parquet."""
        from latentkit.data import ParquetPieces, WholePieces

        path = Path(source).expanduser()
        if self.schema.kind in ("images", "text") or path.suffix.lower() != ".parquet" or not path.is_file() or array:
            return WholePieces(self.read(source, printer, labels=labels, array=array, skip_bad=skip_bad))
        recorded = self.reading.for_model(self.schema, labels=labels, array=None, skip_bad=False)
        try:
            return ParquetPieces(path, self.schema.kind, recorded.labels, recorded.selection, self._shaped)
        except InvalidParameterError:
            if labels is not None:
                raise
        return ParquetPieces(path, self.schema.kind, None, recorded.selection, self._shaped)

    @property
    def source(self) -> str | None:
        """Where the data of the fit are; None where the run does not say, or they are there no more."""
        recorded = self._recorded
        gone = recorded is not None and Path(recorded).is_absolute() and not Path(recorded).exists()
        return None if recorded == "-" or gone else recorded

    @property
    def why_no_source(self) -> str:
        """Why the data of the fit cannot be read again, where they cannot."""
        if self._recorded is None:
            return "the run does not say where the data of its fit are"
        if self._recorded == "-":
            return "the data of the fit came from standard input"
        return f"the data of the fit are not where they were, at {self._recorded}"

    @property
    def _recorded(self) -> str | None:
        recorded: str | None = (self.config.get("data", {}).get("reading") or {}).get("source")
        return recorded

    def _shaped(self, dataset: Dataset) -> Dataset:
        """The data in the shape of the model's; tables hold the pixels of images side by side."""
        from latentkit.data.containers import is_frame, to_array

        if self.schema.kind in ("table", "text"):
            return dataset  # its own schema checks names and kinds
        shape = self.schema.user_shape
        if self.schema.kind == "images" and dataset.kind == "rows":
            values = to_array(dataset.data, source=dataset.source)
            if values.ndim == 2 and values.shape[1] == prod(shape):
                dataset = replace(dataset, data=values.reshape(-1, *shape), kind="images")
        given = getattr(dataset.data, "shape", None)
        if given is not None and not is_frame(dataset.data):
            with naming(dataset):  # a task may see single examples, and could not say where they come from
                self.schema.layout.check(given)
        return dataset


def _is_text_itself(source: str) -> bool:
    """Whether what stands in the place of DATA is a text, and no file, be it one that is not there."""
    from latentkit.data.endings import TABLE_ENDINGS, ending_of
    from latentkit.data.text import TEXT_ENDINGS

    with suppress(OSError, ValueError):  # no file has a name so long, or one that holds a NUL
        if source == "-" or Path(source).expanduser().exists():
            return False
    is_name = "/" in source or ending_of(Path(source)) in (*TABLE_ENDINGS, *TEXT_ENDINGS)
    return not is_name or any(character.isspace() for character in source)


def open_run(path: Path, *, unseen: Unseen | None = None) -> OpenedRun:
    """Load a run.

    Args:
        path: Its folder.
        unseen: What becomes of categories that it was not fitted on; None leaves that to the run.
    Raises:
        RunError: If it is none, damaged, unfinished or of a later version.
        InvalidParameterError: If `unseen` is said of a run that is none of a table of mixed kinds.
    """
    from latentkit.estimators import load
    from latentkit.estimators.compressor import COMPRESSOR
    from latentkit.estimators.detector_runs import DETECTOR
    from latentkit.estimators.runs import read_config

    config = read_config(path)
    if config.get("estimator") == COMPRESSOR:
        raise RunError(f"{path} is a compressor, no run of a model. It is for: latentkit compress {path} DATA -o OUT")
    if config.get("estimator") == DETECTOR:
        raise RunError(f"{path} is a detector, no run of a model. It is for: latentkit detect {path} DATA -o OUT")
    opened = OpenedRun(load(path), config, path)
    if unseen is not None:
        if opened.schema.kind != "table":
            raise InvalidParameterError(
                f"--unseen is for tables of mixed kinds, and this run is one of {opened.schema.kind}. Leave it out."
            )
        opened.estimator.schema_ = replace(opened.schema, unseen=unseen.value)
    return opened
