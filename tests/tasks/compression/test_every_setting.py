"""What one process writes with some settings another reads with others, to the byte; drawn, not chosen."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentkit.codec import BitsBackCoder, Coder
from latentkit.codec.archive import ArchiveWriter, Method
from latentkit.core.products import products_of
from tests.codec.bits_back.models import rows as bits
from tests.codec.bits_back.models import trained
from tests.codec.pixels.models import block, random_coder, smooth
from tests.codec.rows.hand_made import block as lines
from tests.codec.rows.hand_made import coder as row_coder

#: Reads an archive for each line of settings, and says what it found.
READER = """
import base64, hashlib, io, json, sys
import torch
from latentkit.codec.archive import ArchiveReader
for line in sys.stdin:
    told = json.loads(line)
    torch.set_num_threads(told["threads"])
    torch.set_float32_matmul_precision(told["precision"])
    torch.set_default_dtype(getattr(torch, told["dtype"]))
    torch.backends.mkldnn.enabled = told["has_mkldnn"]
    torch.backends.nnpack.set_flags(told["has_nnpack"])
    with ArchiveReader(io.BytesIO(base64.b64decode(told["archive"])), n_workers=told["workers"]) as reader:
        content = b"".join(block.content for block in reader)
    print(hashlib.sha256(content).hexdigest(), flush=True)
"""

SETTINGS = st.fixed_dictionaries(
    {
        "threads": st.integers(1, 2),
        "workers": st.integers(1, 3),
        "precision": st.sampled_from(["highest", "high", "medium"]),
        "dtype": st.sampled_from(["float32", "float64", "bfloat16"]),
        "has_mkldnn": st.booleans(),
        "has_nnpack": st.booleans(),
    }
)


def _pixels(n: int, shape: tuple[int, int, int]) -> tuple[Coder, bytes]:
    return random_coder(shape, is_centred=shape[2] == 3), block(smooth(n, shape, n))


@cache
def _bits_back(*dims: int) -> Coder:
    return BitsBackCoder(trained(*dims), bytes([0, 1]))


#: For n items, a coder and a block of them.
KINDS: dict[str, Callable[[int], tuple[Coder, bytes]]] = {
    "grey": lambda n: _pixels(n, (6, 5, 1)),
    "colour": lambda n: _pixels(n, (5, 4, 3)),
    "rows": lambda n: (row_coder(), lines(n)),
    "bits back, one layer": lambda n: (_bits_back(3), bits(n).tobytes()),
    "bits back, two layers": lambda n: (_bits_back(4, 2), bits(n).tobytes()),
}

#: Whose parts another kind has, too.
ALIKE = ("grey", "bits back, one layer", "bits back, two layers")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Callable[[bytes, dict[str, Any]], str]]:
    """Another process, which reads an archive with settings and returns the SHA-256 of what is in it."""
    command = [sys.executable, "-W", "ignore", "-c", READER]
    quiet = {**os.environ, "OMP_WAIT_POLICY": "passive"}  # threads that wait in a loop are slow on a busy machine
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(archive: bytes, told: dict[str, Any]) -> str:
            process.stdin.write(json.dumps({**told, "archive": base64.b64encode(archive).decode()}) + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield ask
        process.stdin.close()


@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if kind in ALIKE else []) for kind in KINDS]
)
@settings(max_examples=6)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=2), written=SETTINGS, read=SETTINGS)
def test_other_settings_in_another_process(kind, sizes, written, read, elsewhere) -> None:
    """Threads, kernels, products and types; and blocks of any size, which are the batches of the networks.

    One thread writes, since the tests share their machine; two may read.
    """
    coder, stream, wanted = KINDS[kind](1)[0], io.BytesIO(), hashlib.sha256()
    contents = [KINDS[kind](n)[1] for n in sizes]
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(getattr(torch, written["dtype"]))
        with (
            products_of(written["precision"]),
            torch.backends.mkldnn.flags(enabled=written["has_mkldnn"]),
            torch.backends.nnpack.flags(enabled=written["has_nnpack"]),
            ArchiveWriter(stream, {}, coder=coder, embeds_model=True, level=None) as archive,
        ):
            for _ in archive.write_all(zip(contents, sizes, strict=True), n_workers=written["workers"]):
                pass
    finally:
        torch.set_default_dtype(before)
    for content in contents:
        wanted.update(content)
    assert archive.summary.n_mismatches == 0
    assert elsewhere(stream.getvalue(), read) == wanted.hexdigest()
    assert archive.summary.n_blocks_by[Method.CODER] + archive.summary.n_blocks_by[Method.STORED] == len(sizes)
