"""What a model of texts makes: texts beside texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit.distributions import Drawing
from latentkit.estimators.encoding import WAY_TEMPERATURE
from latentkit.report import text_figures
from latentkit.report.choosing import examples, pairs_of_classes
from latentkit.report.images import by_class_method
from latentkit.report.language import message, say
from latentkit.report.latent import latents_of, most, needs_data, needs_labels, unit
from latentkit.report.marking import differing, plain
from latentkit.report.page import Block, Method, Note, Section, TextLine, TextList, Texts
from latentkit.report.subject import Subject
from latentkit.report.wording import count, first_of, number
from latentkit.tasks import interpolate_texts, traverse

__all__ = ["parts"]

#: New texts of each temperature and of each class, and classes, at most.
N_SAMPLES, N_OF_CLASS, MOST_CLASSES = 8, 4, 12
#: Temperatures that new texts are shown at.
TEMPERATURES = (1.0, 0.7)
#: Reconstructions, ways between two texts with their steps, dimensions with theirs, and odd texts.
N_REBUILT, N_WAYS, WAY_STEPS, N_DIMENSIONS, DIMENSION_STEPS, N_ODD = 12, 3, 7, 6, 7, 8
#: How words are marked where each text comes out of the one before.
MARKED = message("Words that the line before does not have there are underlined")


def parts() -> dict[str, Callable[[Subject], Section]]:
    """The parts of the report that are those of texts, by their keys."""
    return {
        **text_figures.parts(),
        "samples": _samples,
        "classes": _by_class,
        "reconstructions": _reconstructions,
        "traversals": _traversals,
        "interpolations": _interpolations,
        "unlikely": _odd_and_ordinary,
    }


def _samples(subject: Subject) -> Section:
    seed = subject.seed_of("samples")
    lists = [
        TextList(
            heading=say("Temperature {temperature:g}", temperature=temperature),
            detail=what,
            lines=_lines(subject.estimator.sample(N_SAMPLES, temperature=temperature, random_state=seed)),
        )
        for temperature, what in zip(
            TEMPERATURES, (say("as the model has learnt it"), say("plainer words")), strict=True
        )
    ]
    return Section(
        key="samples",
        heading=say("New texts"),
        lead=say("Texts that nobody wrote, from random latent vectors. None was picked by hand."),
        blocks=[Texts(lists=lists)],
        method=[
            Method(
                say("New texts"),
                say(
                    "Latent vectors drawn with the run's seed, {origin}, the same ones for both temperatures, and"
                    " for each a draw of every token given those before it. Temperature T raises the "
                    "probabilities of tokens to the power 1/T.",
                    origin=subject.origin,
                ),
            )
        ],
    )


def _by_class(subject: Subject) -> Section:
    heading, lead = say("New texts by class"), say("New texts of one class at a time.")
    names = subject.groups
    if not names:
        return Section(key="classes", heading=heading, lead=lead, blocks=[needs_labels()], short=say("Classes"))
    lists = [TextList(heading=name, lines=_lines(_of_class(subject, name))) for name in names[:MOST_CLASSES]]
    caption = say(
        "Temperature {temperature:g}.{more}",
        temperature=TEMPERATURES[1],
        more=first_of(MOST_CLASSES, len(names), "class", "classes"),
    )
    return Section(
        key="classes",
        heading=heading,
        lead=lead,
        short=say("Classes"),
        blocks=[Texts(lists=lists, caption=caption)],
        method=[by_class_method(subject)],
    )


def _of_class(subject: Subject, name: str) -> Any:
    seed = subject.seed_of(f"class {subject.groups.index(name)}")
    if subject.estimator.classes_:
        return subject.estimator.sample(N_OF_CLASS, label=name, temperature=TEMPERATURES[1], random_state=seed)
    return subject.estimator.given(name).sample(N_OF_CLASS, temperature=TEMPERATURES[1], random_state=seed)


def _reconstructions(subject: Subject) -> Section:
    heading = say("Reconstructions")
    lead = say(
        "Each text, and below it what is left after the way through the latent vector and back. A "
        "latent space of sentences keeps the matter and the form of a text rather than its words."
    )
    if subject.sample is None:
        return Section(key="reconstructions", heading=heading, lead=lead, blocks=[needs_data(say("Reconstructions"))])
    places = examples(subject, N_REBUILT, "reconstructions")
    lists = [
        TextList(
            heading=_name(subject, int(place)),
            form="scale",
            lines=[
                TextLine(pieces=plain(before), label=say("original")),
                TextLine(pieces=differing(after, before), label=say("becomes")),
            ],
        )
        for place, before, after in zip(places, subject.seen(places), _again(subject, places), strict=True)
    ]
    return Section(
        key="reconstructions",
        heading=heading,
        lead=lead,
        blocks=[Texts(lists=lists, caption=say("Words that the original does not have there are underlined."))],
        method=[
            Method(
                say("Reconstructions"),
                say(
                    "The most probable token each time, given the {latents} and the tokens before. The texts "
                    "were chosen by the run's seed, the classes in turns where there are labels.",
                    latents=latents_of(subject),
                ),
            )
        ],
    )


def _traversals(subject: Subject) -> Section:
    lists = []
    if subject.sample is not None:
        place = int(examples(subject, 1, "traversal")[0])
        start = subject.posterior[0][place : place + 1]
        origin = say("row {row:,} of the data", row=subject.sample.rows[place])
        [text] = subject.seen(np.array([place]))
        lists.append(TextList(heading=say("The start"), detail=_name(subject, place), lines=_lines([text])))
    else:
        start = subject.scale()[0][None]
        origin = say("z = 0, the centre of the prior")
    for dim in subject.dimensions[:N_DIMENSIONS].tolist():
        with torch.inference_mode():
            values = subject.walk(dim, DIMENSION_STEPS).to(subject.device)
            x = traverse(subject.model, start.to(subject.device), dim, values=values)
        labels = [number(float(at), 2) for at in torch.linspace(-3.0, 3.0, DIMENSION_STEPS)]
        lines = _steps(_texts(subject, x), labels)
        lists.append(
            TextList(heading=say("dimension {dim}", dim=dim), detail=subject.weight(dim), form="scale", lines=lines)
        )
    ranked = "" if subject.sample is not None else say(" Ranked by texts of the model itself, as no data were given.")
    return Section(
        key="traversals",
        heading=say("Traversals"),
        lead=say("One latent number moves from −3 to 3 while the others stay: what does this dimension mean?"),
        blocks=[
            Texts(
                lists=lists,
                caption=say(
                    "The dimensions {most}; all start from {origin}. {marked}.{ranked}",
                    most=most(subject),
                    origin=origin,
                    marked=say(MARKED),
                    ranked=ranked,
                ),
            )
        ],
        method=[
            Method(
                say("Traversals"),
                say(
                    "{steps} evenly spaced values of one dimension in units of {unit}; the other "
                    "dimensions keep the posterior mean of {origin}. The most probable token each time; equal "
                    "texts stand once.",
                    steps=DIMENSION_STEPS,
                    unit=unit(subject),
                    origin=origin,
                ),
            )
        ],
    )


def _interpolations(subject: Subject) -> Section:
    heading = say("Ways between two texts")
    lead = say("From one text to another through the latent space: each step should be a text, and near to the last.")
    if subject.sample is None:
        blocks: list[Block] = [needs_data(say("Ways between texts"))]
        return Section(key="interpolations", heading=heading, lead=lead, blocks=blocks, short=say("Ways"))
    means, drawing = subject.posterior[0].to(subject.device), Drawing(temperature=WAY_TEMPERATURE)
    lists = []
    for ends in pairs_of_classes(subject, N_WAYS):
        first, last = (place for place in ends)
        with torch.inference_mode():
            x = interpolate_texts(subject.model, means[[first]], means[[last]], drawing, steps=WAY_STEPS)
        start, end = subject.seen(np.array(ends))
        lines = [
            TextLine(pieces=plain(start), label=say("from {name}", name=_name(subject, first))),
            *_steps(_texts(subject, x), [""] * WAY_STEPS, before=start),
            TextLine(pieces=plain(end), label=say("to {name}", name=_name(subject, last))),
        ]
        lists.append(TextList(lines=lines, form="way"))
    caption = say("The outermost texts are the originals. {marked}; equal steps stand once.", marked=say(MARKED))
    blocks = [Texts(lists=lists, caption=caption)] if lists else [Note(text=say("It takes two texts to go between."))]
    return Section(
        key="interpolations",
        heading=heading,
        lead=lead,
        short=say("Ways"),
        blocks=blocks,
        method=[
            Method(
                say("Ways between two texts"),
                say(
                    "{steps} steps on a spherical path between two {latents} (White, 2016), drawn at temperature "
                    "{temperature:g} with the same random numbers each, so that a text changes with z alone. The "
                    "pairs were chosen by the run's seed, of different classes where there are labels.",
                    steps=WAY_STEPS,
                    temperature=WAY_TEMPERATURE,
                    latents=latents_of(subject, many=True),
                ),
            )
        ],
    )


def _odd_and_ordinary(subject: Subject) -> Section:
    heading, short = say("Odd and ordinary texts"), say("Odd")
    lead = say(
        "Where the model is most surprised, token by token: errors, other languages, rare names. And where least."
    )
    if subject.sample is None:
        return Section(key="unlikely", heading=heading, lead=lead, blocks=[needs_data(say("Scores"))], short=short)
    places, n_importance = subject.scored
    n_tokens = subject.schema.lengths(subject.sample.x[places]).double()
    scores = (subject.likelihood.log_likelihood.double() / n_tokens).numpy()
    order = np.argsort(scores, kind="stable")
    n = max(1, min(N_ODD, len(order) // 2))
    ends = ((say("The oddest"), order[:n]), (say("The most ordinary"), order[::-1][:n]))
    lists = [
        TextList(
            heading=name,
            lines=[
                TextLine(
                    pieces=plain(text),
                    label=say("{nats} nats · {name}", nats=number(scores[at], 3), name=_name(subject, int(places[at]))),
                )
                for at, text in zip(chosen, subject.seen(places[chosen]), strict=True)
            ],
        )
        for name, chosen in ends
    ]
    return Section(
        key="unlikely",
        heading=heading,
        lead=lead,
        short=short,
        blocks=[Texts(lists=lists, caption=say("Nats are those of one token, as a mean over the text."))],
        method=[
            Method(
                say("Odd and ordinary"),
                say(
                    "The bound on log p(x) with K = {n_importance}, divided by the number of tokens of the text, "
                    "its end included, of {texts} of the {n_total:,}; rows are counted from 0.",
                    n_importance=n_importance,
                    texts=count(len(places), "text"),
                    n_total=subject.sample.n_total,
                ),
            )
        ],
    )


def _lines(texts: Any) -> list[TextLine]:
    return [TextLine(pieces=plain(text)) for text in texts]


def _steps(texts: Sequence[str], labels: Sequence[str], *, before: str | None = None) -> list[TextLine]:
    """Texts that come out of each other, equal neighbours once; marked is what the one before does not have there."""
    lines = []
    for text, group in groupby(zip(texts, labels, strict=True), key=lambda step: step[0]):
        at = [label for _, label in group]
        label = at[0] if len(at) == 1 or not at[0] else say("{start} to {end}", start=at[0], end=at[-1])
        lines.append(TextLine(pieces=plain(text) if before is None else differing(text, before), label=label))
        before = text
    return lines


def _name(subject: Subject, place: int) -> str:
    """Where a text stands in the data, and its class."""
    assert subject.sample is not None, "asked only where there are data"
    label = subject.label(place)
    return say("row {row:,}", row=subject.sample.rows[place]) + (f" · {label}" if label else "")


def _again(subject: Subject, places: Any) -> list[str]:
    """Texts of the sample through their posterior means."""
    return subject.texts(subject.decode(subject.posterior[0][places]))


def _texts(subject: Subject, x: Tensor) -> list[str]:
    return subject.texts(x.reshape(-1, *subject.event_shape))
