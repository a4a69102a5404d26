"""What a model of images makes: pictures beside pictures."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.report.charts import distances
from latentkit.report.choosing import examples, least_likely, pairs_of_classes
from latentkit.report.language import message, say
from latentkit.report.latent import latents_of, most, needs_data, needs_ex_post, needs_labels, unit
from latentkit.report.page import Block, Chart, Method, Note, Panels, Section, Strip, Strips
from latentkit.report.pictures import Picture, grid, pairs
from latentkit.report.subject import Neighbours, Subject
from latentkit.report.wording import count, number
from latentkit.tasks import interpolate, traverse

__all__ = ["parts"]

MOST_CLASSES = 12
#: Samples that are compared with the data.
N_COMPARED = 200
#: What the nearest examples are about.
NEIGHBOURS = message("Does the model copy? A sample may resemble an example of the data, and should not be one.")
#: Numbers in an image from which on fewer are shown, so that the page stays light.
LARGE = 6000


def parts() -> dict[str, Callable[[Subject], Section]]:
    """The parts of the report that show images, by their keys."""
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


def _columns(subject: Subject) -> int:
    """Images in a row of a grid: fewer where they are wide."""
    _, height, width = subject.event_shape
    return 8 if width <= 1.5 * height and not _is_large(subject) else 5


def _is_large(subject: Subject) -> bool:
    return prod(subject.event_shape) > LARGE


def _samples(subject: Subject) -> Section:
    columns = _columns(subject)
    n = columns * (4 if _is_large(subject) else 6)
    charts = [
        Chart(
            name=f"samples-{source.name}",
            art=grid(
                subject.pictures(subject.decode(subject.latents(source.distribution, n, "samples"))), columns=columns
            ),
            heading=source.heading,
            caption=source.caption,
            alternative=say("Grid of {n} images that the model made. {heading}.", n=n, heading=source.heading),
        )
        for source in subject.sources
    ]
    shown = (
        say("the mean of p(x given z), without pixel noise") if subject.has_likelihood else say("what it decodes to")
    )
    return Section(
        key="samples",
        heading=say("Samples"),
        lead=say("New images, made from random latent codes. None was picked by hand."),
        blocks=[Panels(charts=charts, size="large") if charts else needs_ex_post()],
        method=[
            Method(
                say("Samples"),
                say(
                    "{n} codes from each distribution, drawn with the run's seed, all shown; each picture is {shown}.",
                    n=n,
                    shown=shown,
                ),
            )
        ],
    )


def _by_class(subject: Subject) -> Section:
    heading, lead = say("Samples by class"), say("New images of one class at a time.")
    names = subject.groups
    if not names:
        return Section(key="classes", heading=heading, lead=lead, blocks=[needs_labels()], short=say("Classes"))
    n = 5 if _is_large(subject) else 10
    strips = []
    for index, name in enumerate(names[:MOST_CLASSES]):
        x = subject.of_group(name, n)
        chart = Chart(
            name=f"samples-class-{index}",
            art=grid(subject.pictures(x), columns=n),
            alternative=say("{n} new images of class {name}.", n=n, name=name),
        )
        strips.append(Strip(label=name, chart=chart))
    more = say(" {n} further classes are not shown.", n=len(names) - MOST_CLASSES) if len(names) > MOST_CLASSES else ""
    return Section(
        key="classes",
        heading=heading,
        lead=lead,
        short=say("Classes"),
        blocks=[Strips(strips=strips, caption=say("{n} images of each class.{more}", n=n, more=more))],
        method=[by_class_method(subject)],
    )


def _reconstructions(subject: Subject) -> Section:
    heading = say("Reconstructions")
    lead = say("Originals above, and below them what is left after the way through the latent code and back.")
    if subject.sample is None:
        return Section(key="reconstructions", heading=heading, lead=lead, blocks=[needs_data(say("Reconstructions"))])
    columns = _columns(subject)
    places = examples(subject, 4 * columns, "reconstructions")
    above = subject.pictures(subject.sample.x[places])
    below = subject.pictures(subject.reconstructions[places])
    charts = []
    for index, start in enumerate(range(0, len(places), 2 * columns)):
        part = slice(start, start + 2 * columns)
        charts.append(
            Chart(
                name=f"reconstructions-{index + 1}",
                art=pairs(above[part], below[part], columns=columns),
                alternative=say(
                    "{originals}, each with its reconstruction below.", originals=count(len(above[part]), "original")
                ),
            )
        )
    return Section(
        key="reconstructions",
        heading=heading,
        lead=lead,
        blocks=[
            Panels(
                charts=charts, size="large", caption=say("In each pair: the original above, its reconstruction below.")
            )
        ],
        method=[
            Method(
                say("Reconstructions"),
                say(
                    "The mean of p(x given z) at the {latents}. The examples were chosen by the run's seed, "
                    "the classes in turns where there are labels.",
                    latents=latents_of(subject),
                ),
            )
        ],
    )


def _traversals(subject: Subject) -> Section:
    steps = 7 if _is_large(subject) else 11
    if subject.sample is not None:
        place = int(examples(subject, 1, "traversal")[0])
        start = subject.posterior[0][place : place + 1]
        origin = say("row {row} of the data", row=subject.sample.rows[place])
    else:
        start = subject.scale()[0][None]
        origin = say("the mean code") if subject.is_deterministic else say("z = 0, the centre of the prior")
    strips = []
    for dim in subject.dimensions[: 5 if _is_large(subject) else 8]:
        with torch.inference_mode():
            values = subject.walk(int(dim), steps).to(subject.device)
            x = traverse(subject.model, start.to(subject.device), int(dim), values=values)
        chart = Chart(
            name=f"traversal-{dim}",
            art=_row(subject, x),
            alternative=say("{steps} images along latent dimension {dim}, from −3 to 3.", steps=steps, dim=dim),
        )
        strips.append(Strip(label=say("dimension {dim}", dim=dim), detail=subject.weight(int(dim)), chart=chart))
    ranked = "" if subject.sample is not None else say(" Ranked by samples of the model itself, as no data were given.")
    return Section(
        key="traversals",
        heading=say("Traversals"),
        lead=say("One latent number moves from −3 to 3 while the others stay: what does this dimension mean?"),
        blocks=[
            Strips(
                strips=strips,
                caption=say(
                    "The dimensions {most}; all start from {origin}.{ranked}",
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
                    "{steps} evenly spaced values of one dimension in units of {unit}; the other dimensions keep "
                    "the posterior mean of {origin}. Pictures are means of p(x given z).",
                    steps=steps,
                    unit=unit(subject),
                    origin=origin,
                ),
            )
        ],
    )


def _walks(subject: Subject) -> Section:
    steps = 5 if _is_large(subject) else 9
    strips = []
    for index, way in enumerate(walk(subject, 4 if _is_large(subject) else 6, steps)):
        chart = Chart(
            name=f"walk-{index}",
            art=_row(subject, way),
            alternative=say("{steps} images on the way from one random latent vector to another.", steps=steps),
        )
        strips.append(Strip(label=say("walk {index}", index=index + 1), chart=chart))
    return Section(
        key="walks",
        heading=say("Walks"),
        lead=say(
            "From one random latent vector to another: neighbours should be alike, and each step look like the data."
        ),
        blocks=[Strips(strips=strips)] if strips else [needs_ex_post()],
        method=[walk_method(steps)],
    )


def walk(subject: Subject, n: int, steps: int) -> list[Tensor]:
    """Ways between pairs of random latent vectors, each of shape (steps, *event)."""
    if not subject.sources:
        return []
    z = subject.latents(subject.sources[0].distribution, 2 * n, "walks").to(subject.device)
    with torch.inference_mode():
        x = interpolate(subject.model, z[:n], z[n:], steps=steps)
    return [way.cpu() for way in x.reshape(steps, n, *subject.event_shape).unbind(1)]


def walk_method(steps: int) -> Method:
    """How walks were made, in words."""
    return Method(
        say("Walks"),
        say(
            "{steps} steps on a spherical path between two latent vectors (White, 2016), decoded to the "
            "mean. The ends are drawn with the run's seed from what sample() draws from; none was picked "
            "by hand.",
            steps=steps,
        ),
    )


def _neighbours(subject: Subject) -> Section:
    heading, short = say("Nearest examples"), say("Nearest")
    if subject.sample is None:
        return Section(
            key="neighbours",
            heading=heading,
            lead=say(NEIGHBOURS),
            blocks=[needs_data(say("Nearest examples"))],
            short=short,
        )
    columns = _columns(subject)
    found = subject.neighbours(N_COMPARED)
    n = min(2 * columns, len(found.samples))
    above, below = subject.pictures(found.samples[:n]), subject.pictures(found.nearest[:n])
    return Section(
        key="neighbours",
        heading=heading,
        lead=say(NEIGHBOURS),
        short=short,
        blocks=[
            Panels(
                charts=[
                    Chart(
                        name="neighbours",
                        art=pairs(above, below, columns=columns),
                        alternative=say("{n} samples, each with the nearest example of the data below.", n=n),
                    ),
                    neighbour_chart(found),
                ],
                size="large",
                caption=say("In each pair: the sample above, the example of the data nearest to it below."),
            )
        ],
        method=[neighbour_method(subject, found)],
    )


def neighbour_chart(found: Neighbours) -> Chart:
    """Distances of samples and of data to the nearest example of the data."""
    far, usual = found.distances.median(), found.among_data.median()
    return Chart(
        name="neighbour-distances",
        art=distances(found.among_data.numpy(), found.distances.numpy()),
        heading=say("Distance to the nearest example"),
        caption=say("Samples far to the left of the data would be copies; far to the right, they are off the data."),
        alternative=say(
            "Histogram of distances to the nearest example. Median of samples: {far}; of data to the "
            "nearest other: {usual}.",
            far=number(float(far), 3),
            usual=number(float(usual), 3),
        ),
    )


def neighbour_method(subject: Subject, found: Neighbours) -> Method:
    """How neighbours were found, in words."""
    assert subject.sample is not None, "asked only where there are data"
    n, total = found.n_searched, subject.sample.n_total
    searched = (
        say("all {examples}", examples=count(n, "example"))
        if n == total
        else say("{n:,} of {examples}, drawn by the seed,", n=n, examples=count(total, "example"))
    )
    return Method(
        say("Nearest examples"),
        say(
            "Euclidean distance in model units; {searched} were searched. Blue: {samples}; grey: "
            "{examples} of the data, each to the nearest other one.",
            searched=searched,
            samples=count(len(found.samples), "sample"),
            examples=count(len(found.among_data), "example"),
        ),
    )


def by_class_method(subject: Subject) -> Method:
    """How samples of a class were made, in words."""
    how = say("from what was fitted to the codes of the class.")
    if subject.is_discrete:
        how = say("from the prior over codes, given the class.")
    elif not subject.estimator.classes_:
        how = say("given the class as the condition.")
    return Method(say("Samples by class"), say("As above, {how}", how=how))


def _interpolations(subject: Subject) -> Section:
    heading = say("Interpolations")
    lead = say("From one example to another through the latent space. The outermost pictures are the originals.")
    if subject.sample is None:
        return Section(key="interpolations", heading=heading, lead=lead, blocks=[needs_data(say("Interpolations"))])
    means = subject.posterior[0]
    steps = 5 if _is_large(subject) else 9
    strips = []
    for number_of_pair, (a, b) in enumerate(pairs_of_classes(subject, 4 if _is_large(subject) else 6)):
        with torch.inference_mode():
            ends = means[a : a + 1].to(subject.device), means[b : b + 1].to(subject.device)
            x = interpolate(subject.model, *ends, steps=steps)
        way = x.reshape(-1, *subject.event_shape).cpu()
        whole = torch.cat([subject.sample.x[a : a + 1], way, subject.sample.x[b : b + 1]])
        names = say("{start} to {end}", start=subject.label(a), end=subject.label(b)) if subject.class_names else ""
        ends_text = say("row {start} to {end}", start=subject.sample.rows[a], end=subject.sample.rows[b])
        chart = Chart(
            name=f"interpolation-{number_of_pair}",
            art=_row(subject, whole),
            alternative=say(
                "{steps} images on the way from {ends}{of_class}.",
                steps=steps + 2,
                ends=ends_text,
                of_class=say(", class {name}", name=names) if names else "",
            ),
        )
        strips.append(Strip(label=names or ends_text, detail=ends_text if names else "", chart=chart))
    blocks: list[Block] = (
        [Strips(strips=strips)] if strips else [Note(text=say("It takes two examples to go between."))]
    )
    return Section(
        key="interpolations",
        heading=heading,
        lead=lead,
        blocks=blocks,
        method=[
            Method(
                say("Interpolations"),
                say(
                    "{steps} steps on a spherical path between two {latents} (White, 2016), decoded to the "
                    "mean. The pairs were chosen by the run's seed, of different classes where there are labels.",
                    steps=steps,
                    latents=latents_of(subject, many=True),
                ),
            )
        ],
    )


def _least_likely(subject: Subject) -> Section:
    heading = say("Least likely examples")
    lead = say("Where the model is most surprised: oddities, errors in the data, or what it did not learn.")
    if subject.sample is None:
        return Section(
            key="unlikely", heading=heading, lead=lead, blocks=[needs_data(say("Scores"))], short=say("Least likely")
        )
    strips = []
    for place, bound in least_likely(subject, 12):
        row, name = subject.sample.rows[place], subject.label(place)
        of_class = say(", class {name}", name=name) if name else ""
        below = subject.reconstructions[place : place + 1]
        both = pairs(subject.pictures(subject.sample.x[place : place + 1]), subject.pictures(below), columns=1)
        chart = Chart(
            name=f"unlikely-{row}",
            art=both,
            alternative=say(
                "Row {row} with its reconstruction below, {bound} nats{of_class}.",
                row=row,
                bound=number(bound),
                of_class=of_class,
            ),
        )
        strips.append(
            Strip(
                label=say("row {row}", row=row) + (f" · {name}" if name else ""),
                detail=say("{bound} nats", bound=number(bound)),
                chart=chart,
            )
        )
    return Section(
        key="unlikely",
        heading=heading,
        lead=lead,
        short=say("Least likely"),
        blocks=[Strips(strips=strips, inline=True, caption=say("Original above, reconstruction below."))],
        method=[least_likely_method(subject)],
    )


def least_likely_method(subject: Subject) -> Method:
    """How rows were scored, in words."""
    places, n_importance = subject.scored
    assert subject.sample is not None, "asked only where there are data"
    what = say("bounds on log p(x) with K = {n_importance}", n_importance=n_importance)
    if subject.is_discrete:
        what = say("bounds log p(c) + log p(x given c)")
    if subject.is_deterministic:
        what = say("log p(x given z) of a row's reconstruction")
    return Method(
        say("Least likely"),
        say(
            "The lowest {what} among {rows} of the {n_total:,}; rows are counted from 0.",
            what=what,
            rows=count(len(places), "row"),
            n_total=subject.sample.n_total,
        ),
    )


def _row(subject: Subject, x: Tensor) -> Picture:
    images: NDArray[np.uint8] = subject.pictures(x.reshape(-1, *subject.event_shape).cpu())
    return grid(images, columns=len(images))
