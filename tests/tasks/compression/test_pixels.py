"""Learning to code images: what is learnt is what is coded, to the third digit, and structure is found."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.core.seeds import generator
from latentkit.tasks.compression.pixels import (
    PixelModel,
    PixelSettings,
    fit_pixel_coder,
    pixel_coder,
    suitable_settings,
)

SMALL = PixelSettings(reach=3, width=16, n_tables=4, n_logistics=2, place_codes=2)


def small_settings(shape: tuple[int, int, int], gain: int = 1) -> PixelSettings:
    """In place of `suitable_settings`, where how well a coder codes is not the question."""
    return replace(SMALL, place_codes=SMALL.place_codes if shape[0] else 0)


def striped(n: int, side: int = 12, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Columns of one brightness, drawn anew in each image, with a little noise."""
    random = np.random.default_rng(seed)
    columns = random.integers(20, 230, (n, 1, side, channels))
    return (columns + random.integers(-2, 3, (n, side, side, channels))).astype(np.uint8)


def block(images: np.ndarray) -> bytes:
    return np.asarray(images.shape[1:3], "<u4").tobytes() + images.tobytes()


@pytest.fixture(scope="module")
def fitted():
    return fit_pixel_coder(striped(400), seed=0, max_time=None, max_epochs=60, settings=SMALL)


def test_new_images_take_what_was_learnt(fitted) -> None:
    """Rows after the first are known up to the noise, log2(5) bits; nothing is known of the first."""
    images = striped(100, seed=1)
    code = fitted.coder.encode(block(images), 100)
    assert fitted.coder.decode(code, 100, 8 + images.size) == block(images)
    bits = 8 * len(code) / images.size
    known = math.log2(5) * 11 / 12 + math.log2(210) / 12
    assert known < bits < known + 1.2, "and 7.7 without what is before it"
    assert bits == pytest.approx(fitted.bits, rel=0.05)


def test_whole_numbers_cost_little(fitted) -> None:
    """Against the model in floating-point numbers, pixel by pixel."""
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        model = PixelModel((12, 12, 1), SMALL, torch.full((1, 256), 1 / 256))
        for network in model.networks:
            for linear in network.linears:
                linear.weight.mul_(2.0)
        patch.setattr(PixelModel, "_is_flat", lambda self, x: torch.zeros(x.shape[:3], dtype=torch.bool))
        images = torch.from_numpy(striped(300, seed=2))
        n_pixels = len(images) * 144
        numbers = torch.arange(n_pixels)
        near, pixels = model._looked_up(images, numbers // 144, numbers % 144)
        bits = -float(model.log_probs(near, pixels, numbers % 144).sum()) / math.log(2)
    coder = pixel_coder(model, images, (12, 12, 1), seed=0)
    size = 8 * len(coder.encode(block(images.numpy()), 300))
    assert size == pytest.approx(bits, rel=0.006)


def test_the_estimate_of_a_batch_is_that_of_all_its_pixels() -> None:
    model = PixelModel((12, 12, 1), SMALL, torch.full((1, 256), 1 / 256))
    images = torch.from_numpy(striped(64))
    images[:, :, 6:] = 0  # flat parts are looked at less, and count as much
    with torch.no_grad():
        numbers = torch.arange(64 * 144)
        near, pixels = model._looked_up(images, numbers // 144, numbers % 144)
        whole = float(model.log_probs(near, pixels, numbers % 144).sum())
        torch.manual_seed(0)
        estimates = [float(model.log_prob(images).sum()) for _ in range(20)]
    assert np.mean(estimates) == pytest.approx(whole, abs=4 * np.std(estimates) / math.sqrt(20))
    assert model._is_flat(images).float().mean() > 0.2


def test_flat_pixels_are_those_whose_neighbours_are_alike() -> None:
    model = PixelModel((9, 9, 1), SMALL, torch.full((1, 256), 1 / 256))
    image = torch.zeros(1, 9, 9, 1, dtype=torch.uint8)
    image[0, 4, 4] = 9
    marked = (~model._is_flat(image)[0]).nonzero().tolist()
    offsets = model.context.neighbourhood.offsets
    assert sorted(marked) == sorted([4 - dy, 4 - dx] for dy, dx in offsets if 4 - dy < 9 and 0 <= 4 - dx < 9)


@pytest.mark.parametrize("channels", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_images_of_several_sizes_and_of_one_that_is_large(channels: int) -> None:
    images = [striped(1, side, channels)[0] for side in (20, 31, 70)]
    coder = fit_pixel_coder(images, seed=0, max_time=None, max_epochs=1).coder
    assert coder.shape == (0, 0, channels)
    for image in (*images, striped(1, 3, channels)[0]):
        content = block(image[None])
        assert coder.decode(coder.encode(content, 1), 1, len(content)) == content
    large = fit_pixel_coder([striped(1, 130, channels)[0]], seed=0, max_time=None, max_epochs=1).coder
    assert large.shape == (0, 0, channels)


def test_the_same_seed_gives_the_same_coder() -> None:
    before = torch.random.get_rng_state()
    images = striped(50)
    a, b = (fit_pixel_coder(images, seed=3, max_time=None, max_epochs=2, settings=SMALL).coder for _ in range(2))
    other = fit_pixel_coder(images, seed=4, max_time=None, max_epochs=2, settings=SMALL).coder
    assert a.state().fingerprint == b.state().fingerprint != other.state().fingerprint
    assert torch.equal(before, torch.random.get_rng_state())


def test_settings_follow_the_shape() -> None:
    assert suitable_settings((28, 28, 1)).place_codes > 0
    assert suitable_settings((0, 0, 1)).place_codes == 0
    assert suitable_settings((32, 32, 3)).is_centred
    assert suitable_settings((28, 28, 1), gain=255).n_logistics == 0


def test_examples_are_what_the_networks_take() -> None:
    model = PixelModel((5, 5, 3), SMALL, torch.full((3, 256), 1 / 256))
    found = model.examples(torch.from_numpy(striped(9, 5, 3)), 40, generator(0, "x"))
    assert [tuple(part.shape) for part in found] == [(40, model.context.n_features(c) + 2) for c in range(3)]


def test_without_an_end_there_is_no_training() -> None:
    with pytest.raises(InvalidParameterError, match="would train for ever"):
        fit_pixel_coder(striped(4), seed=0, max_time=None)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((3, 4, 4), np.uint8), InvalidParameterError, r"must be uint8 of shape \(height, width, channels\)"),
        (np.zeros((3, 4, 4, 1), np.int32), InvalidParameterError, "got int32"),
        (np.zeros((1, 4, 4, 1), np.uint8), DataError, "one small image is not enough"),
        (
            [np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4, 3), np.uint8)],
            DataError,
            r"equally many channels; got \[1, 3\]",
        ),
        ([], DataError, "got no images"),
    ],
)
def test_what_cannot_be_learnt_from(images, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit_pixel_coder(images, seed=0, max_time=1.0)
