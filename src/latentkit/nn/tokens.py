"""What networks over texts share: embeddings, the softmax over tokens, and texts that become known token by token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.tokens import TokenCodes, reached
from latentkit.nn.activations import initialise
from latentkit.nn.families import NetworkOptions, check_dropout, check_sizes
from latentkit.nn.softmax import Sampled, log_softmax_of

__all__ = ["SequenceWalk", "State", "TokenDecoder", "TokenEncoder", "check_equal_widths", "tokens_of"]

#: What a decoder keeps of the places before, rows of a batch along dimension 1 of each tensor.
State: TypeAlias = tuple[Tensor, ...]

#: Tokens whose logits are computed while training, where there are more than twice as many.
SAMPLED = 2048
#: Bound of the uniform distribution that embeddings start from.
EMBEDDING_SCALE = 0.1


class TokenEncoder(nn.Module, ABC):
    r"""Network from tokens to the parameters of their posterior.

    .. math:: y = W [g(x), c] + b

    with features g of a text up to its end, and what stands behind its tokens, such as a condition c.

    Args:
        codes: The tokens.
        n_outputs: Number of outputs.
        width: Length of an embedding.
        n_features: Length of g(x).
        dropout: Probability in [0, 1), of embeddings.
        n_given: Numbers that stand behind the tokens.
    """

    def __init__(
        self, codes: TokenCodes, n_outputs: int, *, width: int, n_features: int, dropout: float, n_given: int
    ) -> None:
        super().__init__()
        self.n_given = n_given
        self.embedding = _embedding(codes.n_tokens, width)
        self.dropout = nn.Dropout(check_dropout(dropout))
        self.head = nn.Linear(n_features + n_given, check_integer("n_outputs", n_outputs, low=1))
        initialise(self.head, None)

    @abstractmethod
    def _features(self, x: Tensor, is_reached: Tensor) -> Tensor:
        """g(x) of tokens, shape (batch, length), of which those that are reached belong to the texts."""

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens, shape (batch, length), and what stands behind them, to (batch, n_outputs)."""
        given = None
        if self.n_given:
            x, given = x[:, : -self.n_given].long(), x[:, -self.n_given :]
        features = self._features(x, reached(x))
        result: Tensor = self.head(features if given is None else torch.cat((features, given.to(features)), 1))
        return result


class TokenDecoder(nn.Module, ABC):
    r"""Network from z, and the tokens before each place, to the token there.

    .. math:: p(x_t \mid x_{<t}, z) = softmax(E (W h_t + v) + b), \qquad h_t = h(x_{<t}, z)

    with the embeddings e of the tokens before, whose matrix E also weighs the outputs, and token 0, the end, before the
    first place. Called with z alone it gives z back, which is all that the other methods need.

    Args:
        codes: The tokens.
        latent_dim: Length of z.
        width: Length of an embedding and of h.
        dropout: Probability in [0, 1), of embeddings and in front of the output.

    Attributes:
        bias: b, shape (n_tokens,).
        order: The tokens, those of most uses first, shape (n_tokens,).
        n_sampled: Tokens whose logits stand for all of them while training; see :class:`~latentkit.nn.softmax.Sampled`.

    References:
        Bowman et al., 2016, Generating Sentences from a Continuous Space, arXiv:1511.06349; Press and Wolf, 2017, Using
        the Output Embedding to Improve Language Models, arXiv:1608.05859.
    """

    order: Tensor

    def __init__(self, codes: TokenCodes, latent_dim: int, *, width: int, dropout: float) -> None:
        super().__init__()
        check_integer("latent_dim", latent_dim, low=1)
        self.embedding = _embedding(codes.n_tokens, width)
        self.dropout = nn.Dropout(check_dropout(dropout))
        self.output = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(codes.n_tokens))
        self.register_buffer("order", torch.arange(codes.n_tokens), persistent=False)
        self.n_sampled = default_sampled(codes.n_tokens)
        nn.init.eye_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @abstractmethod
    def _first(self, z: Tensor) -> State:
        """What is known before the first place, for z of shape (batch, latent)."""

    @abstractmethod
    def _run(self, tokens: Tensor, z: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h behind each of the tokens, which follow what the state knows, and the state behind the last one.

        Args:
            tokens: Shape (batch, length).
            z: Shape (batch, latent).
            state: What is known of the places before.

        Returns:
            h of shape (batch, length, width), and the state.
        """

    def start_at(self, log_frequencies: Tensor) -> None:
        """Begin with the frequencies of the tokens, shape (n_tokens,), and with their order."""
        with torch.no_grad():
            self.bias.copy_(log_frequencies)
            self.order.copy_(log_frequencies.argsort(descending=True, stable=True))

    def forward(self, z: Tensor) -> Tensor:
        """Map z of shape (batch, latent) to (batch, 1, latent)."""
        return z.unsqueeze(-2)

    def log_probs(self, z: Tensor, x: Tensor, seen: Tensor) -> Tensor:
        """Return the log-probability of each token given z and those before it, nats, shape (batch, length).

        Places behind the end have 0.

        Args:
            z: Shape (batch, latent).
            x: Tokens, shape (batch, length).
            seen: What stands at these places for those behind them to see: x, or x with holes.
        """
        states, _ = self._run(functional.pad(seen, (1, 0))[:, :-1], z, self._first(z))
        is_reached = reached(x)
        features = self.output(self.dropout(states[is_reached]))
        arguments = features, self.embedding.weight, self.bias, x[is_reached]
        n_sampled = self.n_sampled if self.training else 0
        found = Sampled.of(self.order, n_sampled).log_probs(*arguments) if n_sampled else log_softmax_of(*arguments)
        return found.new_zeros(x.shape).masked_scatter(is_reached, found)

    def begin(self, z: Tensor) -> SequenceWalk:
        """Return texts that have not begun, for z of shape (batch, latent)."""
        return SequenceWalk(self, z)


@final
class SequenceWalk:
    """Texts that become known token by token, and what a decoder makes of them.

    Args:
        decoder: The network.
        z: Shape (batch, latent).

    Example:
        >>> from latentkit.nn import SequenceDecoder
        >>> decoder = SequenceDecoder(TokenCodes(9, 5), 2, widths=(16,))
        >>> walk = decoder.begin(torch.zeros(3, 2))
        >>> walk.logits().shape, walk.add(torch.tensor([4, 4, 5])).logits().shape
        (torch.Size([3, 9]), torch.Size([3, 9]))
    """

    def __init__(self, decoder: TokenDecoder, z: Tensor) -> None:
        self._decoder, self._z = decoder, z
        self._state = decoder._first(z)  # noqa: SLF001 (its own other half)
        self.add(torch.zeros(len(z), dtype=torch.long, device=z.device))

    def add(self, tokens: Tensor) -> SequenceWalk:
        """Take in the next token of each text, shape (batch,)."""
        states, self._state = self._decoder._run(tokens.unsqueeze(1), self._z, self._state)  # noqa: SLF001 (likewise)
        self._features = states[:, 0]
        return self

    def logits(self) -> Tensor:
        """Return the logits of the next token of each text, shape (batch, n_tokens)."""
        decoder = self._decoder
        return functional.linear(
            decoder.output(decoder.dropout(self._features)), decoder.embedding.weight, decoder.bias
        )

    def take(self, rows: Tensor) -> None:
        """Keep these rows alone, in this order; one may be there several times."""
        self._z, self._features = self._z[rows], self._features[rows]
        self._state = tuple(part[:, rows] for part in self._state)


def default_sampled(n_tokens: int) -> int:
    """Tokens whose logits stand for all of them while training; 0 for all, where there are not many.

    Example:
        >>> default_sampled(2_000), default_sampled(10_000)
        (0, 2048)
    """
    return 0 if n_tokens <= 2 * SAMPLED else SAMPLED


def tokens_of(options: NetworkOptions, network: str) -> TokenCodes:
    """Return the tokens that a network over texts is asked for.

    Raises:
        InvalidParameterError: If the data are no texts.
    """
    if options.tokens is None:
        raise InvalidParameterError(
            f"{network!r} networks need texts; these data are numbers or images. Use 'auto' or 'mlp'."
        )
    return options.tokens


def check_equal_widths(widths: Sequence[int] | Literal["auto"]) -> tuple[int, int]:
    """Return the width of all layers, and their number.

    Raises:
        InvalidParameterError: If there is no layer, or their widths differ.

    Example:
        >>> check_equal_widths((256, 256))
        (256, 2)
    """
    sizes = check_sizes("widths", widths)
    if len(set(sizes)) != 1:
        raise InvalidParameterError(
            f"widths of a network over texts are one or more of the same number, one a layer; got {tuple(widths)}. Use "
            f"{(max(sizes, default=256),) * max(1, len(sizes))}."
        )
    return sizes[0], len(sizes)


def _embedding(n_tokens: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(n_tokens, width)
    nn.init.uniform_(embedding.weight, -EMBEDDING_SCALE, EMBEDDING_SCALE)
    return embedding
