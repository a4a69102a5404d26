"""Texts of bytes that are UTF-8: which tokens may come next."""

from __future__ import annotations

from typing import Final, final

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError

__all__ = ["Utf8"]

#: What is still to come behind the bytes so far: bytes of a character, by state. State 0 is between two characters.
_NEEDED: Final = (0, 1, 2, 3, 2, 2, 3, 3)
#: First and last byte of a range, its state, and the one behind it (Unicode 15, table 3-7).
_STEPS: Final = (
    (0x00, 0x7F, 0, 0),
    (0xC2, 0xDF, 0, 1),
    (0xE1, 0xEC, 0, 2),
    (0xEE, 0xEF, 0, 2),
    (0xF1, 0xF3, 0, 3),
    (0xE0, 0xE0, 0, 4),
    (0xED, 0xED, 0, 5),
    (0xF0, 0xF0, 0, 6),
    (0xF4, 0xF4, 0, 7),
    (0x80, 0xBF, 1, 0),
    (0x80, 0xBF, 2, 1),
    (0x80, 0xBF, 3, 2),
    (0xA0, 0xBF, 4, 1),
    (0x80, 0x9F, 5, 1),
    (0x90, 0xBF, 6, 2),
    (0x80, 0x8F, 7, 2),
)
_NEVER: Final = -1


@final
class Utf8:
    """The tokens that may follow, where 256 of them are bytes and the others whole pieces of text.

    A text that has begun is in a state, 0 to 7: whether it stands between two characters, and if not, what the next
    byte may be.

    Args:
        n_tokens: Number of tokens, the end included.
        first_byte: Token of byte 0, behind which those of the other bytes stand.

    Raises:
        InvalidParameterError: If there are not as many tokens.

    References:
        Unicode 15.0, section 3.9, table 3-7 (well-formed UTF-8).

    Example:
        >>> utf8 = Utf8(260, 2)
        >>> state = utf8.after(torch.tensor([0]), torch.tensor([2 + 0xE4]))  # the first of three bytes
        >>> utf8.is_ruled_out(state, room=5)[0, [0, 1, 2 + 0x41, 2 + 0xBD]].tolist()
        [True, True, True, False]
    """

    def __init__(self, n_tokens: int, first_byte: int) -> None:
        if not 0 < first_byte <= n_tokens - 256:
            raise InvalidParameterError(f"256 bytes from token {first_byte} on do not fit into {n_tokens} tokens.")
        after = torch.full((len(_NEEDED), n_tokens), _NEVER)
        after[0] = 0
        after[0, first_byte : first_byte + 256] = _NEVER
        for first, last, state, then in _STEPS:
            after[state, first_byte + first : first_byte + last + 1] = then
        self._after = after
        needed = torch.tensor(_NEEDED)[after.clamp_min(0)]
        self._ruled_out = torch.stack([(after == _NEVER) | (needed > room) for room in range(max(_NEEDED) + 1)])

    def after(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Return the states behind these tokens, shape of both."""
        self._after = self._after.to(states.device)
        return self._after[states, tokens].clamp_min(0)

    def is_ruled_out(self, states: Tensor, room: int | Tensor) -> Tensor:
        """Return which tokens cannot come next, shape (batch, n_tokens), bool.

        Args:
            states: Of the texts, shape (batch,).
            room: Places behind the next one, in which what has begun must end: a number, or shape (batch,).
        """
        self._ruled_out = self._ruled_out.to(states.device)
        return self._ruled_out[torch.as_tensor(room, device=states.device).clamp(0, max(_NEEDED)), states]
