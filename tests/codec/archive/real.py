"""What is in the frozen archives of real coders: made of hashes, the same wherever the tests run; and the coders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from latentkit.codec import Coder
from latentkit.codec.bits_back import BitsBackCoder, LatentChain, LatentLayer, Likelihood, Logistics, Shares
from latentkit.codec.exact import ExactLayer, ExactNetwork, Span
from tests.codec.archive.examples import noise, text
from tests.codec.bits_back.models import grid, trained


def shades(n: int, height: int, width: int, channels: int, name: str = "") -> np.ndarray:
    """Images whose pixels are near those beside them, uint8, shape (n, height, width, channels)."""
    steps = np.frombuffer(noise(n * height * width * channels, f"shades {name}"), np.uint8).astype(np.int64) % 9 - 4
    sums = steps.reshape(n, height, width, channels).cumsum(1).cumsum(2)
    return ((128 + sums) % 256).astype(np.uint8)


def pixels_block(images: np.ndarray) -> bytes:
    """Images as a block."""
    return np.asarray(images.shape[1:3], "<u4").tobytes() + images.tobytes()


def bits(n: int, name: str = "") -> np.ndarray:
    """Bits that hang together by three causes, uint8, shape (n, 30)."""
    loadings = np.frombuffer(noise(90, "loadings"), np.uint8).astype(np.int64).reshape(3, 30) - 128
    causes = np.frombuffer(noise(3 * n, f"causes {name}"), np.uint8).astype(np.int64).reshape(n, 3) - 128
    noises = np.frombuffer(noise(30 * n, f"bits {name}"), np.uint8).astype(np.int64).reshape(n, 30) - 128
    return (causes @ loadings > 24 * noises).astype(np.uint8)


def lines(n: int, name: str = "") -> bytes:
    """Lines of a table, of which a cell tells about another."""
    numbers = np.frombuffer(noise(3 * n, f"lines {name}"), np.uint8).reshape(n, 3).tolist()
    rows = (f"{a % 60},{('low', 'middle', 'high')[a % 60 // 20]},{b % 16 / 4},{c % 3}" for a, b, c in numbers)
    return "".join(f"{row}\n" for row in rows).encode()


def _pixel_coder(channels: int) -> Coder:
    from latentkit.tasks.compression import PixelSettings, fit_pixel_coder

    settings = PixelSettings(
        reach=2, width=8, n_tables=2, n_logistics=2, place_codes=2 * (channels > 1), is_centred=channels == 1
    )
    images = shades(400, 9, 11, channels, "learnt")
    return fit_pixel_coder(images, seed=0, max_time=None, max_epochs=12, settings=settings).coder


def _bits_back_coder(*dims: int) -> Coder:
    return BitsBackCoder(trained(*dims, examples=bits(1000, "learnt")), b"\0\1")


def _small_bits_back_coder(likelihood: Likelihood) -> Coder:
    """A coder of rows of 6 numbers by weights that nobody has learnt."""

    def network(name: str, n_inputs: int, n_outputs: int, inputs: Span, outputs: Span) -> ExactNetwork:
        weights = (
            np.frombuffer(noise(n_inputs * n_outputs, name), np.uint8).astype(np.int64).reshape(n_outputs, -1) - 128
        )
        biases = np.frombuffer(noise(n_outputs, f"{name} bias"), np.uint8).astype(np.int64)
        return ExactNetwork([ExactLayer(weights, biases, np.full(n_outputs, 5), inputs=inputs, outputs=outputs)])

    latents = grid(2)
    layer = LatentLayer(
        latents,
        network("encoder", 6, 4, Span(0, likelihood.n_symbols - 1), Span(-64, 63)),
        network("decoder", 2, 6 * likelihood.n_parameters, latents.span, Span(-300, 300)),
        np.arange(-48, 1),
        -48,
    )
    return BitsBackCoder(LatentChain([layer], likelihood), bytes(range(40, 40 + likelihood.n_symbols)))


def few(n: int, n_symbols: int) -> bytes:
    """Rows of 6 bytes of few symbols, the first of which are frequent."""
    values = np.frombuffer(noise(6 * n, "few"), np.uint8).astype(np.int64)
    return (40 + values * values * n_symbols // 255**2 % n_symbols).astype(np.uint8).tobytes()


def _row_coder() -> Coder:
    from latentkit.tasks.compression import fit_row_coder

    return fit_row_coder([lines(1500, "learnt")], n_steps=200)


#: For each archive: its blocks, and what makes the coder that it holds.
REAL: dict[str, tuple[list[tuple[bytes, int]], Callable[[], Coder]]] = {
    "1-pixels-grey": (
        [(pixels_block(shades(9, 9, 11, 1)), 9), (pixels_block(shades(1, 9, 11, 1, "alone")), 1)],
        lambda: _pixel_coder(1),
    ),
    "1-pixels-colour": ([(pixels_block(shades(5, 9, 11, 3)), 5)], lambda: _pixel_coder(3)),
    "1-bits-back": ([(bits(300).tobytes(), 300), (bits(40, "more").tobytes(), 40)], lambda: _bits_back_coder(3)),
    "1-bits-back-chain": ([(bits(300).tobytes(), 300)], lambda: _bits_back_coder(4, 2)),
    "1-bits-back-shares": ([(few(200, 5), 200)], lambda: _small_bits_back_coder(Shares(5))),
    "1-bits-back-logistic": (
        [(few(200, 20), 200)],
        lambda: _small_bits_back_coder(Logistics(20, 1, lowest=-9, levels=np.arange(10, 30))),
    ),
    "1-bits-back-logistics": (
        [(few(200, 20), 200)],
        lambda: _small_bits_back_coder(Logistics(20, 2, lowest=-9, levels=np.arange(10, 30))),
    ),
    "1-rows": ([(lines(400), 400), (b"odd\n" + lines(300, "more") + b"61,unheard,9.9,7\nend", 303)], _row_coder),
}


def make_folder(folder: Path) -> None:
    """Write a folder of images and other files, times and permissions as they come."""
    from PIL import Image

    (folder / "deep").mkdir(parents=True)
    for number, image in enumerate(shades(4, 12, 10, 3, "folder")):
        Image.fromarray(image).save(folder / f"{number}.png")
    Image.fromarray(shades(1, 9, 9, 1, "folder")[0, :, :, 0]).save(folder / "deep" / "grey.png")
    (folder / "deep" / "notes.txt").write_bytes(text(900))
    (folder / "noise.bin").write_bytes(noise(300))
    (folder / "empty").write_bytes(b"")


def table() -> Any:
    """A table of several types, with nulls, categories and something told of it."""
    import pyarrow as pa

    columns = {
        "number": pa.array([1, None, -3, 2**62]),
        "real": pa.array([0.5, -0.0, None, 1e300]),
        "text": pa.array(["a\tb", "", None, "größe"]),
        "when": pa.array([0, 1_700_000_000_500_000, None, -1]).view(pa.timestamp("us", "UTC")),
        "kind": pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 1], pa.int8()), ["low", "high", "none"]),
    }
    return pa.table(columns).replace_schema_metadata({"told": "by us"})
