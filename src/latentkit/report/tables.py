"""What a model of rows makes: numbers beside numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.report.charts import change_chart, error_bars, marginal, path_heatmap
from latentkit.report.choosing import examples, least_likely, pairs_of_classes
from latentkit.report.images import (
    N_COMPARED,
    NEIGHBOURS,
    by_class_method,
    least_likely_method,
    neighbour_chart,
    neighbour_method,
    walk,
    walk_method,
)
from latentkit.report.language import say
from latentkit.report.latent import latents_of, most, needs_data, needs_ex_post, needs_labels, unit
from latentkit.report.page import Block, Chart, Method, Note, Panels, Section, Table
from latentkit.report.subject import Source, Subject
from latentkit.report.wording import count, first_of, number
from latentkit.tasks import interpolate, traverse

__all__ = ["parts"]

#: Columns shown in tables, and features shown in charts, at most.
MOST_COLUMNS, MOST_MARGINALS, MOST_FEATURES, MOST_CLASSES, MOST_BARS = 8, 12, 20, 12, 20


def parts() -> dict[str, Callable[[Subject], Section]]:
    """The parts of the report that show rows, by their keys."""
    return {
        "samples": _samples,
        "classes": _by_class,
        "reconstructions": _reconstructions,
        "traversals": _traversals,
        "walks": _walks,
        "neighbours": _neighbours,
        "interpolations": _interpolations,
        "unlikely": _least_likely,
    }


def _spread(subject: Subject) -> NDArray[np.float64]:
    """Standard deviation of each feature in model units: of the data where there are some; 1 for constant features."""
    if subject.sample is None:
        return np.ones(subject.event_shape[0])
    spread = subject.sample.x.double().std(0, correction=0).numpy()
    return np.where(spread > 1e-9, spread, 1.0)


def _centre(subject: Subject) -> NDArray[np.float64]:
    if subject.sample is None:
        return np.zeros(subject.event_shape[0])
    return np.asarray(subject.sample.x.double().mean(0).numpy(), np.float64)


def _samples(subject: Subject) -> Section:
    names = subject.feature_names
    if not subject.sources:
        return Section(key="samples", heading=say("Samples"), lead=say("New rows."), blocks=[needs_ex_post()])
    n = 1000 if subject.sample is None else max(200, subject.sample.n)
    drawn = _drawn(subject, subject.sources[0], n)
    data = None if subject.sample is None else subject.values(subject.sample.x)
    shown = min(len(names), MOST_COLUMNS)

    def table(values: NDArray[np.float64], caption: str) -> Table:
        return Table(
            header=names[:shown],
            rows=[[number(cell) for cell in row[:shown]] for row in values[:6]],
            numeric=range(shown),
            caption=caption + first_of(shown, len(names)),
        )

    blocks: list[Block] = [
        table(
            drawn if source is subject.sources[0] else _drawn(subject, source, n),
            say("Six new rows. {heading}.", heading=source.heading),
        )
        for source in subject.sources
    ]
    charts = [
        Chart(
            name=f"marginal-{index}",
            art=marginal(None if data is None else data[:, index], drawn[:, index], name=names[index]),
            alternative=_compare(names[index], None if data is None else data[:, index], drawn[:, index]),
        )
        for index in range(min(len(names), MOST_MARGINALS))
    ]
    made = say("followed by one draw from p(x given z)") if subject.has_likelihood else say("decoded")
    against = say("Grey: the data. Blue: ") if data is not None else say("Blue: ")
    blocks.append(
        Panels(
            charts=charts,
            size="small",
            caption=say(
                "{against}{new_rows}, by feature.{more}",
                against=against,
                new_rows=count(n, "new row"),
                more=first_of(MOST_MARGINALS, len(names), "feature"),
            ),
        )
    )
    if data is None:
        blocks.append(needs_data(say("Histograms that compare the samples with data")))
    return Section(
        key="samples",
        heading=say("Samples"),
        lead=say("New rows, made from random latent codes. Good samples spread as the data do, feature by feature."),
        blocks=blocks,
        method=[
            Method(
                say("Samples"),
                say(
                    "{codes} drawn with the run's seed, each {made}, in the units of the data. Histograms have 24"
                    " bins and equal areas; a few far values may lie outside.",
                    codes=count(n, "code"),
                    made=made,
                ),
            )
        ],
    )


def _drawn(subject: Subject, source: Source, n: int) -> NDArray[np.float64]:
    """New rows in the user's units, shape (n, features)."""
    return subject.values(subject.draw(subject.latents(source.distribution, n, "samples"), "samples"))


def _compare(name: str, data: NDArray[np.float64] | None, samples: NDArray[np.float64]) -> str:
    def moments(values: NDArray[np.float64]) -> str:
        return say(
            "mean {mean}, standard deviation {sd}",
            mean=number(values.mean(), 3),
            sd=number(values.std(), 3),
        )

    compared = "" if data is None else say("; data: {figures}", figures=moments(data))
    return say(
        "Histogram of {name}. Samples: {figures}{compared}.", name=name, figures=moments(samples), compared=compared
    )


def _by_class(subject: Subject) -> Section:
    heading, lead = say("Samples by class"), say("New rows of one class at a time: does each class keep its averages?")
    classes = subject.groups
    if not classes:
        return Section(key="classes", heading=heading, lead=lead, blocks=[needs_labels()], short=say("Classes"))
    names = subject.feature_names
    shown = min(len(names), 6)
    data = None if subject.sample is None or subject.sample.labels is None else subject.values(subject.sample.x)
    rows = []
    for name in classes[:MOST_CLASSES]:
        new = subject.values(subject.of_group(name, 500, draw=True))
        rows.append([name, say("new"), *(number(cell, 3) for cell in new.mean(0)[:shown])])
        if data is not None and name in subject.class_names:
            assert subject.sample is not None
            members = data[subject.sample.labels == subject.class_names.index(name)]
            cells = (number(cell, 3) for cell in members.mean(0)[:shown]) if len(members) else ("",) * shown
            rows.append(["", say("data"), *cells])
    return Section(
        key="classes",
        heading=heading,
        lead=lead,
        short=say("Classes"),
        blocks=[
            Table(
                header=[say("class"), say("rows"), *names[:shown]],
                rows=rows,
                numeric=range(2, 2 + shown),
                caption=(
                    say("Means of 500 new rows of each class.")
                    if data is None
                    else say("Means of 500 new rows of each class, and of the data.")
                )
                + first_of(shown, len(names)),
            )
        ],
        method=[by_class_method(subject)],
    )


def _reconstructions(subject: Subject) -> Section:
    heading = say("Reconstructions")
    lead = say(
        "How much of each feature survives the way through the latent code and back. At 0 it comes "
        "back whole; at 1 the model knows no more than its average."
    )
    if subject.sample is None:
        return Section(key="reconstructions", heading=heading, lead=lead, blocks=[needs_data(say("Reconstructions"))])
    x, back = subject.sample.x.double().numpy(), subject.reconstructions.double().numpy()
    errors = np.sqrt(np.square(x - back).mean(0)) / _spread(subject)
    names = subject.feature_names
    order = np.argsort(-errors, kind="stable")[: 2 * MOST_BARS]
    parts = [order] if len(order) <= MOST_BARS // 2 else [order[: -(-len(order) // 2)], order[-(-len(order) // 2) :]]
    of_all = say(" of {n}", n=len(names)) if len(names) > len(order) else ""
    headings = (say("Error per feature"), say("Smaller errors")) if len(parts) > 1 else (say("Error per feature"),)
    charts = [
        Chart(
            name=f"reconstruction-error-{index + 1}",
            art=error_bars(errors[part], [names[place] for place in part], largest=float(errors.max())),
            heading=heading_of_part,
            caption=say("The dashed line: no better than the feature's average."),
            alternative=(
                say(
                    "Bar chart of the reconstruction error of {features}, from {first} ({largest}) to {last} "
                    "({smallest}).",
                    features=count(len(part), "feature"),
                    first=names[part[0]],
                    largest=number(errors[part[0]], 2),
                    last=names[part[-1]],
                    smallest=number(errors[part[-1]], 2),
                )
            ),
        )
        for index, (part, heading_of_part) in enumerate(zip(parts, headings, strict=True))
    ]
    caption = say(
        "Largest first{some}; the mean over all features is {mean}.",
        some=say(", the first {n}{of_all}", n=len(order), of_all=of_all) if of_all else "",
        mean=number(errors.mean(), 2),
    )
    shown = min(len(names), MOST_COLUMNS - 2)
    originals = subject.values(subject.sample.x)
    returned = subject.values(subject.reconstructions)
    rows = []
    for place in examples(subject, 4, "reconstructions"):
        row = f"{subject.sample.rows[place]:,}"
        rows.append([row, say("original"), *(number(cell) for cell in originals[place, :shown])])
        rows.append(["", say("returned"), *(number(cell) for cell in returned[place, :shown])])
    table = Table(
        header=[say("row"), "", *names[:shown]],
        rows=rows,
        numeric=range(2, 2 + shown),
        caption=say("Four rows and what comes back of them.") + first_of(shown, len(names)),
    )
    return Section(
        key="reconstructions",
        heading=heading,
        lead=lead,
        blocks=[Panels(charts=charts, size="large", caption=caption), table],
        method=[
            Method(
                say("Reconstruction error"),
                say(
                    "Root of the mean squared difference over {rows} between the data and the mean of p(x given "
                    "z) at the {latents}, divided by the feature's standard deviation; for constant features, "
                    "in model units.",
                    rows=count(subject.sample.n, "row"),
                    latents=latents_of(subject),
                ),
            )
        ],
    )


def _traversals(subject: Subject) -> Section:
    steps = 25
    values = torch.linspace(-3.0, 3.0, steps)
    if subject.sample is not None:
        start = subject.posterior[0].mean(0, keepdim=True)
        origin = say("the mean code of the data")
    else:
        start = subject.scale()[0][None]
        origin = say("the mean code") if subject.is_deterministic else say("z = 0, the centre of the prior")
    names = subject.feature_names
    charts = []
    for dim in subject.dimensions[:6]:
        with torch.inference_mode():
            places = subject.walk(int(dim), steps).to(subject.device)
            x = traverse(subject.model, start.to(subject.device), int(dim), values=places)
        tracks = _standard(subject, x.reshape(steps, -1))
        moves = np.ptp(tracks, axis=0)
        order = np.argsort(-moves, kind="stable")[: min(4, len(names))]
        weight = subject.weight(int(dim))
        moved = say(", ").join(
            say("{name} by {far}", name=names[index], far=number(moves[index], 2)) for index in order
        )
        charts.append(
            Chart(
                name=f"traversal-{dim}",
                art=change_chart(values.numpy(), tracks[:, order], [names[index] for index in order]),
                heading=say("Dimension {dim}", dim=dim) + (f" · {weight}" if weight else ""),
                alternative=say(
                    "Line chart of the features that follow latent dimension {dim} most: {moved}.", dim=dim, moved=moved
                ),
            )
        )
    ranked = "" if subject.sample is not None else say(" Ranked by samples of the model itself, as no data were given.")
    return Section(
        key="traversals",
        heading=say("Traversals"),
        lead=say("One latent number moves from −3 to 3 while the others stay: which features follow it?"),
        blocks=[
            Panels(
                charts=charts,
                caption=say(
                    "The dimensions {most}, and the features each moves most, from {origin}.{ranked}",
                    most=most(subject),
                    origin=origin,
                    ranked=ranked,
                ),
            )
        ],
        method=[
            Method(
                say("Traversals"),
                say(
                    "{steps} values of one dimension in units of {unit}; the others stay at {origin}. Features "
                    "are means of p(x given z), {units}.",
                    steps=steps,
                    unit=unit(subject),
                    origin=origin,
                    units=_units(subject),
                ),
            )
        ],
    )


def _walks(subject: Subject) -> Section:
    names = subject.feature_names
    charts = []
    for index, x in enumerate(walk(subject, 2, 15)):
        way = _standard(subject, x)
        order = np.sort(np.argsort(-np.ptp(way, axis=0), kind="stable")[:MOST_FEATURES])
        charts.append(
            Chart(
                name=f"walk-{index}",
                art=path_heatmap(way[:, order], [names[place] for place in order], (say("start"), say("end"))),
                heading=say("Walk {n}", n=index + 1),
                alternative=say(
                    "Heat map of {features} between two random latent vectors.", features=count(len(order), "feature")
                ),
            )
        )
    few = say(" The {most} features that change most.", most=MOST_FEATURES) if len(names) > MOST_FEATURES else ""
    caption = say("Colours: features {units}.{few}", units=_units(subject), few=few)
    return Section(
        key="walks",
        heading=say("Walks"),
        lead=say("From one random latent vector to another: the features should change step by step, and together."),
        blocks=[Panels(charts=charts, size="large", caption=caption)] if charts else [needs_ex_post()],
        method=[walk_method(15)],
    )


def _neighbours(subject: Subject) -> Section:
    heading, short = say("Nearest rows"), say("Nearest")
    if subject.sample is None:
        return Section(
            key="neighbours",
            heading=heading,
            lead=say(NEIGHBOURS),
            blocks=[needs_data(say("Nearest rows"))],
            short=short,
        )
    found = subject.neighbours(N_COMPARED)
    names = subject.feature_names
    shown = min(len(names), 6)
    made, near = subject.values(found.samples[:4]), subject.values(found.nearest[:4])
    rows = []
    for index, (sample, example) in enumerate(zip(made, near, strict=True)):
        rows.append(
            [say("sample"), number(float(found.distances[index]), 3), *(number(cell) for cell in sample[:shown])]
        )
        rows.append([say("row {row:,}", row=found.rows[index]), "", *(number(cell) for cell in example[:shown])])
    return Section(
        key="neighbours",
        heading=heading,
        lead=say(NEIGHBOURS),
        short=short,
        blocks=[
            Panels(charts=[neighbour_chart(found)], size="large"),
            Table(
                header=["", say("distance"), *names[:shown]],
                rows=rows,
                numeric=range(1, 2 + shown),
                caption=say(
                    "Four samples, each with the row of the data nearest to it.{more}",
                    more=first_of(shown, len(names)),
                ),
            ),
        ],
        method=[neighbour_method(subject, found)],
    )


def _interpolations(subject: Subject) -> Section:
    heading = say("Interpolations")
    lead = say("From one row to another through the latent space: the features change together, not one by one.")
    if subject.sample is None:
        return Section(key="interpolations", heading=heading, lead=lead, blocks=[needs_data(say("Interpolations"))])
    means, names = subject.posterior[0], subject.feature_names
    charts = []
    for index, (a, b) in enumerate(pairs_of_classes(subject, 2)):
        with torch.inference_mode():
            ends = means[a : a + 1].to(subject.device), means[b : b + 1].to(subject.device)
            x = interpolate(subject.model, *ends, steps=15)
        way = _standard(subject, x.reshape(15, -1))
        order = np.sort(np.argsort(-np.ptp(way, axis=0), kind="stable")[:MOST_FEATURES])
        labels = [say("row {row}", row=subject.sample.rows[place]) for place in (a, b)]
        if subject.class_names:
            labels = [f"{label} · {subject.label(place)}" for label, place in zip(labels, (a, b), strict=True)]
        charts.append(
            Chart(
                name=f"interpolation-{index}",
                art=path_heatmap(
                    way[:, order],
                    [names[place] for place in order],
                    (say("row {row}", row=subject.sample.rows[a]), say("row {row}", row=subject.sample.rows[b])),
                ),
                heading=say("{start} to {end}", start=labels[0], end=labels[1]),
                alternative=say(
                    "Heat map of {features} on the way from {start} to {end}.",
                    features=count(len(order), "feature"),
                    start=labels[0],
                    end=labels[1],
                ),
            )
        )
    blocks: list[Block] = [Note(text=say("It takes two rows to go between."))]
    if charts:
        few = say(" The {most} features that change most.", most=MOST_FEATURES) if len(names) > MOST_FEATURES else ""
        blocks = [
            Panels(
                charts=charts,
                size="large",
                caption=say("Colours: features {units}.{few}", units=_units(subject), few=few),
            )
        ]
    return Section(
        key="interpolations",
        heading=heading,
        lead=lead,
        blocks=blocks,
        method=[
            Method(
                say("Interpolations"),
                say(
                    "Fifteen steps on a spherical path between two {latents} (White, 2016), decoded to the "
                    "mean. The pairs were chosen by the run's seed, of different classes where there are labels.",
                    latents=latents_of(subject, many=True),
                ),
            )
        ],
    )


def _least_likely(subject: Subject) -> Section:
    heading = say("Least likely rows")
    lead = say("Where the model is most surprised: oddities, errors in the data, or what it did not learn.")
    if subject.sample is None:
        return Section(
            key="unlikely", heading=heading, lead=lead, blocks=[needs_data(say("Scores"))], short=say("Least likely")
        )
    names, spread = subject.feature_names, _spread(subject)
    values = subject.values(subject.sample.x)
    rows = []
    for place, bound in least_likely(subject, 10):
        off = (subject.sample.x[place] - subject.reconstructions[place]).double().numpy() / spread
        worst = np.argsort(-np.abs(off), kind="stable")[:3]
        text = say(", ").join(
            say(
                "{name} = {value} ({off} sd)",
                name=names[index],
                value=number(values[place, index]),
                off=number(off[index], 2),
            )
            for index in worst
        )
        cells = [f"{subject.sample.rows[place]:,}", number(bound)]
        rows.append([*cells, subject.label(place), text] if subject.class_names else [*cells, text])
    middle = [say("class")] if subject.class_names else []
    score = say("log p(x given z), nats") if subject.is_deterministic else say("bound, nats")
    header = [say("row"), score, *middle, say("what differs most from its reconstruction")]
    name, method = least_likely_method(subject)
    return Section(
        key="unlikely",
        heading=heading,
        lead=lead,
        short=say("Least likely"),
        blocks=[Table(header=header, rows=rows, numeric=(0, 1))],
        method=[
            Method(name, say("{method} A difference is in standard deviations (sd) of the feature.", method=method))
        ],
    )


def _standard(subject: Subject, x: Tensor) -> NDArray[np.float64]:
    """Model units as standard deviations from the mean of the data, shape (n, features)."""
    return (x.cpu().double().numpy() - _centre(subject)) / _spread(subject)


def _units(subject: Subject) -> str:
    return say("in standard deviations from the mean") if subject.sample is not None else say("in model units")
