"""Augmentations: what they draw, of which examples, and when."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentkit import VAE
from latentkit.core.errors import InvalidParameterError
from latentkit.training import Feed, augmentations, build_augmentation


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(names: object, **options: object) -> object:
    return build_augmentation(names, **{"event_shape": (1, 6, 5), "is_bounded": True, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", augmentations.names())
def test_every_augmentation_keeps_shape_and_dtype_and_follows_its_source(name: str) -> None:
    x = torch.rand(64, 1, 6, 5, generator=source(1))
    augment = build(name)
    drawn = augment(x, source())  # type: ignore[operator]
    assert drawn.shape == x.shape
    assert drawn.dtype == x.dtype
    assert not torch.equal(drawn, x)
    assert torch.equal(drawn, augment(x, source()))  # type: ignore[operator]
    assert not torch.equal(drawn, augment(x, source(7)))  # type: ignore[operator]


def test_binarised_numbers_are_one_as_often_as_they_say() -> None:
    drawn = augmentations["binarize"]()(torch.full((20_000, 1), 0.3), source())
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(0.3, abs=0.015)


def test_a_shift_moves_the_picture_and_repeats_its_edge() -> None:
    x = torch.arange(30.0).reshape(1, 1, 6, 5).repeat(200, 1, 1, 1)
    rows = [torch.tensor([0, 0, 1, 2, 3, 4]), torch.arange(6), torch.tensor([1, 2, 3, 4, 5, 5])]
    columns = [torch.tensor([0, 0, 1, 2, 3]), torch.arange(5), torch.tensor([1, 2, 3, 4, 4])]
    moved = {tuple(x[0, 0][r][:, c].flatten().tolist()) for r in rows for c in columns}
    assert {tuple(image.flatten().tolist()) for image in augmentations["shift"]()(x, source())} == moved


def test_a_flip_mirrors_half() -> None:
    x = torch.rand(400, 3, 4, 4, generator=source(1))
    drawn = augmentations["flip"]()(x, source())
    mirrored = (drawn == x.flip(-1)).flatten(1).all(1)
    assert ((drawn == x).flatten(1).all(1) ^ mirrored).all()
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_what_redefines_the_data_comes_last_and_is_all_that_held_out_rows_get() -> None:
    x = torch.rand(8, 1, 6, 5, generator=source(1))
    both = build(("binarize", "shift"))(x, source())  # type: ignore[operator]
    assert set(both.unique().tolist()) <= {0.0, 1.0}
    judged = build(("binarize", "shift"), validation=True)
    assert torch.equal(judged(x, source()), augmentations["binarize"]()(x, source()))  # type: ignore[operator]
    assert build("flip", validation=True) is None


def test_epochs_differ_and_a_resumed_epoch_goes_on_alike() -> None:
    feed = Feed(torch.full((8, 3), 0.5), lambda x: x, augment=build("binarize", event_shape=(3,)))  # type: ignore[arg-type]
    first, again, second = ([b.x for b in feed.epoch(4, seed=0, epoch=e)] for e in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(torch.cat(first), torch.cat(second))
    assert torch.equal(next(iter(feed.epoch(4, seed=0, epoch=0, start=1))).x, first[1])
    assert torch.equal(feed.batch(slice(0, 4)).x, torch.full((4, 3), 0.5))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"names": "shift", "event_shape": (9,)}, "is for images"),
        ({"names": "binarize", "is_bounded": False}, "as probabilities"),
        ({"names": "flop"}, "Did you mean 'flip'"),
    ],
)
def test_an_augmentation_that_the_data_do_not_allow_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        build(options.pop("names"), **options)


def test_grey_pictures_are_learnt_as_binary_ones() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)  # a schema of bytes
    vae = VAE(2, encoder=(8,), decoder=(8,), augmentation="binarize", max_epochs=2, random_state=0).fit(grey)
    assert vae.specification_.likelihood == "bernoulli"
    binary = np.where(grey > 127, 255, 0).astype(np.uint8)
    assert np.isfinite(vae.score(binary))
