"""``latentkit inspect``: what an archive holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from latentkit.cli.application import command
from latentkit.cli.compressors import in_bytes, open_coders
from latentkit.cli.options import ArchiveRun, Json
from latentkit.cli.printing import Printer
from latentkit.core.errors import InvalidParameterError

__all__ = ["inspect"]


@command(
    "inspect",
    "latentkit inspect scans.lkz",
    "latentkit inspect scans.lkz --check",
)
def inspect(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="Archive.", show_default=False)],
    check: Annotated[bool, typer.Option("--check", help="Decode all of it, too.")] = False,
    run: ArchiveRun = None,
    as_json: Json = False,
) -> None:
    """Tell what an archive holds, and whether it is whole."""
    from latentkit.codec.archive import FORMAT_VERSION, ArchiveReader

    if archive.is_dir():
        raise InvalidParameterError(f"{archive} is a folder, no archive. What a run is says: latentkit info {archive}")
    printer = Printer(as_json=as_json)
    coder = None if run is None else open_coders(run)
    with ArchiveReader(archive, coder=coder) as reader:
        file_bytes, blocks, model = archive.stat().st_size, reader.blocks, reader.model()
        methods = Counter(block.method.name.lower() for block in blocks)
        if check:
            for _ in reader:
                pass
        fingerprint = "" if reader.fingerprint is None else reader.fingerprint.hex()
        values: dict[str, Any] = {
            "archive": archive,
            "format": FORMAT_VERSION,
            "holds": dict(reader.meta),
            "n_items": reader.n_items,
            "raw_bytes": reader.n_bytes,
            "file_bytes": file_bytes,
            "ratio": reader.n_bytes / max(1, file_bytes),
            "blocks": dict(methods),
            "model": None if model is None else model.name,
            "fingerprint": fingerprint or None,
            "is_checked": check,
            "is_approximate": "quality" in reader.meta and methods["coder"] > 0,
        }
    holds = values["holds"]
    printer.line(f"{archive}: {holds.get('name', 'a stream')}, {holds.get('kind', 'bytes')}", style="bold")
    needs = f"not in it: give --run; fingerprint {fingerprint[:12]}" if methods["coder"] else "none, no block needs it"
    exactness = []
    if "quality" in holds:
        is_exact = "no block needed it: every byte is exact"
        n = methods["coder"]
        is_near = f"{n:,} block{' has' if n == 1 else 's have'} approximate pixels"
        told = is_near if values["is_approximate"] else is_exact
        exactness = [("quality", f"{holds['quality']} of 100: {told}")]
    becomes = "what was checked when it was written" if values["is_approximate"] else "what it was"
    printer.pairs(
        [
            ("items", f"{values['n_items']:,} in {len(blocks):,} blocks"),
            ("size", f"{in_bytes(reader.n_bytes)} in {in_bytes(file_bytes)}: {values['ratio']:.2f} times smaller"),
            *exactness,
            ("packed by", ", ".join(f"{name}: {n:,}" for name, n in methods.items()) or "nothing"),
            ("model", needs if model is None else f"{model.name}, in it; fingerprint {fingerprint[:12]}"),
            ("whole", f"yes: every block becomes {becomes}" if check else "its ends are; --check decodes all of it"),
        ]
    )
    printer.document(values)
