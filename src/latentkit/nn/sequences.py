"""Recurrent networks over sequences of tokens, of which token 0 ends each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.tokens import TokenCodes, reached
from latentkit.nn.activations import initialise
from latentkit.nn.families import NetworkFamily, NetworkOptions, check_dropout, check_sizes, networks
from latentkit.nn.softmax import Sampled, log_softmax_of

__all__ = ["SequenceDecoder", "SequenceEncoder", "SequenceWalk", "default_sequence_widths"]

Cell: TypeAlias = Literal["lstm", "gru"]
_CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}
#: Tokens whose logits are computed while training, where there are more than twice as many.
SAMPLED = 2048
#: Bound of the uniform distribution that embeddings start from.
EMBEDDING_SCALE = 0.1


@final
class SequenceEncoder(nn.Module):
    r"""Recurrent network from tokens to the parameters of their posterior.

    .. math:: y = W [\max_t \overrightarrow{h}_t, \max_t \overleftarrow{h}_t, c] + b

    over the places t up to the end, with a network in each direction and what stands behind the tokens, such as a
    condition c. The greatest value of each unit over the places, in place of the last state, tells texts apart from
    the start of training, so that z is worth something to the decoder.

    Args:
        codes: The tokens.
        n_outputs: Number of outputs.
        cell: ``"lstm"`` or ``"gru"``.
        widths: Units of each layer, all equal, for each direction; embeddings are as wide.
        dropout: Probability in [0, 1), of embeddings and between layers.
        n_given: Numbers that stand behind the tokens.

    References:
        Long et al., 2019, Preventing Posterior Collapse in Sequence VAEs with Feature Pooling, arXiv:1911.03976.

    Example:
        >>> SequenceEncoder(TokenCodes(9, 5), 4, widths=(16,))(torch.tensor([[3, 4, 0], [7, 0, 0]])).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        codes: TokenCodes,
        n_outputs: int,
        *,
        cell: Cell = "lstm",
        widths: Sequence[int],
        dropout: float = 0.0,
        n_given: int = 0,
    ) -> None:
        super().__init__()
        width, n_layers = _size(widths)
        self.n_given = n_given
        self.embedding = _embedding(codes.n_tokens, width)
        self.dropout = nn.Dropout(check_dropout(dropout))
        self.forwards, self.backwards = (_recurrent(cell, width, width, n_layers, dropout) for _ in range(2))
        self.head = nn.Linear(2 * width + n_given, check_integer("n_outputs", n_outputs, low=1))
        initialise(self.head, None)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens, shape (batch, length), and what stands behind them, to (batch, n_outputs)."""
        given = None
        if self.n_given:
            x, given = x[:, : -self.n_given].long(), x[:, -self.n_given :]
        is_reached = reached(x)
        turned = _turned(x, is_reached)
        pooled = []
        for network, tokens in ((self.forwards, x), (self.backwards, turned)):
            states, _ = network(self.dropout(self.embedding(tokens)))
            pooled.append(states.masked_fill(~is_reached.unsqueeze(-1), -1.0).amax(1))  # states lie above -1
        pooled = pooled if given is None else [*pooled, given.to(pooled[0])]
        result: Tensor = self.head(torch.cat(pooled, 1))
        return result


@final
class SequenceDecoder(nn.Module):
    r"""Recurrent network from z, and the tokens before each place, to the token there.

    .. math::
        h_t = f([e(x_{t-1}), z], h_{t-1}), \quad h_0 = \tanh(W_0 z + b_0), \quad
        p(x_t \mid x_{<t}, z) = softmax(E (W h_t + v) + b)

    with the embeddings e, whose matrix E also weighs the outputs, and token 0, the end, before the first place. Called
    with z alone it gives z back, which is all that the other methods need.

    Args:
        codes: The tokens.
        latent_dim: Length of z.
        cell: ``"lstm"`` or ``"gru"``.
        widths: Units of each layer, all equal; embeddings are as wide.
        dropout: Probability in [0, 1), of embeddings, between layers and in front of the output.

    Attributes:
        bias: b, shape (n_tokens,).
        order: The tokens, those of most uses first, shape (n_tokens,).
        n_sampled: Tokens whose logits stand for all of them while training; see :class:`~latentkit.nn.softmax.Sampled`.

    References:
        Bowman et al., 2016, Generating Sentences from a Continuous Space, arXiv:1511.06349; Press and Wolf, 2017, Using
        the Output Embedding to Improve Language Models, arXiv:1608.05859.

    Example:
        >>> decoder = SequenceDecoder(TokenCodes(9, 5), 2, widths=(16,))
        >>> x = torch.tensor([[3, 4, 0], [7, 0, 0]])
        >>> decoder.log_probs(torch.zeros(2, 2), x, x).shape
        torch.Size([2, 3])
    """

    order: Tensor

    def __init__(
        self, codes: TokenCodes, latent_dim: int, *, cell: Cell = "lstm", widths: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        width, n_layers = _size(widths)
        check_integer("latent_dim", latent_dim, low=1)
        self.cell, self.n_layers = cell, n_layers
        self.embedding = _embedding(codes.n_tokens, width)
        self.dropout = nn.Dropout(check_dropout(dropout))
        self.start = nn.Linear(latent_dim, n_layers * width)
        self.recurrent = _recurrent(cell, width + latent_dim, width, n_layers, dropout)
        self.output = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(codes.n_tokens))
        self.register_buffer("order", torch.arange(codes.n_tokens), persistent=False)
        self.n_sampled = default_sampled(codes.n_tokens)
        initialise(self.start, "tanh")
        nn.init.eye_(self.output.weight)
        nn.init.zeros_(self.output.bias)

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
        before = functional.pad(seen, (1, 0))[:, :-1]
        states, _ = self.recurrent(self._inputs(before, z), self._first(z))
        is_reached = reached(x)
        features = self.output(self.dropout(states[is_reached]))
        arguments = features, self.embedding.weight, self.bias, x[is_reached]
        n_sampled = self.n_sampled if self.training else 0
        found = Sampled.of(self.order, n_sampled).log_probs(*arguments) if n_sampled else log_softmax_of(*arguments)
        return found.new_zeros(x.shape).masked_scatter(is_reached, found)

    def begin(self, z: Tensor) -> SequenceWalk:
        """Return texts that have not begun, for z of shape (batch, latent)."""
        return SequenceWalk(self, z)

    def _inputs(self, before: Tensor, z: Tensor) -> Tensor:
        """What goes in at each place, shape (batch, length, width + latent)."""
        embedded = self.dropout(self.embedding(before))
        return torch.cat((embedded, z.unsqueeze(1).to(embedded).expand(-1, before.shape[1], -1)), -1)

    def _first(self, z: Tensor) -> Any:
        """The state before the first place."""
        h = torch.tanh(self.start(z)).reshape(len(z), self.n_layers, -1).transpose(0, 1).contiguous()
        return (h, torch.zeros_like(h)) if self.cell == "lstm" else h


@final
class SequenceWalk:
    """Texts that become known token by token, and what a decoder makes of them.

    Args:
        decoder: The network.
        z: Shape (batch, latent).

    Example:
        >>> decoder = SequenceDecoder(TokenCodes(9, 5), 2, widths=(16,))
        >>> walk = decoder.begin(torch.zeros(3, 2))
        >>> walk.logits().shape, walk.add(torch.tensor([4, 4, 5])).logits().shape
        (torch.Size([3, 9]), torch.Size([3, 9]))
    """

    def __init__(self, decoder: SequenceDecoder, z: Tensor) -> None:
        self._decoder, self._z = decoder, z
        self._state = decoder._first(z)  # noqa: SLF001 (its own other half)
        self.add(torch.zeros(len(z), dtype=torch.long, device=z.device))

    def add(self, tokens: Tensor) -> SequenceWalk:
        """Take in the next token of each text, shape (batch,)."""
        inputs = self._decoder._inputs(tokens.unsqueeze(1), self._z)  # noqa: SLF001 (its own other half)
        states, self._state = self._decoder.recurrent(inputs, self._state)
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
        states = self._state if isinstance(self._state, tuple) else (self._state,)
        kept = tuple(state[:, rows] for state in states)
        self._state = kept if len(kept) > 1 else kept[0]


def default_sampled(n_tokens: int) -> int:
    """Tokens whose logits stand for all of them while training; 0 for all, where there are not many.

    Example:
        >>> default_sampled(2_000), default_sampled(10_000)
        (0, 2048)
    """
    return 0 if n_tokens <= 2 * SAMPLED else SAMPLED


def default_sequence_widths(n_rows: int | None = None) -> tuple[int, ...]:
    """Units of each layer by number of texts.

    Example:
        >>> default_sequence_widths(), default_sequence_widths(5_000)
        ((256,), (192,))
    """
    return (192,) if n_rows is not None and n_rows < 20_000 else (256,)


def _size(widths: Sequence[int]) -> tuple[int, int]:
    """Width and number of layers."""
    sizes = check_sizes("widths", widths)
    if len(set(sizes)) != 1:
        raise InvalidParameterError(
            f"widths of a recurrent network are one or more of the same number, one a layer; got {tuple(widths)}. Use "
            f"{(max(sizes, default=256),) * max(1, len(sizes))}."
        )
    return sizes[0], len(sizes)


def _embedding(n_tokens: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(n_tokens, width)
    nn.init.uniform_(embedding.weight, -EMBEDDING_SCALE, EMBEDDING_SCALE)
    return embedding


def _recurrent(cell: Cell, n_inputs: int, width: int, n_layers: int, dropout: float) -> nn.LSTM | nn.GRU:
    between = dropout if n_layers > 1 else 0.0
    kind: Any = _CELLS[cell]
    network: nn.LSTM | nn.GRU = kind(n_inputs, width, n_layers, batch_first=True, dropout=between)
    return network


def _turned(x: Tensor, is_reached: Tensor) -> Tensor:
    """Tokens of each text from its end to its start; what is behind the end stays there."""
    lengths = is_reached.sum(1, keepdim=True)
    places = torch.arange(x.shape[1], device=x.device)
    return x.gather(1, torch.where(is_reached, lengths - 1 - places, places))


def _settings(options: NetworkOptions) -> tuple[TokenCodes, dict[str, Any]]:
    """The tokens, and what encoder and decoder are both made with."""
    if options.tokens is None:
        raise InvalidParameterError("recurrent networks need texts; these data are numbers or images. Use 'auto'.")
    if options.normalization not in ("auto", "none") or options.activation not in ("auto", "tanh"):
        raise InvalidParameterError(
            f"recurrent networks have tanh and no normalisation; got activation={options.activation!r}, "
            f"normalization={options.normalization!r}. Leave them out."
        )
    widths = default_sequence_widths(options.n_rows) if options.widths == "auto" else options.widths
    return options.tokens, {"widths": check_sizes("widths", widths), "dropout": options.dropout}


def _family(cell: Cell) -> NetworkFamily:
    def encoder(event_shape: tuple[int, ...], n_outputs: int, options: NetworkOptions) -> nn.Module:
        codes, settings = _settings(options)
        return SequenceEncoder(codes, n_outputs, cell=cell, n_given=event_shape[0] - codes.max_length, **settings)

    def decoder(latent_dim: int, output_shape: tuple[int, ...], options: NetworkOptions) -> nn.Module:
        codes, settings = _settings(options)
        return SequenceDecoder(codes, latent_dim, cell=cell, **settings)

    return NetworkFamily(encoder=encoder, decoder=decoder)


networks.register("lstm")(_family("lstm"))
networks.register("gru")(_family("gru"))
