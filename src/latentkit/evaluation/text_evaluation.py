"""How well a model of texts predicts and rebuilds new ones, what its latents carry, and how good its own texts are."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.tokens import reached
from latentkit.data import TextSchema
from latentkit.evaluation.figures import Figure
from latentkit.evaluation.information import InformationEstimate
from latentkit.evaluation.latents import LatentSummary
from latentkit.evaluation.likelihood import LikelihoodEstimate
from latentkit.evaluation.perplexity import Perplexity
from latentkit.evaluation.text_overlap import bleu
from latentkit.evaluation.text_quality import TextQuality

__all__ = ["TextEvaluation", "reconstruction_figures"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextEvaluation:
    """All figures of a model of texts on texts that it has not learnt.

    Attributes:
        likelihood: Bound on log p(x) of each text, nats.
        perplexity: What the bound comes to for a word and a byte: an upper bound of the model's own.
        latents: KL from N(0, I) and active units.
        information: Mutual information of texts and codes.
        tokens_right: Share of the tokens that stand in their place in the reconstruction.
        reconstruction_bleu: BLEU of the reconstructions with their texts as references.
        samples: Figures of the model's own texts; None where no training texts were given to compare with.
    """

    likelihood: LikelihoodEstimate
    perplexity: Perplexity
    latents: LatentSummary
    information: InformationEstimate
    tokens_right: Figure
    reconstruction_bleu: Figure
    samples: TextQuality | None = None

    @property
    def log_likelihood(self) -> float:
        """Mean of the bound, nats a text."""
        return float(self.likelihood.log_likelihood.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of that mean over the texts, nats."""
        values = self.likelihood.log_likelihood
        return float(values.std() / math.sqrt(len(values)))

    def summary(self) -> list[tuple[str, str]]:
        """Return the figures for people: name and text of each line."""
        draws = self.likelihood.n_importance
        effective = float(self.likelihood.effective_sample_size.median())
        told = self.information
        rebuilt = (
            (
                figure.name,
                f"{figure.value:.1%} ({figure.floor_of}: {figure.floor:.1%}; {figure.computed_with})",
            )
            for figure in (self.tokens_right, self.reconstruction_bleu)
        )
        mean = f"{self.log_likelihood:.2f} ± {self.standard_error:.2f} nats a text"
        predicted = f"{self.perplexity.per_word:.2f} a word, {self.perplexity.bits_per_byte:.3f} bits a byte"
        return [
            ("likelihood", f"{mean} (a lower bound, K = {draws}, median effective sample size {effective:.1f})"),
            ("perplexity", f"{predicted} ({self.perplexity.computed_with})"),
            ("KL", f"{told.kl:.2f} nats from N(0, I)"),
            ("mutual information", f"{told.lower:.2f} to {told.upper:.2f} nats ({told.computed_with})"),
            ("active units", f"{self.latents.n_active} of {len(self.latents.active)}"),
            *rebuilt,
            *(() if self.samples is None else self.samples.summary()),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "log_likelihood_nats": self.log_likelihood,
            "standard_error": self.standard_error,
            "estimator": self.likelihood.estimator,
            "n_importance": self.likelihood.n_importance,
            "median_effective_sample_size": float(self.likelihood.effective_sample_size.median()),
            "n_texts": self.perplexity.n_texts,
            "n_words": self.perplexity.n_words,
            "n_bytes": self.perplexity.n_bytes,
            "perplexity_per_word": self.perplexity.per_word,
            "bits_per_byte": self.perplexity.bits_per_byte,
            "kl_nats": self.information.kl,
            "mutual_information_nats": [self.information.lower, self.information.upper],
            "active_units": self.latents.n_active,
            "latent_dim": len(self.latents.active),
            "reconstruction": {figure.name: asdict(figure) for figure in (self.tokens_right, self.reconstruction_bleu)},
            "samples": None if self.samples is None else self.samples.to_dict(),
        }


def reconstruction_figures(storage: Tensor, again: Tensor, schema: TextSchema) -> tuple[Figure, Figure]:
    r"""Compare reconstructions with their texts, and as the floor with the text before.

    .. math:: A = \frac{1}{\sum_i n_i} \sum_i \sum_{t=1}^{n_i} [x_{it} = \hat x_{it}]

    Args:
        storage: Tokens of texts in random order, shape (n, max_length), n at least 2.
        again: Tokens of their reconstructions, shape (n, max_length).
        schema: What made them.

    Returns:
        The share A of tokens in their place, ends included: what is one place off is wrong. And the BLEU of the
        reconstructions.

    Raises:
        InvalidParameterError: If the shapes differ, or there are fewer than two texts.

    Example:
        >>> from latentkit.data import learn_text_schema
        >>> schema = learn_text_schema(["a b c d", "d c b a"], vocabulary="words")
        >>> x = schema.encode(["a b c d", "d c b a"])
        >>> [(figure.name, figure.value, figure.floor) for figure in reconstruction_figures(x, x, schema)]
        [('tokens rebuilt', 1.0, 0.2), ('BLEU of reconstructions', 1.0, 0.0)]
    """
    if storage.shape != again.shape or len(storage) < 2:
        raise InvalidParameterError(
            f"texts and reconstructions must have one shape (n, max_length), n at least 2; got {tuple(storage.shape)} "
            f"and {tuple(again.shape)}."
        )
    is_reached = reached(storage)
    others = again.roll(1, 0)
    texts = schema.texts(storage)
    rights = [float((storage == rows)[is_reached].double().mean()) for rows in (again, others)]
    alike = [bleu(schema.texts(rows), texts) for rows in (again, others)]
    right, bleu_figure = (
        Figure(
            name=name,
            value=value,
            better="higher",
            floor=floor,
            floor_of="those of other texts",
            computed_with=f"{len(storage):,} texts, the most probable tokens given the posterior mean",
        )
        for name, (value, floor) in (("tokens rebuilt", rights), ("BLEU of reconstructions", alike))
    )
    return right, bleu_figure
