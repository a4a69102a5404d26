"""Figures of a model of texts: what it learnt from, how well it predicts, and how its own texts compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.core.seeds import generator
from latentkit.core.tokens import reached
from latentkit.evaluation import copied_texts, distinct_n, mutual_information, self_bleu, words_of
from latentkit.report.charts import length_histogram
from latentkit.report.choosing import examples
from latentkit.report.language import said, say
from latentkit.report.latent import THRESHOLD, needs_data
from latentkit.report.marking import readable
from latentkit.report.page import Block, Chart, Method, Note, Panels, Section, Table
from latentkit.report.subject import Subject
from latentkit.report.wording import count, number

__all__ = ["parts"]

#: Tokens that are shown, and texts that copies are looked for in, at most.
MOST_TOKENS, MOST_SEARCHED = 40, 100_000
#: Texts without which there are no figures of quality.
FEWEST = 10


def parts() -> dict[str, Callable[[Subject], Section]]:
    """The parts of the report that hold figures of texts, by their keys."""
    return {"texts": _texts, "figures": _figures, "quality": _quality}


def _texts(subject: Subject) -> Section:
    schema = subject.schema
    rows = [(said(name), said(text)) for name, text in schema.summary() if name != "kind"]
    blocks: list[Block] = []
    if subject.sample is not None:
        x = subject.sample.x
        counts = Counter(x[reached(x) & (x != 0)].tolist())
        frequent = [token for token, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_TOKENS]]
        rows.append((say("most frequent"), _pieces(subject, frequent)))
        place = examples(subject, 1, "cut")
        rows.append((say("a text in tokens"), _pieces(subject, schema.rows(x[place])[0])))
        both = subject.texts(x), subject.own_texts
        lengths = [np.array([len(words_of(text)) for text in texts]) for texts in both]
        middles = [float(np.median(each)) for each in lengths]
        chart = Chart(
            name="lengths",
            art=length_histogram(*lengths),
            heading=say("Words in a text"),
            alternative=say(
                "Histogram of the number of words. The median is {of_data} in the data and {of_new} in new texts.",
                of_data=number(middles[0]),
                of_new=number(middles[1]),
            ),
        )
        blocks = [Panels(charts=[chart], size="medium")]
    return Section(
        key="texts",
        heading=say("What it learnt from"),
        lead=say("A text is cut into tokens, and written token by token. How it is cut was learnt from the data."),
        short=say("Texts"),
        blocks=[Table(rows=rows), *blocks],
        method=[
            Method(
                say("Words"),
                say("What stands between blanks; in scripts that are written without blanks, each character is one."),
            )
        ],
    )


def _pieces(subject: Subject, tokens: list[int]) -> str:
    """Tokens as people read them, with a sign for a blank."""
    return " · ".join(readable(piece).replace(" ", "␣") for piece in subject.schema.vocabulary.pieces(tokens))


def _figures(subject: Subject) -> Section:
    heading, short = say("How well texts are predicted"), say("Figures")
    lead = say(
        "What a text costs given what the model knows, and how much of it the latent vector says. A "
        "decoder that does without z has a good likelihood and a useless latent space: look at both."
    )
    if subject.sample is None:
        return Section(key="figures", heading=heading, lead=lead, blocks=[needs_data(say("Figures"))], short=short)
    places, n_importance = subject.scored
    bounds, found = subject.likelihood.log_likelihood.double(), subject.perplexity
    error = float(bounds.std()) / len(bounds) ** 0.5 if len(bounds) > 1 else float("nan")
    n_tokens = int(subject.schema.lengths(subject.sample.x[places]).sum())
    rows = [
        (say("nats a text"), f"{number(found.nats / found.n_texts)} ± {number(error, 2)}"),
        (say("nats a token"), number(found.nats / n_tokens)),
        (say("perplexity of a word"), number(found.per_word)),
        (say("bits a byte"), number(found.bits_per_byte)),
    ]
    means, log_vars = subject.posterior
    method = [
        Method(
            say("Nats, perplexity, bits"),
            say(
                "The negative bound on log p(x) with K = {n_importance}, over {computed_with}: divided by "
                "texts, by tokens, by words (and the exponential of that), by bytes (and by log 2). The end "
                "of a text counts as one word and one byte, the line feed of a file. Smaller is better.",
                n_importance=n_importance,
                computed_with=said(found.computed_with),
            ),
        )
    ]
    figures = subject.summary
    if figures is not None and log_vars is not None:
        told = mutual_information(means, log_vars, seed=subject.seed_of("information"))
        rows += [
            ("KL", say("{nats} nats", nats=number(told.kl))),
            (
                say("mutual information"),
                say("{lower} to {upper} nats", lower=number(told.lower, 3), upper=number(told.upper, 3)),
            ),
            (
                say("active dimensions"),
                say("{n} of {total}", n=figures.n_active, total=subject.latent_dim),
            ),
        ]
        method.append(
            Method(
                say("Mutual information"),
                say(
                    "Of texts and latent vectors, between two estimates; {computed_with} (Hoffman and Johnson, "
                    "2016; Poole et al., 2019). KL is the mean of KL(q(z given x), N(0, I)); a dimension is "
                    "active where the posterior mean varies with a variance above {threshold:g}.",
                    computed_with=said(told.computed_with),
                    threshold=THRESHOLD,
                ),
            )
        )
    return Section(
        key="figures",
        heading=heading,
        lead=lead,
        short=short,
        blocks=[Table(rows=rows, caption=say("Per text, per word, and what z carries"), compact=True)],
        method=method,
    )


def _quality(subject: Subject) -> Section:
    """New texts beside real ones; the place for further figures of both."""
    heading, short = say("New texts beside real ones"), say("Quality")
    lead = say(
        "Good new texts differ from each other as much as real ones do, and repeat no more of what "
        "was learnt from than other real texts do."
    )
    if subject.sample is None:
        blocks: list[Block] = [needs_data(say("Figures that compare new texts with real ones"))]
        return Section(key="quality", heading=heading, lead=lead, blocks=blocks, short=short)
    split = subject.split
    if split is None or min(map(len, split)) < FEWEST:
        why = say("These figures take the texts of the fit, with at least ten that were held out. Give them with:")
        note = Note(text=why, command="latentkit report RUN DATA")
        return Section(key="quality", heading=heading, lead=lead, blocks=[note], short=short)
    made = subject.own_texts
    train = _some(subject, split[0], MOST_SEARCHED)
    held_out = _some(subject, split[1], len(made))
    new = made[: len(held_out)]
    copies = copied_texts(new, train, held_out)
    rows = [
        (say("different {what}", what=what), distinct_n(new, n), distinct_n(held_out, n), say("near to real ones"))
        for n, what in enumerate((say("words"), say("pairs of words"), say("runs of three words")), start=1)
    ]
    rows += [
        (say("likeness to each other (self-BLEU)"), self_bleu(new), self_bleu(held_out), say("near to real ones")),
        (say("copies of whole texts"), copies.whole, copies.whole_floor, say("low")),
        (say("longest copied run"), copies.run, copies.run_floor, say("near to real ones")),
    ]
    return Section(
        key="quality",
        heading=heading,
        lead=lead,
        short=short,
        blocks=[
            Table(
                header=[say("figure"), say("new texts"), say("held-out texts"), say("better is")],
                rows=[(name, _percent(value), _percent(floor), better) for name, value, floor, better in rows],
                numeric=(1, 2),
                caption=say("{new_texts} and as many that were held out", new_texts=count(len(new), "new text")),
            ),
            Note(
                text=say("Whether they read like real ones, too, is measured by:"),
                command="latentkit evaluate RUN DATA",
            ),
        ],
        method=[
            Method(
                say("New texts beside real ones"),
                say(
                    "Copies are looked for in {texts} of training; a run is the longest one that stands in any of"
                    " them, as a share of the text's words. Self-BLEU: runs of up to four words, each text "
                    "against all others of its set. Data of as many texts as the fit had are taken for those of "
                    "the fit.",
                    texts=count(len(train), "text"),
                ),
            )
        ],
    )


def _some(subject: Subject, rows: torch.Tensor, n: int) -> list[str]:
    """Up to n texts as the model sees them, drawn with the run's seed."""
    chosen = torch.randperm(len(rows), generator=generator(subject.seed, "report", "compared"))[:n]
    found: NDArray[np.int64] = rows[chosen.sort().values].numpy()
    texts: list[str] = subject.schema.texts(subject.schema.encode(subject.rows_of(found)))
    return texts


def _percent(share: Any) -> str:
    return f"{number(100 * share, 3)} %"
