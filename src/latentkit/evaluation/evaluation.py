"""All figures of one model on data that it has not learnt, and what cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion
from latentkit.evaluation.figures import Figure, MissingFigure
from latentkit.evaluation.likelihood import LikelihoodEstimate

__all__ = ["GROUPS", "Evaluation"]

#: What figures are about, in the order in which they are shown.
GROUPS: Final[dict[str, str]] = {
    "likelihood": "How probable the data are",
    "reconstructions": "How well they are rebuilt",
    "latents": "What z carries",
    "samples": "How good new data are",
    "copies": "Whether new data are copies",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """All figures of a model, each with what it rests on, and the reasons for those that cannot be had.

    Attributes:
        model: Name of the kind of model: "VAE".
        kind: Of the data: "images", "rows", "table" or "text".
        figures: In the order of the groups.
        missing: What cannot be had, and why.
        likelihood: Estimates row by row; None where there is no likelihood.
        rows: Places in the data, from 0, of the rows of `likelihood`, ascending.
        likelihood_of: What `likelihood` is the logarithm of: figures of different ones cannot be compared.
        log_scale: Nats to take off `likelihood` for a density in the units of the data; 0 of probabilities.
        n: Rows of the data.
        warnings: What to heed before a figure is quoted, a sentence each.
        seconds: That all of it took.

    Example:
        >>> figure = Figure(name="PSNR", value=21.4, unit="dB", better="higher", computed_with="10 images")
        >>> found = Evaluation(model="VAE", kind="images", figures=(figure,), missing=(), n=10)
        >>> found["PSNR"].value, "SSIM" in found
        (21.4, False)
    """

    model: str
    kind: str
    figures: tuple[Figure, ...]
    missing: tuple[MissingFigure, ...]
    likelihood: LikelihoodEstimate | None = None
    rows: NDArray[np.int64] | None = None
    likelihood_of: str = ""
    log_scale: float = 0.0
    n: int
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    def __getitem__(self, name: str) -> Figure:
        """Return the figure of this name.

        Raises:
            InvalidParameterError: If there is none; the message says why, where that is known.
        """
        for figure in self.figures:
            if figure.name == name:
                return figure
        for lacking in self.missing:
            if lacking.name == name:
                raise InvalidParameterError(f"there is no {name}: {lacking.why}")
        names = [figure.name for figure in self.figures]
        raise InvalidParameterError(
            f"there is no figure {name!r}; there are: {', '.join(names)}.{suggestion(name, names)}"
        )

    def __contains__(self, name: object) -> bool:
        return any(figure.name == name for figure in self.figures)

    def of_group(self, group: str) -> tuple[Sequence[Figure], Sequence[MissingFigure]]:
        """The figures of one of :data:`GROUPS`, and those of it that cannot be had."""
        return (
            [figure for figure in self.figures if figure.group == group],
            [lacking for lacking in self.missing if lacking.group == group],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; figures by name."""
        return {
            "model": self.model,
            "kind": self.kind,
            "n": self.n,
            "n_scored": None if self.rows is None else len(self.rows),
            "likelihood_of": self.likelihood_of,
            "figures": {figure.name: figure.to_dict() for figure in self.figures},
            "missing": {lacking.name: asdict(lacking) for lacking in self.missing},
            "warnings": list(self.warnings),
            "seconds": self.seconds,
        }
