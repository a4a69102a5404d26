"""The codebook of a model whose latents are codes: which are used, what they cost, and where they stand."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.report.charts import usage_bars
from latentkit.report.choosing import examples
from latentkit.report.language import say
from latentkit.report.page import Block, Chart, Method, Panels, Section, Strip, Strips, Table
from latentkit.report.pictures import grid
from latentkit.report.subject import Subject
from latentkit.report.wording import count, number

__all__ = ["codebook"]

#: Examples whose codes are shown, and codes of an example in a table, at most.
N_EXAMPLES, MOST_SLOTS = 8, 12


def codebook(subject: Subject) -> Section:
    """Use of the codes, what they cost, and the codes of some examples."""
    estimator, usage = subject.estimator, subject.usage
    n_used, n_codes = int((usage > 0).sum()), estimator.n_codes_
    chart = Chart(
        name="codes-usage",
        art=usage_bars(usage),
        heading=say(
            "{n_used:,} of {codes} used; perplexity {perplexity}",
            n_used=n_used,
            codes=count(n_codes, "code"),
            perplexity=number(estimator.perplexity_, 3),
        ),
        caption=say("Codes that are never used are capacity that the model does without."),
        alternative=say(
            "Chart of the frequency of each code; the most frequent has {share:.2g} % of all places, and "
            "{n_used:,} of {n_codes:,} occur.",
            share=100 * usage.max(),
            n_used=n_used,
            n_codes=n_codes,
        ),
    )
    return Section(
        key="codes",
        heading=say("Codes"),
        lead=say(
            "Each example is described by a few codes out of a codebook, as a text is by letters. A prior"
            " learns which codes follow which, and writes new ones."
        ),
        blocks=[Panels(charts=[chart], size="large"), _cost(subject), _shown(subject)],
        method=[
            Method(
                say("Codes in use"),
                say(
                    "Frequencies over all places of all the data of fit. The perplexity is the exponential of "
                    "their entropy: the number of codes that, used equally often, would carry as much."
                ),
            ),
            *_how(subject),
        ],
    )


def _cost(subject: Subject) -> Table:
    """Bits of a code where nothing, the frequencies, or the prior are known."""
    places = math.prod(subject.estimator.grid_)
    bits = [
        (say("every code alike"), math.log2(subject.estimator.n_codes_)),
        (say("by their frequencies"), math.log2(subject.estimator.perplexity_)),
    ]
    if subject.sample is not None:
        bits.append((say("by the prior over codes"), subject.bits_per_code))
    return Table(
        header=[
            say("what is known"),
            say("bits per code"),
            say("bits per example ({codes})", codes=count(places, "code")),
        ],
        rows=[[name, number(each, 3), number(each * places, 4)] for name, each in bits],
        numeric=(1, 2),
        caption=say("What the codes cost"),
    )


def _shown(subject: Subject) -> Block:
    """Codes of some examples, as pictures or in a table; of new ones where there are no data."""
    if subject.sample is not None:
        places = examples(subject, N_EXAMPLES, "codes")
        x, z = subject.sample.x[places], subject.posterior[0][places]
        names = [say("row {row:,}", row=subject.sample.rows[place]) for place in places]
    else:
        z = subject.latents(subject.source(), N_EXAMPLES, "codes")
        x, names = None, [say("new {n}", n=index + 1) for index in range(N_EXAMPLES)]
    codes = subject.codes_of(z)
    if not subject.is_images:
        shown = min(codes.shape[1], MOST_SLOTS)
        more = (
            say(" The first {shown} of {slots}.", shown=shown, slots=count(codes.shape[1], "slot"))
            if shown < codes.shape[1]
            else ""
        )
        return Table(
            header=["", *(say("slot {slot}", slot=slot) for slot in range(shown))],
            rows=[[name, *map(str, row[:shown])] for name, row in zip(names, codes.tolist(), strict=True)],
            numeric=range(1, shown + 1),
            caption=(say("Codes of some rows.") if x is not None else say("Codes of new rows.")) + more,
        )
    back = subject.pictures(subject.decode(z))
    maps = code_maps(codes, colours(subject), subject.estimator.grid_, back.shape[1:3])
    decoded = "reconstruction" if x is not None else "new-image"
    label = say("reconstruction") if x is not None else say("new image")
    rows = [("codes", say("codes"), maps, say("Codes")), (decoded, label, back, say("What they decode to"))]
    if x is not None:
        rows.insert(0, ("original", say("original"), subject.pictures(x), say("Originals")))
    strips = [
        Strip(
            label=label,
            chart=Chart(
                name=f"codes-{key}",
                art=grid(images, columns=len(images)),
                alternative=say(
                    "{what} of {examples}, side by side.", what=what, examples=count(len(images), "example")
                ),
            ),
        )
        for key, label, images, what in rows
    ]
    return Strips(strips=strips, caption=say("Codes whose vectors are alike have like colours."))


def colours(subject: Subject) -> NDArray[np.uint8]:
    """A colour for each code, shape (n_codes, 3): ranks along the first three principal components of its vector."""
    quantizer, n_codes = subject.estimator.model_.quantizer, subject.estimator.n_codes_
    with torch.inference_mode():
        vectors = quantizer.vectors(torch.arange(n_codes, device=subject.device)).double().cpu()
    centred = vectors - vectors.mean(0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    along = centred @ axes[:3].T
    ranks = along.argsort(dim=0, stable=True).argsort(dim=0).double() / max(1, n_codes - 1)
    result = torch.full((n_codes, 3), 0.5, dtype=torch.float64)
    result[:, : ranks.shape[1]] = ranks
    return (40 + 200 * result).round().to(torch.uint8).numpy()


def code_maps(
    codes: Tensor, palette: NDArray[np.uint8], places: tuple[int, ...], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Codes as coloured squares, of the size of the images.

    Args:
        codes: Shape (n, places).
        palette: Colour of each code, shape (n_codes, 3).
        places: Sides of the grid; slots are laid out row by row in a rectangle that is as square as can be.
        size: Height and width.

    Returns:
        Shape (n, height, width, 3).
    """
    if len(places) == 1:
        rows = max(side for side in range(1, math.isqrt(places[0]) + 1) if places[0] % side == 0)
        places = (rows, places[0] // rows)
    small = palette[codes.numpy()].reshape(len(codes), *places, 3)
    down, across = (np.arange(n) * side // n for n, side in zip(size, places, strict=True))
    return np.ascontiguousarray(small[:, down][:, :, across])


def _how(subject: Subject) -> list[Method]:
    known = ""
    if subject.sample is not None:
        rows = count(len(subject.scored[0]), "row")
        known = say(
            "; by the prior: the mean of -log2 p(c) over {rows} of these data, without class or condition", rows=rows
        )
    return [
        Method(
            say("What the codes cost"),
            say(
                "Every code alike: the logarithm to base 2 of the size of the codebook; by their frequencies:"
                " that of the perplexity{known}.",
                known=known,
            ),
        )
    ]
