"""What each latent dimension means: what it tells, what it looks at, and examples that stand for the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.estimators import LatentExplanation
from latentkit.evaluation import latent_information
from latentkit.report.cells import texts_of
from latentkit.report.charts import cell_map
from latentkit.report.language import say
from latentkit.report.latent import needs_data
from latentkit.report.marking import plain, readable
from latentkit.report.page import (
    Block,
    Chart,
    Method,
    Note,
    Panels,
    Section,
    Strip,
    Strips,
    Table,
    TextLine,
    TextList,
    Texts,
)
from latentkit.report.pictures import grid, heated
from latentkit.report.subject import Subject
from latentkit.report.wording import count, first_of, number

__all__ = ["meaning"]

#: Dimensions, attributes and features in a chart, words about a dimension, and columns of a table of rows, at most.
MOST_DIMS, MOST_ATTRIBUTES, MOST_FEATURES, MOST_WORDS, MOST_COLUMNS = 10, 12, 12, 3, 8
#: Directions that are shown, at most.
MOST_DIRECTIONS = 12
#: Attributes that make a map.
FEWEST_ATTRIBUTES = 2
#: Characters of a name in a table.
MOST_OF_NAME = 24


def meaning(subject: Subject) -> Section:
    """What each latent dimension tells and looks at, with directions, prototypes and criticisms."""
    heading, short = say("What the dimensions mean"), say("Meaning")
    lead = say(
        "What each latent number knows about the data, and which part of an example it listens to. A dimension whose "
        "row is empty may still matter together with others."
    )
    if subject.sample is None:
        blocks: list[Block] = [needs_data(say("The meaning of dimensions"))]
        return Section(key="meaning", heading=heading, lead=lead, blocks=blocks, short=short)
    found = subject.explanation
    if found is None:
        text = say("It takes at least {n} {nouns} to see what dimensions mean.", n=subject.FEWEST, nouns=subject.nouns)
        return Section(key="meaning", heading=heading, lead=lead, blocks=[Note(text=text)], short=short)
    blocks = [_overview(subject, found)]
    charts = [*_information(subject, found), *_sensitivity(subject, found)]
    if charts:
        blocks.append(Panels(charts=charts, size="large"))
    if subject.is_images:
        blocks.append(_pixels(subject, found))
    if found.directions:
        blocks.append(_directions(found))
    blocks += _exemplars(subject, found)
    return Section(key="meaning", heading=heading, lead=lead, short=short, blocks=blocks, method=_methods(found))


def _overview(subject: Subject, found: LatentExplanation) -> Table:
    """A line for each dimension: what it carries, tells and looks at."""
    has_words, has_features = found.information is not None, bool(found.features)
    rows = []
    for dim in found.dims[:MOST_DIMS]:
        told = say(", ").join(f"{_short(name)} {number(nats, 2)}" for name, nats in found.tells(dim, MOST_WORDS))
        seen = say(", ").join(f"{_short(name)} {number(far, 2)}" for name, far in found.strongest(dim, MOST_WORDS))
        row = [str(dim), subject.weight(dim)]
        row += [told or say("nothing beyond chance")] if has_words else []
        row += [seen] if has_features else []
        rows.append(row)
    header = [say("dimension"), say("carries")]
    header += [say("tells about, nats")] if has_words else []
    header += [say("looks at, standard deviations")] if has_features else []
    return Table(
        header=header,
        rows=rows,
        numeric=(1,),
        caption=say("What each dimension does, the one that carries most first"),
    )


def _information(subject: Subject, found: LatentExplanation) -> list[Chart]:
    """Information about labels and columns as a map, about each class where there is nothing else; none without."""
    told, names = found.information, list(found.attributes)
    if told is not None and len(names) == 1 and subject.sample is not None and subject.sample.labels is not None:
        labels = subject.sample.labels[found.rows]
        present = [code for code in range(len(subject.class_names)) if 0 < (labels == code).sum() < len(labels)]
        each = (labels[:, None] == np.array(present, np.int64)).astype(np.int64)
        told = latent_information(subject.posterior[0][found.rows], each, seed=subject.seed_of("classes"))
        names = [subject.class_names[code] for code in present]
    if told is None or len(names) < FEWEST_ATTRIBUTES:
        return []
    dims = list(found.dims[:MOST_DIMS])
    values = np.where(told.is_above_floor, told.told, 0.0)[dims]
    best = np.argsort(-values.max(0), kind="stable")[:MOST_ATTRIBUTES]
    columns = np.sort(best)
    strongest = np.unravel_index(values.argmax(), values.shape)
    return [
        Chart(
            name="meaning-information",
            art=cell_map(values[:, columns], [str(dim) for dim in dims], [names[k] for k in columns]),
            heading=say("What it tells about classes and columns"),
            caption=say(
                "Nats of mutual information beyond chance; empty where shuffled rows would give as much. A row with "
                "one strong cell is a dimension with one meaning."
            )
            + (say(" Of {n}, those it tells most about.", n=len(names)) if len(names) > len(columns) else ""),
            alternative=say(
                "Map of the mutual information of {dims} and {attributes}. The largest is {nats} nats, of dimension "
                "{dim} and {name}.",
                dims=count(len(dims), "latent dimension"),
                attributes=count(len(columns), "attribute"),
                nats=number(float(values.max()), 3),
                dim=dims[int(strongest[0])],
                name=names[int(strongest[1])],
            ),
        )
    ]


def _sensitivity(subject: Subject, found: LatentExplanation) -> list[Chart]:
    """How far dimensions move with features, columns or tokens, as a map; none for images, which have pictures."""
    if not found.features:
        return []
    dims = list(found.dims[:MOST_DIMS])
    values = found.sensitivity[: len(dims)]
    columns = np.sort(np.argsort(-values.max(0), kind="stable")[:MOST_FEATURES])
    strongest = np.unravel_index(values.argmax(), values.shape)
    return [
        Chart(
            name="meaning-sensitivity",
            art=cell_map(values[:, columns], [str(dim) for dim in dims], [_short(found.features[k]) for k in columns]),
            heading=say("What it looks at"),
            caption=_what_moves(found),
            alternative=say(
                "Map of how far {dims} move with {features}. The largest is {far}, of dimension {dim} and {name}.",
                dims=count(len(dims), "latent dimension"),
                features=_features(subject, len(columns)),
                far=number(float(values.max()), 3),
                dim=dims[int(strongest[0])],
                name=_short(found.features[int(strongest[1])]),
            ),
        )
    ]


def _features(subject: Subject, n: int) -> str:
    """How many parts of an example, as they are called."""
    return count(n, "column") if subject.is_table else count(n, "token") if subject.is_text else count(n, "feature")


def _what_moves(found: LatentExplanation) -> str:
    if found.sensitivity_of == "exchanges":
        return say("How far the dimension moves, in standard deviations, when this part of an example is another's.")
    return say(
        "How far the dimension moves, in standard deviations, while the feature moves by one standard deviation of its "
        "own."
    )


def _pixels(subject: Subject, found: LatentExplanation) -> Block:
    """Where in an image each dimension looks."""
    strips = []
    for dim, values in zip(found.dims[:MOST_DIMS], found.sensitivity, strict=False):
        chart = Chart(
            name=f"meaning-pixels-{dim}",
            art=grid(heated(values.sum(0))[None], columns=1),
            alternative=say("Map of the pixels that dimension {dim} looks at.", dim=dim),
        )
        strips.append(Strip(label=say("dimension {dim}", dim=dim), detail=subject.weight(dim), chart=chart))
    return Strips(
        strips=strips,
        inline=True,
        caption=say(
            "Where each dimension looks: the lighter a pixel, the further the dimension moves with it. Each map has a "
            "scale of its own."
        ),
    )


def _directions(found: LatentExplanation) -> Table:
    """Directions of the latent space, with what they are worth on held-out rows."""
    ways = sorted(found.directions.items(), key=lambda item: item[1].baseline - item[1].score)
    rows = [
        [
            name,
            say("accuracy") if way.metric == "accuracy" else "R²",
            number(way.score, 3),
            number(way.baseline, 3),
            f"{way.n:,}",
        ]
        for name, way in ways[:MOST_DIRECTIONS]
    ]
    more = first_of(len(rows), len(ways), "direction")
    return Table(
        header=[say("attribute"), say("measure"), say("on held-out rows"), say("without z"), say("rows")],
        rows=rows,
        numeric=(2, 3, 4),
        caption=say("Directions along which attributes grow: how well they tell it.") + more,
    )


def _exemplars(subject: Subject, found: LatentExplanation) -> list[Block]:
    """Prototypes and criticisms, in the form of the data."""
    assert subject.sample is not None, "asked only where there are data"
    both = [
        (
            "prototypes",
            say("Prototypes"),
            say("Examples that together stand for all."),
            np.array(found.exemplars.prototypes, np.int64),
        ),
        (
            "criticisms",
            say("Criticisms"),
            say("Examples that the prototypes do not speak for: rare, mixed, or wrong."),
            np.array(found.exemplars.criticisms, np.int64),
        ),
    ]
    if subject.is_images:
        charts = [
            Chart(
                name=f"meaning-{key}",
                art=grid(subject.pictures(subject.sample.x[torch.from_numpy(places)]), columns=8),
                heading=heading,
                caption=f"{what} {_where(subject, places)}",
                alternative=f"{heading}. {_where(subject, places)}",
            )
            for key, heading, what, places in both
        ]
        return [Panels(charts=charts, size="large")]
    if subject.is_text:
        lists = [
            TextList(
                heading=heading,
                detail=what,
                lines=[
                    TextLine(pieces=plain(text), label=_name(subject, int(place)))
                    for place, text in zip(places, subject.seen(places), strict=True)
                ],
            )
            for _, heading, what, places in both
        ]
        return [Texts(lists=lists)]
    return [_rows(subject, f"{heading}. {what}", places) for _, heading, what, places in both]


def _rows(subject: Subject, caption: str, places: NDArray[np.int64]) -> Table:
    """Rows of the data as a table."""
    assert subject.sample is not None, "asked only where there are data"
    names = subject.feature_names
    if subject.is_table:
        columns = texts_of(subject, subject.rows_of(subject.sample.rows[places]))
        cells: Sequence[Sequence[str]] = list(zip(*columns[:MOST_COLUMNS], strict=True))
    else:
        values = subject.values(subject.sample.x[torch.from_numpy(places)])
        cells = [[number(cell) for cell in row[:MOST_COLUMNS]] for row in values]
    shown = min(len(names), MOST_COLUMNS)
    has_class = bool(subject.class_names)
    head = [say("row"), *([say("class")] if has_class else [])]
    return Table(
        header=[*head, *names[:shown]],
        rows=[
            [f"{subject.sample.rows[place]:,}", *([subject.label(int(place))] if has_class else []), *row]
            for place, row in zip(places, cells, strict=True)
        ],
        numeric=(0,) if subject.is_table else (0, *range(len(head), len(head) + shown)),
        caption=f"{caption}{first_of(shown, len(names))}",
    )


def _where(subject: Subject, places: NDArray[np.int64]) -> str:
    listed = say(", ").join(_name(subject, int(place), short=True) for place in places)
    return say("Rows {listed}.", listed=listed)


def _name(subject: Subject, place: int, *, short: bool = False) -> str:
    """Where an example stands in the data, and its class."""
    assert subject.sample is not None, "asked only where there are data"
    row, label = subject.sample.rows[place], subject.label(place)
    if short:
        return f"{row:,}{f' ({label})' if label else ''}"
    return say("row {row:,}", row=row) + (f" · {label}" if label else "")


def _short(name: str) -> str:
    shown = readable(name.strip() or "␣")
    return shown if len(shown) <= MOST_OF_NAME else f"{shown[: MOST_OF_NAME - 1]}…"


def _methods(found: LatentExplanation) -> list[Method]:
    """How meanings were measured, in words."""
    method = []
    if found.information is not None:
        method.append(
            Method(
                say("What dimensions tell"),
                say(
                    "Mutual information of the posterior mean, in {n_bins} bins of equally many rows, and of a label "
                    "or column, numbers in bins likewise, over {n:,} rows, less its mean over {n_permutations} "
                    "permutations of the rows. It counts where it is above what the best of all dimensions reaches in "
                    "19 of 20 permutations.",
                    n_bins=found.information.n_bins,
                    n=found.information.n,
                    n_permutations=found.information.n_permutations,
                ),
            )
        )
    if found.sensitivity_of == "exchanges":
        how = say(
            "Mean distance between the posterior mean of a row and that of the same row in which the cell of a column, "
            "or a token, is that of another row drawn with the run's seed; codes and tokens have no gradient."
        )
    else:
        how = say(
            "Mean size of the derivative of the posterior mean by the feature or pixel, times the standard deviation "
            "of that (Simonyan et al., 2014)."
        )
    method.append(Method(say("What dimensions look at"), how))
    if found.directions:
        method.append(
            Method(
                say("Directions"),
                say(
                    "Logistic or ridge regression in the latent space, scored by cross-validation with up to 5 parts. "
                    "Without z: the share of the larger class, or 0."
                ),
            )
        )
    method.append(
        Method(
            say("Prototypes and criticisms"),
            say(
                "MMD-critic (Kim et al., 2016) on the posterior means of active dimensions, with a Gaussian kernel as "
                "wide as the median distance of rows: prototypes bring the MMD down one by one, criticisms lie where "
                "the density of the data and that of the prototypes differ most, and apart from each other."
            ),
        )
    )
    return method
