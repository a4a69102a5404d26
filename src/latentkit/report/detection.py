"""Which rows are odd, how odd they are, and why: what the detector of a run says of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentkit.estimators.detector import AnomalyDetector
from latentkit.estimators.explanations import AnomalyExplanation
from latentkit.report.cells import text_of
from latentkit.report.charts import contribution_bars, score_histogram
from latentkit.report.language import message, said, say
from latentkit.report.latent import needs_data
from latentkit.report.page import Block, Chart, Method, Panels, Section, Strip, Strips
from latentkit.report.pictures import grid, heat
from latentkit.report.subject import Subject
from latentkit.report.wording import count, first_of, number

__all__ = ["odd_rows"]

Floats = NDArray[np.float64]

#: Rows and images that are shown, columns of each row, and changes of cells that are told, at most.
MOST_ROWS, MOST_IMAGES, MOST_COLUMNS, MOST_CHANGES = 10, 12, 4, 3
#: Flagged rows that a mean is taken over, and columns that are shown of it, at most.
MOST_EXPLAINED, MOST_BARS = 200, 10
#: Nats that a column adds at least where it is shown.
SMALLEST = 0.05


def odd_rows(subject: Subject) -> Section:
    """The part about odd rows; asked for only where there is a detector."""
    detector = subject.detector
    assert detector is not None, "asked only where there is a detector"
    is_text = subject.schema.kind == "text"
    thing, things = _nouns(subject)
    heading = say("Odd {things}", things=things)
    lead = say(
        "The {things} that are least like the others, the oddest first, and what is odd about them. A score says how "
        "surprising each is: one nat more is about e times as rare.",
        things=things,
    )
    if subject.sample is None:
        return Section(
            key="odd", heading=heading, lead=lead, blocks=[needs_data(say("Scores of {things}", things=things))]
        )
    scores = -detector.score_samples(subject.sample.data)
    order = np.argsort(-scores, kind="stable")
    n_flagged = int((scores > -detector.offset_).sum())
    most = MOST_IMAGES if subject.is_images else MOST_ROWS
    shown = order[: most if subject.is_images else max(most, min(n_flagged, MOST_EXPLAINED))]
    data = subject.rows_of(subject.sample.rows[shown])
    explanation = detector.explain(data)
    found = _Found(
        data=data,
        explanation=explanation,
        labels=[say("{thing} {n:,}", thing=say(thing), n=subject.sample.rows[place]) for place in shown[:most]],
        details=[
            say(
                "{score:.1f} nats, p = {p_value}{flagged}",
                score=score,
                p_value=number(p_value, 2),
                flagged=say(", flagged") if score > explanation.threshold else "",
            )
            for score, p_value in zip(explanation.scores[:most], detector.p_values(data), strict=False)
        ],
    )
    charts = [_histogram(subject, scores, n_flagged, explanation.threshold)]
    if not subject.is_images and not is_text and n_flagged > 1:
        charts.append(_columns(subject, explanation, n_flagged))
    show = _images if subject.is_images else _texts if is_text else _rows
    return Section(
        key="odd",
        heading=heading,
        lead=lead,
        blocks=[Panels(charts=charts, size="large"), show(subject, found)],
        method=[_method(subject, detector)],
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    """The oddest rows, and what is said of them; those that are shown come first."""

    data: Any
    explanation: AnomalyExplanation
    labels: Sequence[str]
    details: Sequence[str]


def _nouns(subject: Subject) -> tuple[str, str]:
    """What an example is called, a message, and what examples are called in the language of the page."""
    if subject.is_images:
        return message("image"), say("images")
    return subject.noun, subject.nouns


def _histogram(subject: Subject, scores: Floats, n_flagged: int, cut: float) -> Chart:
    thing, things = _nouns(subject)
    flagged = say("{things} of {n:,} flagged", things=count(n_flagged, thing), n=len(scores))
    return Chart(
        name="odd-scores",
        art=score_histogram(scores, cut, things=things),
        heading=say("Scores"),
        caption=say(
            "{flagged}. The axis of counts is logarithmic, so that single {things} are seen.",
            flagged=flagged,
            things=things,
        ),
        alternative=say(
            "Histogram of scores. {flagged}, above {cut} nats; the median is {median}, the largest {largest}.",
            flagged=flagged,
            cut=number(cut, 3),
            median=number(float(np.median(scores)), 3),
            largest=number(float(scores.max()), 3),
        ),
    )


def _columns(subject: Subject, explanation: AnomalyExplanation, n_flagged: int) -> Chart:
    """What flagged rows are odd in, on average."""
    n = min(n_flagged, MOST_EXPLAINED)
    means = explanation.contributions[:n].mean(0)
    order = [int(j) for j in np.argsort(-means, kind="stable")[:MOST_BARS] if means[j] > 0]
    order = order or [int(means.argmax())]
    names = [_names(subject)[j] for j in order]
    values = np.maximum(means[order], 0.0)
    those = (
        say("the {n} oddest of {n_flagged:,} flagged rows", n=n, n_flagged=n_flagged)
        if n < n_flagged
        else say("{n} flagged rows", n=n)
    )
    return Chart(
        name="odd-columns",
        art=contribution_bars(values, names, largest=max(float(values.max()), 1e-9)),
        heading=say("What is odd about flagged rows"),
        caption=say(
            "What each column adds to the score, nats, as a mean over {those}.{more}",
            those=those,
            more=first_of(len(order), len(means)),
        ),
        alternative=say(
            "Bar chart of the mean contribution of {columns}, from {first} ({largest} nats) to {last} "
            "({smallest} nats).",
            columns=count(len(order), "column"),
            first=names[0],
            largest=number(float(values[0]), 2),
            last=names[-1],
            smallest=number(float(values[-1]), 2),
        ),
    )


def _rows(subject: Subject, found: _Found) -> Block:
    """Each row with what its columns add to the score."""
    assert subject.detector is not None, "asked only where there is a detector"
    explanation, rows = found.explanation, subject.detector.model_.rows
    names = _names(subject)
    values = rows.values(found.data)
    largest = max(float(explanation.contributions[: len(found.labels)].max()), 1e-9)
    strips = []
    for place, (label, detail) in enumerate(zip(found.labels, found.details, strict=True)):
        given = explanation.contributions[place]
        order = [int(j) for j in np.argsort(-given, kind="stable")[:MOST_COLUMNS] if given[j] >= SMALLEST]
        order = order or [int(given.argmax())]
        cells = [f"{names[j]} = {text_of(rows.cell(j, values[place, j]))}" for j in order]
        told = _sentence(explanation, place, [names[j] for j in order[:3]], names)
        chart = Chart(
            name=f"odd-{place + 1}",
            art=contribution_bars(np.maximum(given[order], 0.0), cells, largest=largest),
            caption=told,
            alternative=f"{label}, {detail}. {told}",
        )
        strips.append(Strip(label=label, detail=detail, chart=chart))
    caption = say(
        "What columns add to the score, nats; the longest bar of all rows sets the scale. Rows are counted from 0."
    )
    return Strips(strips=strips, caption=caption)


def _texts(subject: Subject, found: _Found) -> Block:
    """Each text with what its tokens add to the score."""
    explanation = found.explanation
    largest = max(float(explanation.contributions[: len(found.labels)].max()), 1e-9)
    texts, strips = subject.schema.read(found.data), []
    for place, (label, detail) in enumerate(zip(found.labels, found.details, strict=True)):
        given, tokens = explanation.contributions[place], explanation.tokens[place]
        order = [int(j) for j in np.argsort(-given, kind="stable")[:MOST_COLUMNS] if given[j] >= SMALLEST]
        order = sorted(order or [int(given.argmax())])
        pieces = [text_of(_piece(tokens[j].piece)) for j in order]
        changes = [
            say("“{normal}” instead of “{value}”", normal=_piece(change.normal), value=_piece(change.value))
            for change in explanation.changes[place]
        ]
        rather = say(" More probable would be {changes}.", changes=say(", ").join(changes)) if changes else ""
        chart = Chart(
            name=f"odd-{place + 1}",
            art=contribution_bars(np.maximum(given[order], 0.0), pieces, largest=largest),
            caption=f"“{texts[place]}”{rather}",
            alternative=f"{label}, {detail}.{rather}",
        )
        strips.append(Strip(label=label, detail=detail, chart=chart))
    caption = say(
        "What tokens add to the score, nats; the longest bar of all texts sets the scale. Texts are counted from 0."
    )
    return Strips(strips=strips, caption=caption)


def _piece(piece: str) -> str:
    """A piece of a text, without the blanks around it."""
    return piece.strip() or (say("a blank") if piece else say("its end"))


def _sentence(explanation: AnomalyExplanation, place: int, because: Sequence[str], names: dict[str | int, str]) -> str:
    """Why a row is odd, in words, and what would make it normal."""
    listed = (
        because[0]
        if len(because) == 1
        else say("{others} and {last}", others=say(", ").join(because[:-1]), last=because[-1])
    )
    if explanation.scores[place] <= explanation.threshold:
        return say("Not flagged; oddest in {listed}.", listed=listed)
    changes = explanation.changes[place]
    told = [
        say(
            "{name} {normal} instead of {value}",
            name=names[change.column],
            normal=text_of(change.normal),
            value=text_of(change.value),
        )
        for change in changes[:MOST_CHANGES]
    ]
    if not told:
        return say("Odd in {listed}.", listed=listed)
    more = len(changes) - len(told)
    rest = say(", and {cells} more", cells=count(more, "cell")) if more else ""
    return say(
        "Odd in {listed}. Normal would be {changes}{rest}.", listed=listed, changes=say(", ").join(told), rest=rest
    )


def _names(subject: Subject) -> dict[str | int, str]:
    """What the page calls each column, by its place and by what the detector calls it."""
    assert subject.detector is not None, "asked only where there is a detector"
    given = subject.detector.model_.rows.columns
    # rows without names of columns have numbers, which the page puts a word before
    shown = given if subject.is_table else subject.feature_names
    names: dict[str | int, str] = dict(zip(given, shown, strict=True))
    return {**names, **dict(enumerate(shown))}


def _images(subject: Subject, found: _Found) -> Block:
    """Each image, what its pixels add to the score, and a similar image of training that is normal."""
    explanation = found.explanation
    images, nearest = (_pictures(subject, x) for x in (found.data, explanation.counterparts))
    heats = explanation.contributions.reshape(len(images), *images.shape[1:3], -1).sum(-1)
    charts = [
        Chart(
            name=f"odd-{place + 1}",
            art=grid(heat(images[place], heats[place], nearest[place]), columns=3),
            heading=label,
            caption=detail,
            alternative=say(
                "{label}, {detail}; beside it what its pixels add to the score, and the nearest image of training.",
                label=label,
                detail=detail,
            ),
        )
        for place, (label, detail) in enumerate(zip(found.labels, found.details, strict=True))
    ]
    return Panels(
        charts=charts,
        size="small",
        caption=say(
            "Left the image, in the middle what its pixels add to the score, the lighter the more, and "
            "right a similar image of training that is normal. Images are counted from 0."
        ),
    )


def _pictures(subject: Subject, data: object) -> NDArray[np.uint8]:
    return subject.pictures(subject.schema.to_model(subject.schema.encode(data)).float())


def _method(subject: Subject, detector: AnomalyDetector) -> Method:
    """How the scores came about, in words."""
    thing, things = _nouns(subject)
    parts = say(", ").join(said(name.replace("_", " ")) for name in detector.parts_)
    n = len(detector.reference_)
    held_out = (
        say("held out of training")
        if detector.is_held_out_
        else say("of training, which makes it a guide, no guarantee")
    )
    what = say("pixels") if subject.is_images else say("tokens") if subject.is_text else say("columns")
    shared = say("shares of its parts") if thing == "text" else say("Aumann-Shapley values and integrated gradients")
    return Method(
        say("Odd {things}", things=things),
        say(
            "The score of AnomalyDetector: the mean of its parts ({parts}) on one scale, as the negative "
            "log-probability that a normal {thing} is as odd. The cut: {rule}. The p-value is the share "
            "of {rows} that are as odd, {held_out}. No {thing} is compared with its equal, so that those"
            " of training are judged as new ones are. What {what} add are {shared}.",
            parts=parts,
            thing=say(thing),
            rule=said(detector.calibration_.rule),
            rows=count(n, thing),
            held_out=held_out,
            what=what,
            shared=shared,
        ),
    )
