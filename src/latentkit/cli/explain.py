"""``latentkit explain``: what each latent dimension means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentkit.cli.application import EXPLORE, command
from latentkit.cli.opening import open_run
from latentkit.cli.options import ArrayName, Data, Json, Labels, Run, SkipBad
from latentkit.cli.printing import Printer
from latentkit.cli.reading import naming

if TYPE_CHECKING:
    from latentkit.estimators import LatentExplanation

__all__ = ["explain"]

#: Dimensions, attributes and features of each, and directions that are printed, at most.
SHOWN_DIMS, SHOWN_WORDS, SHOWN_DIRECTIONS = 16, 2, 12


@command(
    "explain",
    "latentkit explain run people.csv",
    "latentkit explain run digits --dims 8",
    "latentkit explain run reviews.csv --labels stars --json",
    panel=EXPLORE,
)
def explain(
    run: Run,
    data: Data,
    dims: Annotated[int, typer.Option("--dims", metavar="N", help="Dimensions to show, at most.", min=1)] = SHOWN_DIMS,
    rows: Annotated[int, typer.Option("--rows", metavar="N", help="Rows of DATA to look at, at most.", min=20)] = 2000,
    integrated: Annotated[
        bool, typer.Option("--integrated", help="Integrated gradients against the mean of DATA; slower.")
    ] = False,
    labels: Labels = None,
    array: ArrayName = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Say what each latent dimension means: what it tells, and what it looks at.

    What it tells about labels and columns is mutual information, in nats, where it is above what shuffled rows give.
    What it looks at is how far the dimension moves with a feature, in standard deviations. Prototypes are rows that
    stand for all, criticisms rows that these do not speak for. latentkit report shows the same with pictures.
    """
    printer = Printer(as_json=as_json)
    opened = open_run(run)
    dataset = opened.read(data, printer, labels=labels, array=array, skip_bad=skip_bad)
    with naming(dataset), printer.waiting("looking at what latent dimensions mean"):
        found = opened.estimator.explain_latents(
            dataset,
            _names(dataset),
            sensitivity="integrated" if integrated else "gradient",
            n_rows=rows,
            n_dims=dims,
        )
    _print(found, dims, printer)
    printer.document(found.to_dict())


def _names(dataset: Any) -> Any:
    """Labels as their names; None where there are none."""
    if dataset.labels is None or dataset.label_names is None:
        return dataset.labels
    return [str(dataset.label_names[code]) for code in dataset.labels]


def _print(found: LatentExplanation, dims: int, printer: Printer) -> None:
    kl = found.summary.kl_per_dimension
    is_picture = not found.features
    headings = ["dim", "variance" if kl is None else "KL, nats", "tells, nats", *([] if is_picture else ["looks at"])]
    lines = []
    for dim in map(int, found.order[:dims]):
        carried = found.summary.mean_variance if kl is None else kl
        told = ", ".join(f"{_short(name)} {nats:.2f}" for name, nats in found.tells(dim, SHOWN_WORDS))
        line = [str(dim), f"{float(carried[dim]):.3f}", told or "nothing"]
        if not is_picture:
            line.append(", ".join(f"{_short(name)} {far:.2f}" for name, far in found.strongest(dim, SHOWN_WORDS)))
        lines.append(line)
    printer.table(headings, lines)
    left = len(found.order) - len(lines)
    if left:
        printer.line(f"and {left} more (--dims)", style="dim")
    pairs = [("active", f"{found.summary.n_active} of {len(found.order)} dimensions")]
    if found.information is not None:
        pairs.append(("tells", found.information.computed_with))
    for place, (name, way) in enumerate(list(found.directions.items())[:SHOWN_DIRECTIONS]):
        score = f"{_short(name, 30)}: {way.metric} {way.score:.3f} on held-out rows, {way.baseline:.3f} without z"
        pairs.append(("" if place else "directions", score))
    pairs.append(("prototypes", "rows " + ", ".join(map(str, found.exemplars.prototypes))))
    pairs.append(("criticisms", "rows " + ", ".join(map(str, found.exemplars.criticisms))))
    printer.line()
    printer.pairs(pairs)


def _short(name: str, length: int = 14) -> str:
    text = " ".join(name.split()) or "␣"
    return text if len(text) <= length else f"{text[: length - 1]}…"
