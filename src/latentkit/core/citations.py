"""What to cite: the entries of the bibliography, by key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

__all__ = ["bibtex", "known_keys"]


def bibtex(keys: Iterable[str]) -> str:
    """Return BibTeX entries, each once, in the order in which they are asked for.

    Example:
        >>> print(bibtex(["roeder2017sticking"]).splitlines()[0])
        @inproceedings{roeder2017sticking,
    """
    entries = _entries()
    return "\n\n".join(entries[key] for key in dict.fromkeys(keys)) + "\n"


def known_keys() -> frozenset[str]:
    """Keys of the bibliography."""
    return frozenset(_entries())


@cache
def _entries() -> dict[str, str]:
    text = (Path(__file__).parent / "bibliography.bib").read_text(encoding="utf-8")
    found = (entry.strip() for entry in re.split(r"\n(?=@)", text))
    return {re.match(r"@\w+\{([^,]+),", entry)[1]: entry for entry in found}  # type: ignore[index]
