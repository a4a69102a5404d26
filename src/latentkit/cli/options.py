"""Arguments and options that several commands share, written once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from latentkit.cli.columns import Unseen

__all__ = [
    "ArchiveRun",
    "ArrayName",
    "BadText",
    "BadTexts",
    "Color",
    "Data",
    "Json",
    "Kinds",
    "Labels",
    "LatentPath",
    "LeaveOut",
    "MissingValues",
    "OptionalOutput",
    "Output",
    "PageLanguage",
    "Pictures",
    "Prior",
    "Quiet",
    "Run",
    "Seed",
    "SkipBad",
    "Steps",
    "TableOutput",
    "Tables",
    "TextColumn",
    "UnseenCategories",
    "Where",
    "Workers",
]


class Color(StrEnum):
    """How images are read."""

    auto = "auto"
    grey = "grey"
    rgb = "rgb"


class BadText(StrEnum):
    """What becomes of texts that are empty or no UTF-8."""

    refuse = "refuse"
    skip = "skip"
    replaced = "replace"


class LatentPath(StrEnum):
    """Ways through the latent space."""

    spherical = "spherical"
    linear = "linear"


class Prior(StrEnum):
    """Where samples are drawn from: the names of the ex-post priors, and those two."""

    auto = "auto"
    model = "model"
    mixture = "mixture"
    flow = "flow"
    flow_matching = "flow_matching"
    second_stage = "second_stage"


Run: TypeAlias = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as fit wrote it.", show_default=False)]

Data: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Folder of images; .npy .npz .csv .tsv .parquet .jsonl .txt or idx file; built-in (digits, wine, ...); "
        "or - for standard input.",
        show_default=False,
    ),
]

Output: TypeAlias = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="Where to, by its ending: .png (a grid), folder/ (one PNG each), .npy .csv .tsv .parquet .jsonl .txt.",
        show_default=False,
    ),
]

OptionalOutput: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="Where to, by its ending: .png (a grid), folder/ (one PNG each), .npy .csv .tsv .parquet .jsonl .txt. "
        "[default of texts: standard output]",
        show_default=False,
    ),
]

TableOutput: TypeAlias = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="Where to, by its ending: .csv .tsv .parquet .jsonl .npy .npz; or - for CSV on standard output.",
        show_default=False,
    ),
]

Labels: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--labels", metavar="L", help="Labels: a column, a member of the .npz, or a file.", show_default=False
    ),
]

ArrayName: TypeAlias = Annotated[
    str | None,
    typer.Option("--array", metavar="NAME", help="Member of the .npz that holds the data.", show_default=False),
]

ArchiveRun: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--run", metavar="RUN", help="The run, where the archive was written with --no-model.", show_default=False
    ),
]

Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--workers", metavar="N", help="Blocks coded at once. [default: all processors]", show_default=False, min=1
    ),
]

Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]

SkipBad: TypeAlias = Annotated[bool, typer.Option("--skip-bad", help="Leave out images and lines that cannot be read.")]

TextColumn: TypeAlias = Annotated[
    str | None,
    typer.Option("--text", metavar="COLUMN", help="Column of a table whose texts are the data.", show_default=False),
]

BadTexts: TypeAlias = Annotated[
    BadText,
    typer.Option("--bad-text", help="What becomes of texts that are empty or no UTF-8.", show_default="refuse"),
]

Tables: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--table", help="Take every column's kind: a table of mixed kinds, even where all columns are numbers."
    ),
]

Kinds: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="NAME=KIND",
        help="Kind of a column, such as zip=categorical, or its categories in order: size=S,M,L; may be repeated.",
        show_default=False,
    ),
]

MissingValues: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--missing",
        metavar="TEXT",
        help="What else stands for a missing cell of a table, such as -999; may be repeated.",
        show_default=False,
    ),
]

UnseenCategories: TypeAlias = Annotated[
    Unseen | None,
    typer.Option(
        "--unseen",
        help="Categories of a table that the fit did not see: taken as unknown, with a count, or an error. "
        "[default: as the fit said, else unknown]",
        show_default=False,
    ),
]

Seed: TypeAlias = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Another seed, other draws.", show_default=False, min=0)
]

PageLanguage: TypeAlias = Annotated[
    str, typer.Option("--language", metavar="L", help="Language of the page: en, or zh (中文).")
]

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, all else on stderr.")]

Steps: TypeAlias = Annotated[int, typer.Option("--steps", metavar="N", help="Examples on the way.", min=2)]

Pictures: TypeAlias = Annotated[
    int, typer.Option("-n", metavar="N", help="Examples shown in a .png; other files hold all.", min=1)
]

Where: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="W",
        help="Rows of a table to learn from: NAME=VALUE, NAME=LOW..HIGH (LOW.. is open), NAME=A|B; commas between "
        "columns. A column held to one value is left out.",
        show_default=False,
    ),
]

LeaveOut: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--leave-out",
        metavar="COLUMN",
        help="Columns that are no part of the data, such as an answer or a score; commas between them.",
        show_default=False,
    ),
]
