"""Constraints as they are typed, and the tables of which the combinations are the allowed ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from latentkit.core.errors import InvalidParameterError

if TYPE_CHECKING:
    from latentkit.cli.opening import OpenedRun
    from latentkit.cli.printing import Printer

__all__ = ["read_constraints"]


def read_constraints(texts: Sequence[str], source: str | None, opened: OpenedRun, printer: Printer) -> list[Any]:
    """Return constraints as :meth:`latentkit.VAE.sample` takes them.

    Args:
        texts: Each as it is typed.
        source: Table of which the combinations are the allowed ones; None for the data of the fit.
        opened: The run.
        printer: Tells which table that is.
    Raises:
        InvalidParameterError: If one cannot be read, or there is no table to take combinations from.
    """
    if opened.schema.kind != "table":
        return list(texts)  # the estimator says what it is that has no columns
    from latentkit.data.table.constraints import Combinations, parse_constraint

    names = opened.schema.feature_names
    constraints = [part for text in texts for part in parse_constraint(text, names, rows=())]
    combinations = [part for part in constraints if isinstance(part, Combinations)]
    if not combinations:
        return constraints
    table = _table(source, combinations[0], opened, printer)
    return [replace(part, rows=table) if isinstance(part, Combinations) else part for part in constraints]


def _table(source: str | None, constraint: Any, opened: OpenedRun, printer: Printer) -> Any:
    is_own = source is None
    if source is None:
        source = opened.source
        if source is None:
            raise InvalidParameterError(
                f"--constraint '{constraint}' allows the combinations of a table, and the data of the fit are there no "
                "more. Give a table that has them: --combinations DATA."
            )
        printer.note(f"combinations {constraint} are those of the data of the fit, {source}")
    return opened.read(source, printer, as_fitted=is_own)
