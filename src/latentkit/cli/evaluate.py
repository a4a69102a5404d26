"""``latentkit evaluate``: how good a run is, in figures that say how they were measured."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentkit.cli.application import command
from latentkit.cli.compressors import coder_of_run, in_bytes, open_compressor
from latentkit.cli.figures import (
    SAMPLES,
    Estimator,
    EstimatorName,
    Importance,
    Rows,
    Samples,
    Train,
    rows_of_fit,
    tell_evaluation,
    unlearnt,
)
from latentkit.cli.opening import open_run
from latentkit.cli.options import ArrayName, Json, Run, Seed
from latentkit.cli.printing import Printer
from latentkit.cli.reading import naming
from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError

if TYPE_CHECKING:
    from latentkit.evaluation import PackedSize, RatePoint

__all__ = ["evaluate"]


@command(
    "evaluate",
    "latentkit evaluate run test.npz --array x_test",
    "latentkit evaluate run test.csv --train train.csv --json",
    "latentkit evaluate run test.npz --estimator ais --rows 100",
    "latentkit evaluate run scans/ --compression --plot curves.png",
)
def evaluate(
    run: Run,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Data that the run has not learnt: a folder or a file.", show_default=False
        ),
    ],
    train: Train = None,
    importance: Importance = None,
    estimator: EstimatorName = Estimator.iwae,
    samples: Samples = None,
    rows: Rows = None,
    compression: Annotated[
        bool,
        typer.Option("--compression", help="Compress DATA, read it back, and do the same with classic coders."),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="PNG",
            help="With --compression: draw errors over bits, of a run that was fitted with --lossy.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = None,
    array: ArrayName = None,
    as_json: Json = False,
) -> None:
    """Measure how good a run is on data that it has not learnt.

    How probable DATA are, how well they are rebuilt, what z carries, how good new data are, whether they are copies.
    Each figure says how it was found, how sure it is, and what its floor is; one that cannot be had says why. It takes
    about a minute: of many rows some are scored, and it says how many.

    --compression: bits for each byte, with the model and without, beside gzip, bz2, xz, zstd, brotli, PNG, WebP and,
    where pillow-jxl-plugin is installed, JPEG XL. They get the same bytes, or all images as one picture. Of a run
    that was fitted with --lossy: bits for each pixel, PSNR and MS-SSIM at five qualities, too, beside JPEG and WebP.
    """
    printer = Printer(as_json=as_json)
    of_model = {"train": train, "importance": importance, "samples": samples, "rows": rows}
    given = [f"--{name}" for name, value in of_model.items() if value is not None]
    if compression and given:
        raise InvalidParameterError(f"{', '.join(given)} with --compression: they measure different things. Give one.")
    if not compression:
        if plot is not None:
            raise InvalidParameterError("--plot draws what images lose when they are compressed: give --compression.")
        opened = open_run(run)
        dataset = opened.read(data, printer, array=array)
        source, known = rows_of_fit(opened, train, printer)
        dataset, known = unlearnt([opened], dataset, known, printer)
        with naming(dataset), printer.waiting(f"evaluating on {dataset.n:,} examples"):
            evaluation = opened.given_labels(dataset, printer).evaluate(
                dataset,
                train=known,
                n_importance=importance,
                estimator=estimator.value,
                n_samples=SAMPLES if samples is None else samples,
                max_rows=rows,
                random_state=seed,
            )
        tell_evaluation(evaluation, printer)
        printer.document({"data": data, "train": source, **evaluation.to_dict()})
        return
    coder, compressor = coder_of_run(run, printer, is_needed=False), open_compressor(run)
    lossy = None if compressor is None else compressor.lossy_coder_
    if plot is not None and lossy is None:
        raise UnsupportedOperationError(
            f"--plot draws what loss costs, and {run} has not learnt to approximate. Fit again with --compressor "
            "--lossy, or leave --plot out."
        )
    from latentkit.tasks.compression import compare, compare_rates, open_contents

    contents = open_contents(data, array=array)
    points = [] if lossy is None else compare_rates(contents, lossy)
    if plot is not None and not points:
        raise DataError(f"{data}: no image in it has as many channels as {run} approximates. Leave --plot out.")
    found = compare(contents, coder)
    n_bytes = _tell_sizes(found, data, printer)
    savings = _tell_rates(points, printer) if points else {}
    if plot is not None:
        _draw(points, plot)
        printer.written("curves", [plot])
    rates = [
        {
            "name": point.name,
            "quality": point.quality,
            "bits_per_pixel": point.bits_per_pixel,
            "psnr": point.distortion.psnr,
            "ms_ssim": point.distortion.ms_ssim,
        }
        for point in points
    ]
    values: dict[str, Any] = {"data": data, "n_bytes": n_bytes, "coders": [asdict(size) for size in found]}
    printer.document({**values, "rates": rates, "rate_at_equal_psnr": savings} if points else values)


def _tell_sizes(found: list[PackedSize], data: str, printer: Printer) -> float:
    """Print a table of sizes without loss, and return how many bytes the data are."""
    n_bytes = found[0].n_bytes * 8.0 / max(1e-12, found[0].bits_per_byte)
    printer.line(f"{data}: {in_bytes(n_bytes)}", style="bold")
    printer.table(
        ("coder", "size", "bits a byte", "times smaller", "MB/s"),
        [
            (
                size.name,
                in_bytes(size.n_bytes),
                f"{size.bits_per_byte:.3f}",
                f"{8.0 / max(1e-12, size.bits_per_byte):.2f}",
                f"{n_bytes / max(1e-9, size.seconds) / 1e6:.2f}",
            )
            for size in found
        ],
    )
    return n_bytes


def _tell_rates(points: list[RatePoint], printer: Printer) -> dict[str, float]:
    """Print a table of rates and errors, and return how much more than each other coder ours takes, as a share."""
    from latentkit.evaluation import MS_SSIM_LEAST_SIDE
    from latentkit.tasks.compression import rates_at_equal_psnr

    n_similar = points[0].distortion.n_similar
    printer.line()
    printer.line(f"with loss: {points[0].distortion.n_images:,} images", style="bold")
    printer.table(
        ("coder", "quality", "bits a pixel", "PSNR, dB", "MS-SSIM"),
        [
            (
                point.name,
                str(point.quality),
                f"{point.bits_per_pixel:.3f}",
                f"{point.distortion.psnr:.2f}",
                "-" if point.distortion.ms_ssim is None else f"{point.distortion.ms_ssim:.4f}",
            )
            for point in points
        ],
    )
    if not n_similar:
        printer.note(f"MS-SSIM takes images with sides of {MS_SSIM_LEAST_SIDE} pixels and more")
    savings = rates_at_equal_psnr(points)
    for name, share in savings.items():
        more = "more" if share > 0 else "fewer"
        printer.line(f"at equal PSNR {abs(share):.0%} {more} bits than {name}")
    return savings


def _draw(points: list[RatePoint], file: Path) -> None:
    from latentkit.core.files import write_bytes
    from latentkit.report.rates import rate_curves
    from latentkit.report.style import draw_png
    from latentkit.tasks.compression.comparing import OURS

    write_bytes(file, draw_png(rate_curves(points, OURS)))
