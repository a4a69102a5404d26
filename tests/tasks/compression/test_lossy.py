"""Fitting a coder of images: it learns, gives the same for a seed, and says what it cannot take."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from latentkit.codec import LossyCoder, coder_from_state
from latentkit.codec.images import Pixels
from latentkit.codec.lossy import LatentPass
from latentkit.core.errors import DivergenceError, InvalidParameterError, UnfitDataError
from latentkit.evaluation import psnr
from latentkit.tasks.compression import LossyNetwork, LossySizes, TrainedEncoder, fit_lossy_coder
from latentkit.tasks.compression import lossy as fitting

SIZES = LossySizes(
    latents=24,
    hyper_latents=4,
    widths=(12, 16, 24),
    context=16,
    passes=(LatentPass(0, 8, 0), LatentPass(0, 8, 1), LatentPass(8, 24)),
)


def pictures(n: int, seed: int = 0, size: int = 24, channels: int = 3) -> np.ndarray:
    """Soft edges of random colours."""
    random = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1)
    directions, shifts = random.normal(size=(n, 2)), random.uniform(-size / 3, size / 3, n)
    along = np.einsum("hwd,nd->nhw", places - size / 2, directions) - shifts[:, None, None]
    edge = 1 / (1 + np.exp(-along))[..., None]
    colours = random.uniform(0, 255, (2, n, 1, 1, channels))
    noise = random.normal(0, 3, (n, size, size, channels))
    return (colours[0] * edge + colours[1] * (1 - edge) + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module", autouse=True)
def brief() -> Iterator[None]:
    """Fewer pixels for each step and for the tables, where how well it codes is not the question."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_PIXELS", 1 << 11)
        patch.setattr(fitting, "_N_EXAMPLES", 1 << 15)
        yield


@pytest.fixture(scope="module")
def fitted() -> LossyCoder:
    return fit_lossy_coder(pictures(200), n_steps=100, sizes=SIZES)


def test_it_codes_images_that_it_has_not_seen(fitted: LossyCoder) -> None:
    x = pictures(40, seed=1)
    points = []
    for quality in (10, 50, 90):
        coder = fitted.of(quality=quality)
        content, known = coder.encode_known(Pixels.block(x), 40)
        assert coder_from_state(coder.state()).decode(content, 40, len(known)) == known
        shown = np.frombuffer(known, np.uint8, offset=8).reshape(x.shape).copy()
        points.append((8 * len(content) / x[..., 0].size, float(psnr(x, shown, data_range=255).mean())))
    rates, decibels = zip(*points, strict=True)
    assert rates[0] < rates[1] < rates[2] < 4
    assert 18 < decibels[0] < decibels[1] < decibels[2]
    assert decibels[2] > 24


def test_whole_numbers_cost_little(fitted: LossyCoder) -> None:
    x = pictures(40, seed=1)
    for quality in (20, 80):
        known = fitted.of(quality=quality, bit_worth=0.0).reconstruct(Pixels.block(x), 40)
        shown = np.frombuffer(known, np.uint8, offset=8).reshape(x.shape).copy()
        assert fitted.encoder is not None
        real = fitted.encoder.reconstruct(torch.from_numpy(x).permute(0, 3, 1, 2), quality).permute(0, 2, 3, 1)
        lost = psnr(x, real, data_range=255).mean() - psnr(x, shown, data_range=255).mean()
        assert abs(float(lost)) < 0.2


def test_tables_are_those_of_what_comes(fitted: LossyCoder) -> None:
    """What is coded takes about as many bits as the network says, whose tables are normal distributions."""
    x = pictures(100, seed=1)
    coder = fitted.of(quality=80, bit_worth=0.0)
    network = fitted.encoder.network
    with torch.no_grad():
        trial = network(torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255, torch.full((100,), 79 / 99 * 4))
    told = float(trial.bits.sum())
    assert 8 * len(coder.encode(Pixels.block(x), 100)) < 1.05 * told


def test_other_sizes_are_coded_too(fitted: LossyCoder) -> None:
    for size in ((1, 1), (7, 13), (33, 1), (70, 41)):
        x = pictures(2, seed=2, size=70)[:, : size[0], : size[1]]
        content, known = fitted.encode_known(Pixels.block(x), 2)
        assert fitted.decode(content, 2, len(known)) == known


def test_a_seed_is_a_coder_and_the_global_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    options = {"n_steps": 3, "sizes": SIZES}
    states = [fit_lossy_coder(pictures(20), seed=seed, **options).state().fingerprint for seed in (0, 0, 1)]
    assert states[0] == states[1] != states[2]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_training_helps_and_may_go_on(fitted: LossyCoder) -> None:
    x = pictures(40, seed=1)

    def cost(coder: LossyCoder) -> float:
        content, known = coder.encode_known(Pixels.block(x), 40)
        error = np.square(np.frombuffer(known, np.uint8, offset=8).reshape(x.shape) - x.astype(float)).mean()
        worth = float(fitting.trade_off(torch.tensor(49 / 99 * 4), 5))
        return 8 * len(content) / x[..., 0].size + worth * error

    first = fit_lossy_coder(pictures(200), n_steps=0, sizes=SIZES, network=None)
    assert cost(fitted) < 0.9 * cost(first)
    told: list[tuple[int, float]] = []
    network = fitted.encoder.network
    before = fitted.encode(Pixels.block(x), 40)
    same = fit_lossy_coder(pictures(200), n_steps=0, network=network)
    assert cost(same) == pytest.approx(cost(fitted), rel=0.02)
    more = fit_lossy_coder(pictures(200), n_steps=100, network=network, report=lambda *values: told.append(values))
    assert cost(more) < cost(fitted)
    assert fitted.encode(Pixels.block(x), 40) == before, "a copy was trained"
    assert told[0][0] == 100


def test_a_coder_from_a_file_gets_its_encoder_back(fitted: LossyCoder) -> None:
    x = pictures(5, seed=3)
    network = LossyNetwork(SIZES)
    network.load_state_dict(fitted.encoder.network.state_dict())
    read = coder_from_state(fitted.state())
    assert isinstance(read, LossyCoder)
    again = read.of(encoder=TrainedEncoder(network))
    assert again.encode(Pixels.block(x), 5) == fitted.encode(Pixels.block(x), 5)


def test_grey_images_of_several_sizes() -> None:
    images = [*pictures(30, channels=1, size=20), *pictures(30, channels=1, size=30)[:, :, :17]]
    coder = fit_lossy_coder(images, n_steps=3, quality=70)
    assert (coder.model.channels, coder.quality) == (1, 70)
    for image in (images[0], images[-1]):
        content, known = coder.encode_known(Pixels.block(image[None]), 1)
        assert coder.decode(content, 1, 8 + image.size) == known


@pytest.mark.parametrize("shape", [(5, 1, 1, 3), (1, 40, 9, 3), (3, 24, 24, 1)])
def test_images_that_tell_little(shape: tuple[int, ...]) -> None:
    """Black ones, of one pixel, a single one: a coder comes of them that codes others too, if badly."""
    sizes = LossySizes(
        channels=shape[-1], latents=8, widths=(12, 16, 24), context=8, passes=(LatentPass(0, 8),), hyper_latents=2
    )
    coder = fit_lossy_coder(np.zeros(shape, np.uint8), n_steps=2, sizes=sizes)
    for x in (np.zeros(shape, np.uint8), np.random.default_rng(0).integers(0, 256, shape, np.uint8)):
        content, known = coder.encode_known(Pixels.block(x), len(x))
        assert coder.decode(content, len(x), len(known)) == known


def test_time_ends_training() -> None:
    told: list[int] = []
    fit_lossy_coder(
        pictures(20), n_steps=1_000_000, max_seconds=0.3, sizes=SIZES, report=lambda step, _: told.append(step)
    )
    assert max(told, default=0) < 2000


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "there are no images to learn from"),
        (
            np.zeros((3, 8, 8, 2), np.uint8),
            r"shape \(height, width, 1 or 3\); that of number 0 is \(8, 8, 2\) of uint8",
        ),
        (np.zeros((3, 8, 8, 3)), "of float64"),
        (np.zeros((3, 8, 8), np.uint8), "images must be of 8-bit pixels"),
        (np.zeros((3, 0, 8, 3), np.uint8), "images must be of 8-bit pixels"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 1), np.uint8)], "number 1 differs"),
    ],
)
def test_images_that_cannot_be_learned_from_are_refused(images, message: str) -> None:
    with pytest.raises(UnfitDataError, match=message):
        fit_lossy_coder(images, n_steps=1)


@pytest.mark.parametrize("options", [{"n_steps": -1}, {"max_seconds": 0.0}, {"learning_rate": 0.0}, {"quality": 0}])
def test_options_that_cannot_be_are_refused(options: dict) -> None:
    with pytest.raises(InvalidParameterError, match=next(iter(options))):
        fit_lossy_coder(pictures(4), **{"n_steps": 0, "sizes": SIZES, **options})


def test_a_network_of_other_images_is_refused() -> None:
    with pytest.raises(UnfitDataError, match="the network is for images of 3 channels, not 1"):
        fit_lossy_coder(pictures(4, channels=1), network=LossyNetwork(SIZES), n_steps=0)


def test_numbers_that_are_not_finite_end_training() -> None:
    network = LossyNetwork(SIZES)
    with torch.no_grad():
        network.synthesis[0].weight[0, 0] = torch.nan
    with pytest.raises(DivergenceError, match="the objective is nan at step 1; lower learning_rate"):
        fit_lossy_coder(pictures(4), network=network, n_steps=2)
