"""Recurrent networks over sequences of tokens, of which token 0 ends each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, final

import torch
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.tokens import TokenCodes
from latentkit.nn.activations import initialise
from latentkit.nn.families import NetworkFamily, NetworkOptions, networks
from latentkit.nn.tokens import State, TokenDecoder, TokenEncoder, check_equal_widths, tokens_of

__all__ = ["SequenceDecoder", "SequenceEncoder", "default_sequence_widths"]

Cell: TypeAlias = Literal["lstm", "gru"]
_CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


@final
class SequenceEncoder(TokenEncoder):
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
        width, n_layers = check_equal_widths(widths)
        super().__init__(codes, n_outputs, width=width, n_features=2 * width, dropout=dropout, n_given=n_given)
        self.forwards, self.backwards = (_recurrent(cell, width, width, n_layers, dropout) for _ in range(2))

    def _features(self, x: Tensor, is_reached: Tensor) -> Tensor:
        pooled = []
        for network, tokens in ((self.forwards, x), (self.backwards, _turned(x, is_reached))):
            states, _ = _through(network, self.dropout(self.embedding(tokens)))
            pooled.append(states.masked_fill(~is_reached.unsqueeze(-1), -1.0).amax(1))  # states lie above -1
        return torch.cat(pooled, 1)


@final
class SequenceDecoder(TokenDecoder):
    r"""Recurrent network from z, and the tokens before each place, to the token there.

    .. math:: h_t = f([e(x_{t-1}), z], h_{t-1}), \qquad h_0 = \tanh(W_0 z + b_0)

    with the softmax of a :class:`~latentkit.nn.tokens.TokenDecoder` over h.

    Args:
        codes: The tokens.
        latent_dim: Length of z.
        cell: ``"lstm"`` or ``"gru"``.
        widths: Units of each layer, all equal; embeddings are as wide.
        dropout: Probability in [0, 1), of embeddings, between layers and in front of the output.

    References:
        Bowman et al., 2016, Generating Sentences from a Continuous Space, arXiv:1511.06349.

    Example:
        >>> decoder = SequenceDecoder(TokenCodes(9, 5), 2, widths=(16,))
        >>> x = torch.tensor([[3, 4, 0], [7, 0, 0]])
        >>> decoder.log_probs(torch.zeros(2, 2), x, x).shape
        torch.Size([2, 3])
    """

    def __init__(
        self, codes: TokenCodes, latent_dim: int, *, cell: Cell = "lstm", widths: Sequence[int], dropout: float = 0.0
    ) -> None:
        width, n_layers = check_equal_widths(widths)
        super().__init__(codes, latent_dim, width=width, dropout=dropout)
        self.cell, self.n_layers = cell, n_layers
        self.start = nn.Linear(latent_dim, n_layers * width)
        self.recurrent = _recurrent(cell, width + latent_dim, width, n_layers, dropout)
        initialise(self.start, "tanh")

    def _first(self, z: Tensor) -> State:
        h = torch.tanh(self.start(z)).reshape(len(z), self.n_layers, -1).transpose(0, 1).contiguous()
        return (h, torch.zeros_like(h)) if self.cell == "lstm" else (h,)

    def _run(self, tokens: Tensor, z: Tensor, state: State) -> tuple[Tensor, State]:
        embedded = self.dropout(self.embedding(tokens))
        inputs = torch.cat((embedded, z.unsqueeze(1).to(embedded).expand(-1, tokens.shape[1], -1)), -1)
        states, after = _through(self.recurrent, inputs, state if self.cell == "lstm" else state[0])
        return states, after if self.cell == "lstm" else (after,)


def default_sequence_widths(n_rows: int | None = None) -> tuple[int, ...]:
    """Units of each layer by number of texts.

    Example:
        >>> default_sequence_widths(), default_sequence_widths(5_000)
        ((256,), (192,))
    """
    return (192,) if n_rows is not None and n_rows < 20_000 else (256,)


def _recurrent(cell: Cell, n_inputs: int, width: int, n_layers: int, dropout: float) -> nn.LSTM | nn.GRU:
    between = dropout if n_layers > 1 else 0.0
    kind: Any = _CELLS[cell]
    network: nn.LSTM | nn.GRU = kind(n_inputs, width, n_layers, batch_first=True, dropout=between)
    return network


def _through(network: nn.LSTM | nn.GRU, inputs: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """States at each place, and after the last; on processors in full precision, where not all have an LSTM in less."""
    if inputs.device.type != "cpu":
        return network(inputs, state)  # type: ignore[no-any-return]
    dtype = next(network.parameters()).dtype
    with torch.autocast("cpu", enabled=False):
        given = tuple(each.to(dtype) for each in state) if isinstance(state, tuple) else state
        return network(inputs.to(dtype), given.to(dtype) if isinstance(given, Tensor) else given)  # type: ignore[no-any-return]


def _turned(x: Tensor, is_reached: Tensor) -> Tensor:
    """Tokens of each text from its end to its start; what is behind the end stays there."""
    lengths = is_reached.sum(1, keepdim=True)
    places = torch.arange(x.shape[1], device=x.device)
    return x.gather(1, torch.where(is_reached, lengths - 1 - places, places))


def _family(cell: Cell) -> NetworkFamily:
    def settings(options: NetworkOptions) -> tuple[TokenCodes, dict[str, Any]]:
        """The tokens, and what encoder and decoder are both made with."""
        codes = tokens_of(options, cell)
        if options.normalization not in ("auto", "none") or options.activation not in ("auto", "tanh"):
            raise InvalidParameterError(
                f"recurrent networks have tanh and no normalisation; got activation={options.activation!r}, "
                f"normalization={options.normalization!r}. Leave them out."
            )
        widths = default_sequence_widths(options.n_rows) if options.widths == "auto" else options.widths
        return codes, {"cell": cell, "widths": widths, "dropout": options.dropout}

    def encoder(event_shape: tuple[int, ...], n_outputs: int, options: NetworkOptions) -> nn.Module:
        codes, given = settings(options)
        return SequenceEncoder(codes, n_outputs, n_given=event_shape[0] - codes.max_length, **given)

    def decoder(latent_dim: int, output_shape: tuple[int, ...], options: NetworkOptions) -> nn.Module:
        codes, given = settings(options)
        return SequenceDecoder(codes, latent_dim, **given)

    return NetworkFamily(encoder=encoder, decoder=decoder, of_texts=True)


networks.register("lstm")(_family("lstm"))
networks.register("gru")(_family("gru"))
