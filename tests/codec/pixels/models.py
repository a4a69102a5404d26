"""Small coders of images with weights drawn by a seed: what they find probable is beside the point."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from latentkit.codec import FrequencyTables, MixtureTables, PixelCoder
from latentkit.codec.exact import ExactLayer, ExactNetwork, Span
from latentkit.codec.mixtures import TABLE_BITS
from latentkit.codec.pixels import Context, Neighbourhood
from latentkit.codec.pixels.context import FEATURES

HIDDEN = Span(0, 255)


@lru_cache
def random_coder(
    shape: tuple[int, int, int],
    *,
    reach: int = 3,
    codes: int = 2,
    is_centred: bool = False,
    seed: int = 0,
    gain: int = 1,
) -> PixelCoder:
    """A coder of images of a shape, or of any where height and width are 0."""
    random = np.random.default_rng(seed)
    context = Context(Neighbourhood.within(reach), shape[2], is_centred, gain)
    n_places = shape[0] * shape[1]
    places = random.integers(-255, 256, (n_places, codes if n_places else 0))
    networks, mixtures = [], []
    for channel in range(shape[2]):
        shares = random.dirichlet(np.full(256, 0.2), 3)
        mixtures.append(MixtureTables(FrequencyTables.of(shares, TABLE_BITS, least=0), n_logistics=2))
        n_inputs = context.n_features(channel) + places.shape[1]
        first = ExactLayer(
            random.integers(-9, 10, (8, n_inputs)),
            random.integers(-500, 500, 8),
            np.full(8, 4),
            inputs=FEATURES,
            outputs=HIDDEN,
        )
        last = ExactLayer(
            random.integers(-9, 10, (mixtures[-1].n_outputs, 8)),
            random.integers(-500, 500, mixtures[-1].n_outputs),
            np.full(mixtures[-1].n_outputs, 4),
            inputs=HIDDEN,
            outputs=Span(-8192, 8191),
        )
        networks.append(ExactNetwork([first, last]))
    return PixelCoder(shape, context, networks, mixtures, places)


def block(images: np.ndarray) -> bytes:
    """Images, shape (n, height, width, channels), as a block."""
    return np.asarray(images.shape[1:3], "<u4").tobytes() + images.tobytes()


def smooth(n: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Images whose pixels are near those beside them."""
    random = np.random.default_rng(seed)
    steps = random.normal(0, 6, (n, *shape))
    images = 128 + steps.cumsum(1).cumsum(2) / 3
    return images.round().clip(0, 255).astype(np.uint8)
