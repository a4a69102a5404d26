"""Transformers over sequences of tokens, of which token 0 ends each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.tokens import TokenCodes
from latentkit.nn.activations import BRANCH_SCALE, activations, initialise
from latentkit.nn.families import NetworkFamily, NetworkOptions, networks
from latentkit.nn.tokens import State, TokenDecoder, TokenEncoder, check_equal_widths, tokens_of

__all__ = ["TransformerDecoder", "TransformerEncoder", "default_transformer_widths"]

#: Units of a head.
HEAD = 64
#: Units of the perceptron of a block, for each unit of the block.
EXPANSION = 4
#: Places after which the slowest pair of units has turned by about one radian.
SLOWEST = 10_000.0


@final
class TransformerEncoder(TokenEncoder):
    r"""Transformer from tokens to the parameters of their posterior.

    .. math:: y = W [\max_t h_t, \frac{1}{n} \sum_t h_t, c] + b

    over the n places of a text, its end included, with the normalised states h of blocks in which every place of the
    text sees all of them, and what stands behind the tokens, such as a condition c.

    Args:
        codes: The tokens.
        n_outputs: Number of outputs.
        widths: Units of each block, all equal: a multiple of 64, one head each, or an even number below; embeddings
            are as wide.
        activation: Of the perceptrons.
        dropout: Probability in [0, 1), of embeddings and of what a block adds.
        n_given: Numbers that stand behind the tokens.

    References:
        Vaswani et al., 2017, Attention Is All You Need, arXiv:1706.03762; Xiong et al., 2020, On Layer Normalization in
        the Transformer Architecture, arXiv:2002.04745 (norms in front); Su et al., 2021, RoFormer: Enhanced Transformer
        with Rotary Position Embedding, arXiv:2104.09864.

    Example:
        >>> TransformerEncoder(TokenCodes(9, 5), 4, widths=(16, 16))(torch.tensor([[3, 4, 0], [7, 0, 0]])).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        codes: TokenCodes,
        n_outputs: int,
        *,
        widths: Sequence[int],
        activation: str = "gelu",
        dropout: float = 0.0,
        n_given: int = 0,
    ) -> None:
        width, n_blocks = check_equal_widths(widths)
        super().__init__(codes, n_outputs, width=width, n_features=2 * width, dropout=dropout, n_given=n_given)
        self.blocks = _Blocks(width, n_blocks, activation=activation, dropout=dropout)

    def _features(self, x: Tensor, is_reached: Tensor) -> Tensor:
        h, _ = self.blocks(self.dropout(_embedded(self.embedding, x)), is_reached[:, None, None])
        is_outside = ~is_reached.unsqueeze(-1)
        greatest = h.masked_fill(is_outside, -torch.inf).amax(1)
        mean = h.masked_fill(is_outside, 0.0).sum(1) / is_reached.sum(1, keepdim=True)
        return torch.cat((greatest, mean), 1)


@final
class TransformerDecoder(TokenDecoder):
    r"""Transformer from z, and the tokens before each place, to the token there.

    .. math:: h_t = f(u_1, \ldots, u_t;\, z), \qquad u_t = \sqrt d\, e(x_{t-1}) + W_0 z + b_0

    with the softmax of a :class:`~latentkit.nn.tokens.TokenDecoder` over h, for blocks of width d in which a place sees
    itself, those before it, and a key and a value that each block makes of z: a place of memory before the first one.

    Args:
        codes: The tokens.
        latent_dim: Length of z.
        widths: As for :class:`TransformerEncoder`.
        activation: Likewise.
        dropout: Probability in [0, 1), of embeddings, of what a block adds and in front of the output.

    References:
        Li et al., 2020, Optimus: Organizing Sentences via Pre-trained Modeling of a Latent Space, section 3,
        arXiv:2004.04092 (z as memory, and added to the embeddings).

    Example:
        >>> decoder = TransformerDecoder(TokenCodes(9, 5), 2, widths=(16, 16))
        >>> x = torch.tensor([[3, 4, 0], [7, 0, 0]])
        >>> decoder.log_probs(torch.zeros(2, 2), x, x).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        codes: TokenCodes,
        latent_dim: int,
        *,
        widths: Sequence[int],
        activation: str = "gelu",
        dropout: float = 0.0,
    ) -> None:
        width, n_blocks = check_equal_widths(widths)
        super().__init__(codes, latent_dim, width=width, dropout=dropout)
        self.latent_map = nn.Linear(latent_dim, width)
        self.memory = nn.Linear(latent_dim, n_blocks * 2 * width)
        self.blocks = _Blocks(width, n_blocks, activation=activation, dropout=dropout)
        initialise(self.latent_map, None)
        initialise(self.memory, None)

    def _first(self, z: Tensor) -> State:
        # a key and a value of each block: (batch, blocks, 2, heads, 1, units), to (2, batch, heads, 1, units) for each
        parts: Tensor = self.memory(z).reshape(len(z), self.blocks.n_blocks, 2, self.blocks.n_heads, 1, -1)
        return tuple(part.transpose(0, 1) for part in parts.unbind(1))

    def _run(self, tokens: Tensor, z: Tensor, state: State) -> tuple[Tensor, State]:
        n, n_before = tokens.shape[1], state[0].shape[-2]
        h = self.dropout(_embedded(self.embedding, tokens)) + self.latent_map(z).unsqueeze(1)
        visible = torch.ones(n, n_before + n, dtype=torch.bool, device=h.device).tril(n_before) if n > 1 else None
        result: tuple[Tensor, State] = self.blocks(h, visible, state, start=n_before - 1)
        return result


@final
class _Blocks(nn.Module):
    """Blocks one after the other, and a norm behind them."""

    def __init__(self, width: int, n_blocks: int, *, activation: str, dropout: float) -> None:
        super().__init__()
        self.n_blocks, self.n_heads = n_blocks, _n_heads(width)
        self.layers = nn.ModuleList(
            _Block(width, self.n_heads, activation=activation, dropout=dropout) for _ in range(n_blocks)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, h: Tensor, visible: Tensor | None, state: State | None = None, *, start: int = 0
    ) -> tuple[Tensor, State]:
        """Return the states of places, shape (batch, length, width), and the keys and values of all that are known.

        Args:
            h: What goes in at each place, shape (batch, length, width).
            visible: Which places are seen, bool; broadcasts against (batch, heads, length, places). None for all.
            state: Keys and values of the places before, shape (2, batch, heads, places, units) for each block.
            start: Number of the first place.
        """
        turn = _turn(start, h.shape[1], h.shape[-1] // self.n_heads, h.device)
        after = []
        for number, block in enumerate(self.layers):
            h, known = block(h, visible, None if state is None else state[number], turn)
            after.append(known)
        return self.norm(h), tuple(after)


@final
class _Block(nn.Module):
    """Attention over the places that a place may see, and a perceptron at each place, each added to what goes in."""

    def __init__(self, width: int, n_heads: int, *, activation: str, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.activation = n_heads, activation
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.widen = nn.Linear(width, EXPANSION * width)
        self.narrow = nn.Linear(EXPANSION * width, width)
        self.dropout = nn.Dropout(dropout)
        initialise(self.project, None)
        initialise(self.widen, activation)
        for last in (self.mix, self.narrow):
            initialise(last, None, scale=BRANCH_SCALE)

    def forward(
        self, h: Tensor, visible: Tensor | None, before: Tensor | None, turn: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the states, and the keys and values; see :class:`_Blocks`, and :func:`_turn` for `turn`."""
        projected: Tensor = self.project(self.first(h)).reshape(*h.shape[:2], 3, self.n_heads, -1)
        queries, keys, values = projected.permute(2, 0, 3, 1, 4)
        known = torch.stack((_turned(keys, turn), values))
        if before is not None:
            known = torch.cat((before.to(known), known), -2)
        seen = functional.scaled_dot_product_attention(_turned(queries, turn), known[0], known[1], attn_mask=visible)
        h = h + self.dropout(self.mix(seen.transpose(1, 2).flatten(2)))
        inner = activations[self.activation].function(self.widen(self.second(h)))
        return h + self.dropout(self.narrow(inner)), known


def default_transformer_widths(n_rows: int | None = None) -> tuple[int, ...]:
    """Units of each block by number of texts.

    Example:
        >>> default_transformer_widths(), default_transformer_widths(5_000)
        ((256, 256), (192, 192))
    """
    return (192, 192) if n_rows is not None and n_rows < 20_000 else (256, 256)


def _n_heads(width: int) -> int:
    """Heads of a block.

    Raises:
        InvalidParameterError: If the units cannot be shared out among heads.
    """
    if width % HEAD and (width > HEAD or width % 2):
        nearest = max(HEAD, round(width / HEAD) * HEAD) if width > HEAD else width + 1
        raise InvalidParameterError(
            f"widths of a transformer are multiples of {HEAD}, with a head for every {HEAD} units, or even numbers "
            f"below; got {width}. Use {nearest}."
        )
    return max(1, width // HEAD)


def _embedded(embedding: nn.Embedding, tokens: Tensor) -> Tensor:
    """Embeddings of about one in each unit, as what the blocks add."""
    embedded: Tensor = embedding(tokens)
    return embedded * math.sqrt(embedding.embedding_dim)


def _turn(start: int, n: int, n_units: int, device: torch.device) -> tuple[Tensor, Tensor]:
    r"""Cosines and sines of the angles by which pairs of units are turned at n places, shape (n, units / 2) each.

    .. math:: \theta_{t,i} = t \cdot 10000^{-2i / d}

    for d units of a head, so that the product of a query and a key depends on how far apart their places are.
    """
    speeds = SLOWEST ** (-torch.arange(0, n_units, 2, device=device) / n_units)
    angles = torch.outer(torch.arange(start, start + n, device=device), speeds)
    return angles.cos(), angles.sin()


def _turned(h: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Units of heads, shape (..., places, units), turned in pairs."""
    cosines, sines = (part.to(h) for part in turn)
    a, b = h.chunk(2, -1)
    return torch.cat((a * cosines - b * sines, a * sines + b * cosines), -1)


def _settings(options: NetworkOptions) -> tuple[TokenCodes, dict[str, Any]]:
    """The tokens, and what encoder and decoder are both made with."""
    codes = tokens_of(options, "transformer")
    if options.normalization not in ("auto", "layer"):
        raise InvalidParameterError(
            f"transformers are normalised by layer; got normalization={options.normalization!r}. Leave it out."
        )
    return codes, {
        "widths": default_transformer_widths(options.n_rows) if options.widths == "auto" else options.widths,
        "activation": "gelu" if options.activation == "auto" else options.activation,
        "dropout": options.dropout,
    }


def _encoder(event_shape: tuple[int, ...], n_outputs: int, options: NetworkOptions) -> TransformerEncoder:
    codes, settings = _settings(options)
    return TransformerEncoder(codes, n_outputs, n_given=event_shape[0] - codes.max_length, **settings)


def _decoder(latent_dim: int, output_shape: tuple[int, ...], options: NetworkOptions) -> TransformerDecoder:
    codes, settings = _settings(options)
    return TransformerDecoder(codes, latent_dim, **settings)


networks.register("transformer")(NetworkFamily(encoder=_encoder, decoder=_decoder, of_texts=True))
