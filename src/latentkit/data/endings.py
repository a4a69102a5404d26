"""Endings of files: what format a name promises, whatever it is packed in."""

from __future__ import annotations

from pathlib import Path

__all__ = ["TABLE_ENDINGS", "ending_of"]

TABLE_ENDINGS = (".csv", ".tsv", ".parquet", ".jsonl")
_SYNONYMS = {".ndjson": ".jsonl", ".pq": ".parquet", ".tab": ".tsv"}
#: Endings of files that may come packed; `.csv.gz` is a .csv.
_PACKED = (".gz", ".bz2", ".zst")


def ending_of(path: Path) -> str:
    """Return the ending that names the format of a file.

    Example:
        >>> ending_of(Path("a.csv.gz")), ending_of(Path("a.ndjson")), ending_of(Path("images-idx3-ubyte"))
        ('.csv', '.jsonl', '.idx')
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if len(suffixes) > 1 and suffixes[-1] in _PACKED:
        suffixes.pop()
    ending = suffixes[-1] if suffixes else ""
    if "idx" in ending or "-idx" in path.name:
        return ".idx"
    return _SYNONYMS.get(ending, ending)
