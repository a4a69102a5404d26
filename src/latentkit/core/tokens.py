"""What networks and likelihoods know of the tokens of texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, final

from torch import Tensor

from latentkit.core.parameters import check_integer

__all__ = ["TokenCodes", "reached"]


@final
@dataclass(frozen=True, slots=True)
class TokenCodes:
    """The tokens of texts, of which token 0 ends each.

    Attributes:
        n_tokens: Number of tokens, the end included.
        max_length: Tokens of a text at most, its end included.

    Raises:
        InvalidParameterError: If there are fewer than two tokens, or no place for one.

    Example:
        >>> TokenCodes(10_000, 83).describe()
        {'n_tokens': 10000, 'max_length': 83}
    """

    n_tokens: int
    max_length: int

    def __post_init__(self) -> None:
        check_integer("n_tokens", self.n_tokens, low=2)
        check_integer("max_length", self.max_length, low=1)

    def describe(self) -> dict[str, Any]:
        """Return the codes as JSON values."""
        return asdict(self)

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """Return the codes that :meth:`describe` described; what else stands there is left aside."""
        return cls(int(description["n_tokens"]), int(description["max_length"]))


def reached(x: Tensor) -> Tensor:
    """Return which places belong to a text, its end included, shape of `x`, bool.

    Args:
        x: Tokens, shape (*batch, length).

    Example:
        >>> import torch
        >>> reached(torch.tensor([[3, 0, 0], [3, 4, 5]]))
        tensor([[ True,  True, False],
                [ True,  True,  True]])
    """
    is_end = x == 0
    return is_end.cumsum(-1) - is_end.long() == 0
