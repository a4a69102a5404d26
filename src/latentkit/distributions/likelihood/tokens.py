"""Texts: sequences of tokens, each given those before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer, check_real
from latentkit.core.tokens import TokenCodes, reached
from latentkit.distributions.likelihood.columns import drawn_codes
from latentkit.distributions.likelihood.family import Likelihood, likelihoods
from latentkit.distributions.likelihood.utf8 import Utf8
from latentkit.distributions.noise import drawn_shape, uniform
from latentkit.distributions.precision import at_least_float32

__all__ = ["Drawing", "TokenContext", "Tokens", "TokensLikelihood"]


class TokenContext(Protocol):
    """A decoder that sees the tokens before each place; see :class:`~latentkit.nn.TokenDecoder`."""

    def log_probs(self, z: Tensor, x: Tensor, seen: Tensor) -> Tensor:
        """Log-probability of each token of x, shape (batch, length), 0 behind the end, where `seen` stands before."""
        ...

    def begin(self, z: Tensor) -> TokenWalk:
        """Texts that have not begun, for z of shape (batch, latent)."""
        ...


class TokenWalk(Protocol):
    """Texts that become known token by token; see :class:`~latentkit.nn.SequenceWalk`."""

    def add(self, tokens: Tensor) -> TokenWalk:
        """Take in the next token of each text, shape (batch,)."""
        ...

    def logits(self) -> Tensor:
        """Logits of the next token of each text, shape (batch, n_tokens)."""
        ...

    def take(self, rows: Tensor) -> None:
        """Keep these rows alone, in this order."""
        ...


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    r"""How the next token is chosen out of its distribution.

    .. math:: \tilde p(t) \propto p(t)^{1/T} \; [t \in A]

    with A the `top_k` most probable tokens, and of these the fewest whose probabilities sum to `top_p`.

    Attributes:
        temperature: T, at least 0; 0 takes the most probable token.
        top_k: How many tokens are left to choose from; None for all.
        top_p: What their probabilities sum to, in (0, 1]; 1 for all.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Fan et al., 2018, Hierarchical Neural Story Generation, arXiv:1805.04833 (top k); Holtzman et al., 2020, The
        Curious Case of Neural Text Degeneration, arXiv:1904.09751 (nucleus, top p).

    Example:
        >>> Drawing(top_k=1).masses(torch.tensor([[0.0, 1.0, 2.0]]))
        tensor([[0., 0., 1.]])
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        check_real("temperature", self.temperature, low=0.0)
        check_real("top_p", self.top_p, low=0.0, high=1.0, inclusive=(False, True))
        if self.top_k is not None:
            check_integer("top_k", self.top_k, low=1)

    def masses(self, logits: Tensor) -> Tensor:
        """Return the probabilities of the tokens, shape (batch, n_tokens)."""
        if self.temperature == 0.0:
            return functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits)
        masses = torch.softmax(logits / self.temperature, -1)
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            least = masses.topk(self.top_k, -1).values[:, -1:]
            masses = masses.masked_fill(masses < least, 0.0)
        if self.top_p < 1.0:
            ordered, places = (masses / masses.sum(-1, keepdim=True)).sort(-1, descending=True)
            outside = ordered.cumsum(-1) - ordered >= self.top_p
            masses = masses.scatter(-1, places, ordered.masked_fill(outside, 0.0))
        return masses / masses.sum(-1, keepdim=True)


@final
class Tokens:
    r"""A text given z, token by token, up to token 0, which ends it.

    .. math:: \log p(x \mid z) = \sum_{t=1}^{n} \log p(x_t \mid x_{<t}, z)

    Of a text that has no end within the places of an event the tokens there count, and no end.

    Args:
        parameters: What the decoder gives for z, shape (*batch, latent).
        family: The likelihood that it belongs to.
        context: The decoder.
        training: Whether words are hidden from the decoder.
    """

    __slots__ = ("_context", "_training", "family", "parameters")

    def __init__(self, parameters: Tensor, family: TokensLikelihood, context: TokenContext, *, training: bool) -> None:
        self.parameters, self.family = parameters, family
        self._context, self._training = context, training

    @property
    def mode(self) -> Tensor:
        """The text whose every token is the most probable one given those before it, shape (*batch, max_length)."""
        return self.drawn(Drawing(temperature=0.0))

    @property
    def mean(self) -> Tensor:
        """:attr:`mode`: tokens have no mean."""
        return self.mode

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-probability of texts in nats, shape (*batch,); of tokens with a false `mask` none is counted."""
        found = self.log_prob_tokens(value)
        return (found if mask is None else found.masked_fill(~mask, 0.0)).sum(-1)

    def log_prob_tokens(self, value: Tensor) -> Tensor:
        """Parts of :meth:`log_prob` by place, shape (*batch, length), 0 behind the end."""
        lead = tuple(torch.broadcast_shapes(value.shape[:-1], self.parameters.shape[:-1]))  # type: ignore[no-untyped-call]
        x, z = (part.expand(*lead, part.shape[-1]).reshape(-1, part.shape[-1]) for part in (value, self.parameters))
        found = self._context.log_probs(z, x, self._hidden(x) if self._training else x)
        return at_least_float32(found).reshape(*lead, -1)

    def begin(self) -> TokenWalk:
        """Texts that have not begun, one for each z; `parameters` are of shape (batch, latent)."""
        return self._context.begin(self.parameters)

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Texts, shape (*batch, max_length) or (n, *batch, max_length), as they come; no gradient."""
        return self.drawn(Drawing(), n, generator=generator)

    def likeliest(self, n_beams: int = 4) -> Tensor:
        r"""The most probable texts that a beam search finds, shape (*batch, max_length).

        Of all texts begun, the `n_beams` most probable ones go on by a token; a text that ends is kept if none that has
        ended is more probable. One beam is :attr:`mode`; more never find a text that is less probable than theirs, and
        favour short ones, which are the more probable.

        Args:
            n_beams: Texts that are followed for each z, at least 1.
        """
        n = check_integer("n_beams", n_beams, low=1, high=self.family.codes.n_tokens - 1)
        z = self.parameters.reshape(-1, self.parameters.shape[-1])
        length, rows = self.family.codes.max_length, torch.arange(len(z), device=z.device)
        utf8 = self.family.utf8
        best, best_score = self.mode.reshape(len(z), length), torch.full((len(z),), -torch.inf, device=z.device)
        if n > 1:
            best_score = self.log_prob(best.reshape(*self.parameters.shape[:-1], length)).reshape(-1)
        with torch.no_grad():
            walk = self._context.begin(z.repeat_interleave(n, 0))
            scores = torch.full((len(z), n), -torch.inf, device=z.device)
            scores[:, 0] = 0.0
            states = torch.zeros(len(z) * n, dtype=torch.long, device=z.device)
            texts = torch.zeros(len(z), n, length, dtype=torch.long, device=z.device)
            for place in range(length if n > 1 else 0):
                steps = torch.log_softmax(at_least_float32(walk.logits()), -1)
                if utf8 is not None:
                    steps = steps.masked_fill(utf8.is_ruled_out(states, length - 1 - place), -torch.inf)
                totals = scores.unsqueeze(-1) + steps.reshape(len(z), n, -1)
                ended, beams = totals[..., 0].max(-1)
                better = ended > best_score
                best_score = torch.where(better, ended, best_score)
                best = torch.where(better.unsqueeze(-1), texts[rows, beams], best)
                scores, chosen = totals[..., 1:].flatten(1).topk(n, -1)
                beams, tokens = chosen // (totals.shape[-1] - 1), chosen % (totals.shape[-1] - 1) + 1
                texts = texts[rows.unsqueeze(-1), beams]
                texts[..., place] = tokens
                if place == length - 1:  # texts of all places have no end
                    better = scores[:, 0] > best_score
                    best = torch.where(better.unsqueeze(-1), texts[:, 0], best)
                elif bool((scores[:, 0] <= best_score).all()):
                    break
                followed = (rows.unsqueeze(-1) * n + beams).flatten()
                walk.take(followed)
                walk.add(tokens.flatten())
                if utf8 is not None:
                    states = utf8.after(states[followed], tokens.flatten())
        return best.reshape(*self.parameters.shape[:-1], length)

    def drawn(self, drawing: Drawing, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Texts whose tokens are chosen in a way of one's own, shape (*batch, max_length), or with n in front."""
        parts = list(self.written(drawing, n, generator=generator))
        lead, length = drawn_shape(n, self.parameters.shape[:-1]), self.family.codes.max_length
        whole = torch.stack(parts, -1) if parts else self.parameters.new_zeros(*lead, 0, dtype=torch.long)
        return functional.pad(whole, (0, length - whole.shape[-1]))

    def written(
        self, drawing: Drawing, n: int | None = None, *, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """Yield the tokens of each place as they are chosen, shape (*batch,) or (n, *batch), until all have ended.

        All random numbers of a text are drawn at the start, text by text: the next text from the same generator is the
        next one of a batch.
        """
        lead, length = drawn_shape(n, self.parameters.shape[:-1]), self.family.codes.max_length
        z = self.parameters.expand(*lead, -1).reshape(-1, self.parameters.shape[-1])
        like = z.new_empty((), dtype=torch.promote_types(z.dtype, torch.float32))
        places = uniform((*lead, length), like=like, generator=generator).reshape(-1, length)
        utf8, states = self.family.utf8, torch.zeros(len(z), dtype=torch.long, device=z.device)
        with torch.no_grad():
            walk = self._context.begin(z)
            writing = torch.ones(len(z), dtype=torch.bool, device=z.device)
            for place in range(length):
                logits = at_least_float32(walk.logits())
                if utf8 is not None:
                    logits = logits.masked_fill(utf8.is_ruled_out(states, length - 1 - place), -torch.inf)
                masses = drawing.masses(logits)
                if drawing.temperature == 0.0:
                    tokens = masses.argmax(-1)
                else:
                    tokens = drawn_codes(masses.log(), places[:, place])
                tokens = torch.where(writing, tokens, 0)
                writing = tokens != 0
                if not bool(writing.any()):
                    return
                yield tokens.reshape(lead)
                walk.add(tokens)
                if utf8 is not None:
                    states = utf8.after(states, tokens)

    def _hidden(self, x: Tensor) -> Tensor:
        """What the decoder sees of the tokens before each place: some words are the unknown one."""
        if not self.family.word_dropout:
            return x
        is_hidden = (torch.rand(x.shape, device=x.device) < self.family.word_dropout) & (x != 0)
        return torch.where(is_hidden, self.family.unknown, x)


@likelihoods.register("tokens")
@final
class TokensLikelihood(Likelihood):
    """Texts, each token by a softmax given z and the tokens before it.

    Args:
        event_shape: (max_length,).
        n_tokens: Number of tokens, the end included.
        word_dropout: Share of the tokens that the decoder does not see while training, so that it has to ask z.
        unknown: Token that stands in their place.
        first_byte: Token of byte 0, behind which those of the others stand, where such there are: texts that are drawn
            are then UTF-8, since what would break a character is left out. None where no token is a byte.

    Attributes:
        codes: Number of tokens and length of a text.
        utf8: What may follow which bytes; None where no token is a byte.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Bowman et al., 2016, Generating Sentences from a Continuous Space, arXiv:1511.06349 (word dropout).
    """

    discrete: ClassVar[bool] = True
    of_texts: ClassVar[bool] = True

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        n_tokens: int = 2,
        word_dropout: float = 0.0,
        unknown: int = 1,
        first_byte: int | None = None,
    ) -> None:
        super().__init__(event_shape, n_parameters=1)
        if len(self.event_shape) != 1:
            raise InvalidParameterError(
                f"likelihood 'tokens' is one of texts, of shape (max_length,); got event_shape {self.event_shape}."
            )
        self.codes = TokenCodes(n_tokens, self.event_shape[0])
        self.word_dropout = check_real("word_dropout", word_dropout, low=0.0, high=1.0)
        self.unknown = check_integer("unknown", unknown, low=1, high=n_tokens - 1)
        self.utf8 = None if first_byte is None else Utf8(n_tokens, first_byte)
        self._context: tuple[TokenContext, ...] = ()

    def look_at(self, decoder: nn.Module) -> None:
        """Give each token those before it, through a decoder that takes them; its weights stay its own."""
        self._context = (decoder,)  # type: ignore[assignment]  # in a tuple, so that it is not registered here

    def forward(self, parameters: Tensor) -> Tokens:
        """Read what a decoder takes beside tokens, shape (*batch, 1, latent)."""
        return Tokens(parameters.squeeze(-2), self, self._context[0], training=self.training)

    def initial_parameters(self, x: Tensor) -> Tensor:
        """Log-frequency of each token, with one count more for each, shape (1, n_tokens)."""
        counts = torch.bincount(x[reached(x)], minlength=self.codes.n_tokens).to(torch.float32) + 1.0
        return torch.log(counts / counts.sum()).unsqueeze(0)
