"""What a run compresses by: its compressor, fitted beside the model, or the model; what archives are, in words."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentkit.cli.opening import open_run
from latentkit.cli.outputs import STDOUT
from latentkit.cli.places import remove_part
from latentkit.cli.printing import Printer
from latentkit.core.errors import InvalidParameterError, RunError, StorageError, UnsupportedOperationError

if TYPE_CHECKING:
    from latentkit.codec import Coder
    from latentkit.estimators import Compressor
    from latentkit.evaluation import Distortion

__all__ = [
    "COMPRESSOR_FOLDER",
    "COMPRESSOR_TIME",
    "CompressorPlan",
    "coder_of_run",
    "compressor_line",
    "errors",
    "in_bytes",
    "open_coders",
    "open_compressor",
    "place_of",
    "remove_compressor",
    "telling_bytes",
]

#: Folder of the compressor in a run.
COMPRESSOR_FOLDER = "compressor"
#: What it takes to learn where the model is given no time but a number of epochs.
COMPRESSOR_TIME = "2m"


@dataclass(frozen=True, slots=True)
class CompressorPlan:
    """What a compressor beside a model is to be learnt from, as it lies there.

    Attributes:
        source: Folder or file.
        array: Member of a .npz.
        max_time: To learn.
        seed: Of everything random.
        lossy: Whether it learns to approximate images, too.
    """

    source: str
    array: str | None
    max_time: float | str
    seed: int
    lossy: bool = False

    def check(self) -> None:
        """See, before a long training, that there is something to learn from.

        Raises:
            InvalidParameterError: If the data are no files.
            DataError: If there is not.
        """
        from latentkit.tasks.compression import check_learnable, open_contents

        if self.source == "-" or not Path(self.source).expanduser().exists():
            raise InvalidParameterError(
                "--compressor learns from files as they lie: a folder of PNG files, .npy, .npz, idx, .csv or .txt; got "
                f"{self.source}. Leave it out, or write the data to a file first."
            )
        check_learnable(open_contents(self.source, array=self.array), lossy=self.lossy)

    def fit(self, place: Path, printer: Printer) -> Compressor:
        """Fit a compressor and keep it in a run."""
        from latentkit.estimators import Compressor

        printer.note("learning to compress")
        compressor = Compressor(
            max_time=self.max_time, lossy=self.lossy, random_state=self.seed, verbose=int(not printer.quiet)
        )
        compressor.fit(self.source, array=self.array)
        compressor.save(place / COMPRESSOR_FOLDER)
        return compressor


def remove_compressor(place: Path) -> None:
    """Remove the compressor of a run, where there is one."""
    from latentkit.estimators.compressor import COMPRESSOR

    remove_part(place / COMPRESSOR_FOLDER, COMPRESSOR)


def compressor_line(compressor: Compressor) -> str:
    """A compressor in words."""
    import pyarrow as pa

    zstd = pa.Codec("zstd", 19)
    sizes = [in_bytes(len(zstd.compress(coder.state().to_bytes()))) for coder in compressor.coders]
    lossy = f", that of loss {sizes[1]}" if len(sizes) > 1 else ""
    return f"{compressor.bits_:.3f} bits a byte of held-out data; its model takes {sizes[0]} of an archive{lossy}"


def errors(lost: Distortion) -> str:
    """What is lost of images, in words."""
    from latentkit.evaluation import MS_SSIM_LEAST_SIDE

    if not lost.n_images:
        return "no image is approximated"
    of = f"{lost.n_images:,} image{'' if lost.n_images == 1 else 's'} approximated"
    decibels = "no error" if math.isinf(lost.psnr) else f"PSNR {lost.psnr:.2f} dB"
    if lost.ms_ssim is None:
        return f"{of}, {decibels} (MS-SSIM takes sides of {MS_SSIM_LEAST_SIDE} pixels and more)"
    larger = "" if lost.n_similar == lost.n_images else f" of the {lost.n_similar:,} large ones"
    return f"{of}, {decibels}, MS-SSIM {lost.ms_ssim:.4f}{larger}"


def open_compressor(run: Path) -> Compressor | None:
    """Open the compressor of a run, or a folder that is one; None where a run has none."""
    from latentkit.estimators import load
    from latentkit.estimators.compressor import COMPRESSOR
    from latentkit.estimators.runs import read_config

    is_compressor = read_config(run).get("estimator") == COMPRESSOR
    folder = run if is_compressor else run / COMPRESSOR_FOLDER
    return load(folder) if is_compressor or folder.is_dir() else None


def open_coders(run: Path) -> tuple[Coder, ...]:
    """Open what the archives of a run were written by: its compressor, or its model as it has coded.

    Raises:
        RunError: If there is neither.
    """
    compressor = open_compressor(run)
    if compressor is not None:
        return compressor.coders
    coder: Coder | None = open_run(run).estimator.coder_
    if coder is None:
        raise RunError(
            f"{run} has no coder: it has not compressed anything, so that no archive needs it. Leave out --run if the "
            "archive holds its model, or give the run that wrote it."
        )
    return (coder,)


def coder_of_run(run: Path, printer: Printer, *, is_needed: bool, quality: int | None = None) -> Coder:
    """Return what a run compresses by: its compressor, or else its model, which is brought into whole numbers once.

    Args:
        run: The run, or a folder that is a compressor.
        printer: Where to tell.
        is_needed: Whether archives will need the coder, so that it has to be kept in the run.
        quality: Of a compressor that approximates; None gives back each byte.

    Raises:
        UnsupportedOperationError: If there is no compressor, and the model cannot code or is to approximate.
        StorageError: If it is needed and cannot be kept.
    """
    from latentkit.estimators.archives import made_coder
    from latentkit.estimators.runs import CODER, keep_coder

    compressor = open_compressor(run)
    if compressor is not None:
        return compressor.coder_of(quality)
    if quality is not None:
        raise UnsupportedOperationError(
            f"{run} has no compressor, and its model gives back each byte. Fit again: latentkit fit DATA -o {run} "
            "--overwrite --compressor --lossy; or leave --quality out."
        )
    estimator = open_run(run).estimator
    kept: Coder | None = estimator.coder_
    if kept is not None:
        return kept
    printer.note("bringing the model into whole numbers, once")
    coder = made_coder(estimator)
    try:
        keep_coder(run, coder)
    except StorageError as error:
        if is_needed:
            raise StorageError(
                error.errno,
                f"{error.strerror} Without its model in it the archive would need {CODER} in that run. Leave out "
                "--no-model, or copy the run to where it can be written.",
            ) from error
        printer.note(f"it is not kept: {run} cannot be written")
    else:
        printer.note(f"kept as {run / CODER}, by which archives without their model open")
    return coder


def place_of(output: str, *, as_json: bool) -> Any:
    """Return where bytes are to be written: a path, or standard output.

    Raises:
        InvalidParameterError: If a JSON document would stand there, too.
    """
    if output != STDOUT:
        return Path(output).expanduser()
    if as_json:
        raise InvalidParameterError("--json and -o - both take standard output. Write to a file, or leave out --json.")
    return sys.stdout.buffer


def in_bytes(n: float) -> str:
    """A number of bytes for people: 999 B, 1.2 kB, 34.5 MB.

    Example:
        >>> in_bytes(999), in_bytes(34_512_000)
        ('999 B', '34.5 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            break
        n /= 1000
    return f"{n:,.0f} {unit}" if unit == "B" else f"{n:,.1f} {unit}"


@contextmanager
def telling_bytes(printer: Printer, what: str, n_bytes: int | None) -> Iterator[Callable[[int], None] | None]:
    """Yield what hears of bytes done and shows a bar with the rate; None where nobody watches.

    Args:
        printer: Where to tell.
        what: What is being done.
        n_bytes: How many bytes there are; None where that is not known.
    """
    if printer.quiet or not printer.aside.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn(what), BarColumn(bar_width=24), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=printer.aside, transient=True) as bar:
        task = bar.add_task(what, total=n_bytes)
        yield lambda done: bar.update(task, completed=done)
