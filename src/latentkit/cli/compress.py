"""``latentkit compress``: data to an archive."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from latentkit.cli.application import command
from latentkit.cli.compressors import coder_of_run, errors, in_bytes, place_of, telling_bytes
from latentkit.cli.options import ArrayName, Json, Quiet, Run, Workers
from latentkit.cli.outputs import STDOUT
from latentkit.cli.printing import Printer

if TYPE_CHECKING:
    from latentkit.tasks.compression import Archived

__all__ = ["compress"]


@command(
    "compress",
    "latentkit compress run scans/ -o scans.lkz",
    "latentkit compress run images.npy -o images.lkz",
    "latentkit compress run images.npz --array x_test -o x.lkz",
    "latentkit compress run today.npy -o today.lkz --no-model",
    "latentkit compress run photos/ -o photos.lkz --quality 60",
    "cat images.npy | latentkit compress run - -o - > images.lkz",
)
def compress(
    run: Run,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Folder of PNG files; .npy .npz or idx file; any other file; or - for standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Archive, such as x.lkz; or - for standard output.",
            show_default=False,
        ),
    ],
    array: ArrayName = None,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            metavar="Q",
            min=1,
            max=100,
            help="Approximate images: 1 is smallest, 100 nearest. The run has to be fitted with --lossy. Without it "
            "every pixel is kept.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        bool,
        typer.Option(
            "--model/--no-model",
            help="Put the model into the archive, so that it opens without the run. Without it an archive is smaller, "
            "and lost with the run.",
        ),
    ] = True,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Decode and compare each block before it counts.")
    ] = True,
    workers: Workers = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compress data like those of the run, without loss unless --quality is given.

    Images cost what the run's compressor finds improbable in them (latentkit fit --compressor), or, where it has none,
    its variational autoencoder. What does not fit is compressed by zstd. Of images in PNG files the pixels are kept,
    with names, times and permissions; of a Parquet file its table, with names and types; of all other files, and of
    standard input, each byte.
    """
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT, quiet=quiet)
    target = place_of(output, as_json=as_json)
    coder = coder_of_run(run, printer, quality=quality, is_needed=not model)
    from latentkit.tasks.compression import compress as write_archive
    from latentkit.tasks.compression import open_contents

    contents = open_contents(sys.stdin.buffer if data == "-" else data, array=array)
    with telling_bytes(printer, "compressing", contents.n_bytes) as progress:
        archived = write_archive(
            contents,
            target,
            coder,
            embeds_model=model,
            verify=verify,
            n_workers=workers,
            progress=progress,
        )
    _tell(archived, quality, output, printer, has_model=model)


def _tell(archived: Archived, quality: int | None, output: str, printer: Printer, *, has_model: bool) -> None:
    summary, lost = archived.summary, archived.distortion
    share = f"{archived.ratio:.2f} times smaller, {archived.bits_per_byte:.3f} bits a byte"
    printer.line(f"{in_bytes(summary.raw_bytes)} -> {in_bytes(summary.file_bytes)}: {share}", style="bold")
    methods = {method.name.lower(): n for method, n in summary.n_blocks_by.items() if n}
    rate = summary.raw_bytes / max(1e-9, summary.seconds)
    pairs = [
        ("blocks", ", ".join(f"{n:,} by {_METHODS[name]}" for name, n in methods.items()) or "none"),
        ("model", _model(archived, has_model=has_model)),
        ("speed", f"{in_bytes(rate)}/s"),
        ("archive", output),
    ]
    if archived.source_bytes is not None and archived.source_bytes != summary.raw_bytes:
        pairs.insert(0, ("data", f"{in_bytes(archived.source_bytes)} where they lie"))
    if quality is not None and lost is not None:
        pairs.insert(0, ("quality", f"{quality} of 100: {errors(lost)}"))
    if archived.kind == "table":
        pairs.insert(0, ("kept", "the table: names, types, values; its Parquet file is written anew"))
    printer.pairs(pairs)
    coded = sum(size for method, size in summary.bytes_by.items() if method.name == "CODER")
    if summary.forgone_bytes:
        printer.note(
            f"the model is larger than what it saves here, {in_bytes(summary.forgone_bytes)}: --no-model saves that, "
            "and the archive then needs the run"
        )
    elif not coded and quality is not None:
        printer.note("warning: nothing in these data is an image that the run approximates; all of it is kept exactly")
    elif not coded and summary.raw_bytes:
        reason = "fits the run" if summary.n_unfit else "takes less by the run's model"
        printer.note(f"warning: nothing in these data {reason}; zstd took all of it")
    if summary.n_mismatches:
        printer.note(f"warning: {summary.n_mismatches:,} blocks did not come back as they were, and zstd took them")
    printer.document(
        {
            "archive": output,
            "kind": archived.kind,
            "source_bytes": archived.source_bytes,
            "raw_bytes": summary.raw_bytes,
            "file_bytes": summary.file_bytes,
            "model_bytes": summary.model_bytes,
            "ratio": archived.ratio,
            "bits_per_byte": archived.bits_per_byte,
            "n_items": summary.n_items,
            "quality": quality,
            "approximated": None if lost is None else lost.n_images,
            "psnr": None if lost is None else lost.psnr,
            "ms_ssim": None if lost is None else lost.ms_ssim,
            "blocks": methods,
            "seconds": summary.seconds,
        }
    )


_METHODS = {"stored": "nothing, as they are", "zstd": "zstd", "coder": "the model"}


def _model(archived: Archived, *, has_model: bool) -> str:
    if archived.summary.model_bytes:
        return f"{in_bytes(archived.summary.model_bytes)} of the archive; it opens without the run"
    return "in the run, which opening the archive takes" if not has_model else "none, no block needs it"
