"""A learnt coder beside classic ones, on the same data."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from latentkit.codec.coders import Coder
from latentkit.evaluation import PackedSize, classic_sizes
from latentkit.tasks.compression.archiving import compress
from latentkit.tasks.compression.contents import Contents

__all__ = ["OURS", "compare"]

#: What the archive without its model is called.
OURS = "latentkit"


def compare(contents: Contents, coder: Coder) -> list[PackedSize]:
    """Return what a coder and classic ones make of contents, the smallest first.

    The learnt coder's figures are of archives, each block of which was decoded and compared: one without the model and
    one with it. Its time is that of coding alone, on all processors; those of the others are on one.

    Args:
        contents: What is compressed; of images the pixels.
        coder: Learnt from other data.
    """
    images = contents.images()
    is_even = len({image.shape for image in images}) == 1
    content = b"".join(map(np.ndarray.tobytes, images)) or b"".join(block for block, _ in contents.blocks(1 << 22))
    n_bytes = max(1, len(content))
    found = classic_sizes(content, np.stack(images) if is_even else None)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        compress(contents, Path(folder, "timed.lkz"), coder, embeds_model=False, verify=False)
        seconds = time.perf_counter() - started
        verify = True
        for name, embeds_model in ((OURS, False), (f"{OURS}, with its model", True)):
            archived = compress(contents, Path(folder, "archive.lkz"), coder, embeds_model=embeds_model, verify=verify)
            verify = archived.summary.n_mismatches > 0  # blocks are the same beside the model
            size = archived.summary.file_bytes
            found.append(PackedSize(name, size, 8.0 * size / n_bytes, seconds))
    return sorted(found, key=lambda size: size.n_bytes)
