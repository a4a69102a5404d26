"""What goes into an archive as blocks of bytes, and how it is written again as it was."""

from __future__ import annotations

from latentkit.tasks.compression.contents.family import ChosenItems, Contents, Pixels, Restorer, restorers
from latentkit.tasks.compression.contents.files import ArrayContents, FileContents
from latentkit.tasks.compression.contents.folders import FolderContents
from latentkit.tasks.compression.contents.opening import open_contents
from latentkit.tasks.compression.contents.tables import TableContents

__all__ = [
    "ArrayContents",
    "Contents",
    "FileContents",
    "FolderContents",
    "Pixels",
    "Restorer",
    "ChosenItems",
    "TableContents",
    "open_contents",
    "restorers",
]
