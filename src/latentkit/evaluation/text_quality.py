"""All figures of texts that a model made up, each beside what real texts have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import generator
from latentkit.data.text import to_texts
from latentkit.evaluation.copied_texts import copied_texts
from latentkit.evaluation.figures import Direction, Figure
from latentkit.evaluation.language_model import LanguageModel, schema_of_judges
from latentkit.evaluation.text_overlap import distinct_n, self_bleu

__all__ = ["TextQuality", "text_quality"]

_FEWEST: Final = 10
#: Texts of each set that are compared with each other by BLEU.
_SELF_BLEU: Final = 1000
_IN_PLACE: Final = "held-out texts in place of samples"
_LEARNT_IN_PLACE: Final = "learnt from training texts in place of samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextQuality:
    """How good texts are that a model made up, each figure with what real texts have as its floor.

    Attributes:
        distinct: Share of different runs of one, two and three words: see :func:`distinct_n`. Below the floor, texts
            repeat each other.
        self_bleu: How alike the texts are: see :func:`self_bleu`. Above the floor, they repeat each other.
        whole_copies: Share of texts that are a training text: see :func:`copied_texts`.
        mostly_copied: Share of texts of which more than half is one run of a training text.
        longest_run: Mean share of a text's words in the longest run that stands in a training text.
        forward_perplexity: Perplexity of a word of the samples under a language model of real texts. Above the floor,
            they do not read like real ones; below it, they are plainer than these, so a low one alone is no praise.
        forward_bits: The same in bits a byte, which does not ask what a word is.
        reverse_perplexity: Perplexity of a word of held-out real texts under a language model of samples. Above the
            floor, the samples lack something that real texts have, or hold what they have not.
        reverse_bits: The same in bits a byte.
    """

    distinct: tuple[Figure, Figure, Figure]
    self_bleu: Figure
    whole_copies: Figure
    mostly_copied: Figure
    longest_run: Figure
    forward_perplexity: Figure
    forward_bits: Figure
    reverse_perplexity: Figure
    reverse_bits: Figure

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All of them, in the order above."""
        return (
            *self.distinct,
            self.self_bleu,
            self.whole_copies,
            self.mostly_copied,
            self.longest_run,
            self.forward_perplexity,
            self.forward_bits,
            self.reverse_perplexity,
            self.reverse_bits,
        )

    def summary(self) -> list[tuple[str, str]]:
        """Return the figures for people: name and text of each line."""
        return [
            (figure.name, f"{figure.value:.4g} (real texts {figure.floor:.4g}; {figure.better} is better)")
            for figure in self.figures
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values, by name."""
        return {figure.name: asdict(figure) for figure in self.figures}


def text_quality(
    samples: Sequence[str],
    *,
    train: Sequence[str],
    held_out: Sequence[str],
    max_texts: int = 10_000,
    seed: int = 0,
) -> TextQuality:
    """Compare texts of a model with real ones: how varied they are, whether copied, whether they read like real ones.

    Two language models are trained here, one on training texts and one on as many samples; the first judges the
    samples, the second held-out texts, and the floor of both is the first on held-out texts. The other figures depend
    on the number of texts, too, so as many samples as held-out texts are compared, at most `max_texts`. No figure says
    all: a model that recites has perfect perplexities, and one that always says the same a low forward perplexity.

    Args:
        samples: Texts to judge, at least 10; some thousand for figures that can be compared.
        train: Texts that the model was fitted on, at least 10: all of them, for copies are looked for among all.
        held_out: Real texts that it has not seen, at least 10.
        max_texts: Of each set, but for the search for copies.
        seed: Decides which texts, and the language models.

    Returns:
        The figures, equal for equal texts and seeds.

    Raises:
        InvalidParameterError: If one of the sets has fewer than 10 texts.
        DataError: If something is no text, or the training texts hold no character.

    References:
        Zhao et al., 2018, Adversarially Regularized Autoencoders, arXiv:1706.04223 (forward and reverse perplexity).
    """
    check_integer("max_texts", max_texts, low=_FEWEST)
    made, known, fresh = to_texts(samples), to_texts(train), to_texts(held_out)
    sizes = {"samples": len(made), "train": len(known), "held_out": len(fresh)}
    if min(sizes.values()) < _FEWEST:
        raise InvalidParameterError(f"samples, train and held_out need at least {_FEWEST} texts each; got {sizes}.")
    n_learnt = min(max_texts, len(made), len(known))
    n = min(max_texts, len(made), len(fresh))
    learnt, learnt_made = _drawn(known, n_learnt, seed, "train"), _drawn(made, n_learnt, seed, "samples")
    shown, real = _drawn(made, n, seed, "samples"), _drawn(fresh, n, seed, "held-out")
    few, few_real = shown[:_SELF_BLEU], real[:_SELF_BLEU]
    copies = copied_texts(shown, known, real)
    counted = f"{n:,} samples and as many held-out texts"
    first, second, third = (
        _figure(f"distinct-{k}", distinct_n(shown, k), distinct_n(real, k), counted, "nearer to the floor")
        for k in (1, 2, 3)
    )
    schema = schema_of_judges(learnt)
    judge = LanguageModel(learnt, schema, seed=seed)
    forward, floor = judge.perplexity(shown), judge.perplexity(real)
    # samples without a character are learnt from, too: they end at once
    other = LanguageModel(learnt_made, schema, seed=seed)
    reverse = other.perplexity(real)
    judged = f"{forward.computed_with}; {judge.description}, real ones"
    turned = f"{reverse.computed_with}; {other.description}, samples"
    return TextQuality(
        distinct=(first, second, third),
        self_bleu=_figure(
            "self-BLEU",
            self_bleu(few),
            self_bleu(few_real),
            f"runs of up to 4 words, {len(few):,} samples, and as many held-out texts, among each other",
            "nearer to the floor",
        ),
        whole_copies=_figure("copied texts", copies.whole, copies.whole_floor, copies.computed_with, group="copies"),
        mostly_copied=_figure(
            "texts mostly copied", copies.mostly, copies.mostly_floor, copies.computed_with, group="copies"
        ),
        longest_run=_figure("longest copied run", copies.run, copies.run_floor, copies.computed_with, group="copies"),
        forward_perplexity=_figure(
            "forward perplexity, word", forward.per_word, floor.per_word, judged, "nearer to the floor"
        ),
        forward_bits=_figure(
            "forward bits, byte", forward.bits_per_byte, floor.bits_per_byte, judged, "nearer to the floor"
        ),
        reverse_perplexity=_figure(
            "reverse perplexity, word", reverse.per_word, floor.per_word, turned, floor_of=_LEARNT_IN_PLACE
        ),
        reverse_bits=_figure(
            "reverse bits, byte", reverse.bits_per_byte, floor.bits_per_byte, turned, floor_of=_LEARNT_IN_PLACE
        ),
    )


def _figure(
    name: str,
    value: float,
    floor: float,
    computed_with: str,
    better: Direction = "lower",
    floor_of: str = _IN_PLACE,
    group: str = "samples",
) -> Figure:
    return Figure(
        name=name,
        value=value,
        better=better,
        floor=floor,
        floor_of=floor_of,
        computed_with=computed_with,
        group=group,
    )


def _drawn(texts: Sequence[str], n: int, seed: int, name: str) -> list[str]:
    order = torch.randperm(len(texts), generator=generator(seed, "text-quality", name))[:n]
    return [texts[row] for row in order.tolist()]
