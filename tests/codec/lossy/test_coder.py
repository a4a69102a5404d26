"""The coder of images: what it decodes is known beforehand, the same everywhere, and damage does no harm."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from latentkit.codec import AnsStack, CoderState, FrequencyTables, LossyCoder, coder_from_state
from latentkit.codec.images import Pixels
from latentkit.codec.lossy import Predictions
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError, LatentkitError, UnfitDataError
from tests.codec.lossy.examples import coder, images, model

SHAPE = (24, 16, 1)


@pytest.fixture
def threads_kept() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(24, 16, 1), (1, 1, 1), (7, 13, 3), (33, 1, 1), (1, 40, 3), (64, 65, 3)])
@pytest.mark.parametrize("kind", ["smooth", "noise", "constant"])
@pytest.mark.parametrize("quality", [1, 43, 100])
def test_what_comes_back_is_known_beforehand(shape: tuple[int, int, int], kind: str, quality: int) -> None:
    codec, block = coder(shape[2], quality), Pixels.block(images(5, shape, kind))
    content, known = codec.encode_known(block, 5)
    assert (len(known), known[:8]) == (len(block), block[:8])
    assert codec.decode(content, 5, len(block)) == known
    assert coder_from_state(codec.state()).decode(content, 5, len(block)) == known
    assert codec.encode(block, 5) == content
    assert codec.reconstruct(block, 5) == known


def test_what_is_decoded_depends_on_the_image() -> None:
    known = coder().reconstruct(Pixels.block(images(8, SHAPE, "smooth")), 8)
    assert len(np.unique(np.frombuffer(known, np.uint8, offset=8).reshape(8, -1), axis=0)) == 8


def test_a_block_tells_its_quality_and_size_itself() -> None:
    block = Pixels.block(images(3, (40, 9, 1), "noise"))
    content, known = coder(1, 77).encode_known(block, 3)
    assert coder(1, 5).decode(content, 3, len(block)) == known
    same = coder(1, 5).of(quality=77)
    assert same.quality == 77
    assert same.encode(block, 3) == content
    assert same.state().fingerprint == coder(1, 5).state().fingerprint, "all qualities are of one model"


def test_bits_that_are_worth_more_are_fewer() -> None:
    block = Pixels.block(images(80, SHAPE, "noise"))
    sizes = [len(coder(1, 100).of(bit_worth=worth).encode(block, 80)) for worth in (0.0, 0.1, 0.5)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_images_are_coded_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decoded does not depend on them, and the order of images is kept."""
    block = Pixels.block(images(9, SHAPE))
    content, known = coder().encode_known(block, 9)
    monkeypatch.setattr("latentkit.codec.lossy.coder._PIXELS_AT_ONCE", 2 * 1024)
    grouped, same = coder().encode_known(block, 9)
    assert same == known
    assert grouped != content
    assert coder().decode(grouped, 9, len(block)) == known


@pytest.mark.usefixtures("threads_kept")
@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")
def test_one_reconstruction_in_every_setting() -> None:
    x = images(6, (17, 30, 3), "noise")
    block, codec = Pixels.block(x), coder(3, 60)
    content, known = codec.encode_known(block, 6)
    single = [codec.encode_known(Pixels.block(image[None]), 1) for image in x]
    assert b"".join(part[8:] for _, part in single) == known[8:]
    for n_threads, has_mkldnn, has_nnpack, precision in itertools.product(
        (1, 2), (True, False), (True, False), ("highest", "medium")
    ):
        torch.set_num_threads(n_threads)
        reader = coder_from_state(codec.state())
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(precision)
        try:
            with torch.backends.mkldnn.flags(enabled=has_mkldnn), torch.backends.nnpack.flags(enabled=has_nnpack):
                assert reader.decode(content, 6, len(block)) == known
                assert [reader.decode(code, 1, 8 + x[0].size) for code, _ in single] == [each for _, each in single]
        finally:
            torch.set_float32_matmul_precision(before)


def test_the_state_stays_the_same() -> None:
    state = coder().state()
    again = coder_from_state(CoderState.from_bytes(state.to_bytes()))
    assert again.state().to_bytes() == state.to_bytes()
    assert isinstance(again, LossyCoder)
    assert (again.model.channels, again.encoder) == (1, None)


def test_golden_bytes() -> None:
    """A code of flat tables, which no floating-point number has touched, decodes to these pixels for good."""
    codec = coder(1, 30, has_real_tables=False)
    state = codec.state().to_bytes()
    assert hashlib.sha256(state).hexdigest() == "96c851d26a25afbb77a6f2f9e24cb877c5f9afa600d4aec19011833db5344dcf"
    content = bytes.fromhex("1e0109078abcc7b656b03c80e351b9106c883a")
    assert (
        hashlib.sha256(codec.decode(content, 2, 134)[8:]).hexdigest()
        == "26b0723fa508d171e608e138aa8198dfb3ae75aaed1b2bf00975eb9c0ea3fa3a"
    )
    assert codec.encode(Pixels.block(images(2, (9, 7, 1))), 2) == content


# What is refused


def test_without_an_encoder_there_is_only_decoding() -> None:
    with pytest.raises(UnfitDataError, match="comes from an archive"):
        coder_from_state(coder().state()).encode(Pixels.block(images(1, SHAPE)), 1)


@pytest.mark.parametrize(
    ("block", "n", "message"),
    [
        (Pixels.block(images(2, SHAPE)), 1, r"776 bytes are not 1 images of shape \(24, 16, 1\)"),
        (Pixels.block(images(1, (24, 16, 3))), 1, "1,160 bytes are not 1 images"),
        (Pixels(Pixels.block(images(1, SHAPE))[:-1]), 1, "391 bytes are not 1 images"),
        (Pixels(b"\1\0"), 1, r"1 images of \(1, 0\) pixels cannot be coded"),
        (Pixels(Pixels.head(1 << 25, 1)), 1, "cannot be coded"),
        (Pixels.block(images(0, SHAPE)), 0, r"0 images of \(24, 16\) pixels cannot be coded"),
        (bytes(Pixels.block(images(1, SHAPE))), 1, "these bytes are not known to be pixels"),
    ],
)
def test_blocks_of_other_bytes_are_unfit(block: bytes, n: int, message: str) -> None:
    """Those of pixels that do not say so are, too: what looks like pixels may be something else."""
    with pytest.raises(UnfitDataError, match=message):
        coder().encode(block, n)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quality": 0}, "quality must be an integer from 1 to 100"),
        ({"quality": 101}, "quality must be an integer from 1 to 100"),
        ({"bit_worth": -0.1}, "bit_worth must be a float in"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        LossyCoder(model(), **settings)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (lambda of: {"synthesis": of.predictions.predictors[0]}, "the synthesis must take all latents"),
        (lambda of: {"hyper_tables": of.residual_tables}, "there must be 6 tables of 63 hyper-latents"),
        (lambda of: {"residual_tables": of.hyper_tables}, "there must be 64 tables of 128 residuals"),
        (
            lambda of: {"residual_tables": FrequencyTables(np.eye(128, dtype=int)[:64] * 4096, 12, least=0)},
            "others must have a frequency",
        ),
    ],
)
def test_models_that_do_not_fit_are_refused(parts, message: str) -> None:
    of = model()
    with pytest.raises(InvalidParameterError, match=message):
        dataclasses.replace(of, **parts(of))


def test_a_synthesis_of_no_pixels_and_networks_too_wide_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentkit.codec.lossy.coder.STRIDE", 16)
    with pytest.raises(InvalidParameterError, match="the synthesis must give pixels"):
        model()
    monkeypatch.undo()
    monkeypatch.setattr("latentkit.codec.lossy.coder._MOST_PER_PIXEL", 0.5)
    with pytest.raises(InvalidParameterError, match="at most 0.5 numbers for a pixel"):
        model()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the size of its images cannot be read"),
        (b"\x32\x01\x18", "the size of its images cannot be read"),
        (b"\x32\x01\x80\x80\x80\x80\x80\x01\x10", "the size of its images cannot be read"),
        (b"\x00\x01\x18\x10", "cannot be"),
        (b"\x65\x01\x18\x10", "cannot be"),
        (b"\x32\x00\x18\x10", "cannot be"),
        (b"\x32\x81\x02\x18\x10", "cannot be"),
        (b"\x32\x01\x19\x10" + bytes(8), "2 images of 25 x 16 pixels do not have 776 bytes"),
        (b"\x32\x01\x18\x10" + bytes(7), "are no stack"),
    ],
)
def test_contents_that_cannot_be_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(DamagedArchiveError, match=message):
        coder().decode(content, 2, 776)


def test_what_is_left_over_is_noticed() -> None:
    content = coder().encode(Pixels.block(images(2, SHAPE)), 2)
    with pytest.raises(DamagedArchiveError, match="something is left after the last image"):
        coder().decode(content + bytes(4), 2, 776)
    stack = AnsStack.from_bytes(content[4:], 1)
    short = content[: len(content) - 4 * stack.n_words]
    with pytest.raises(DamagedArchiveError, match="ends before all"):
        coder().decode(short, 2, 776)


often = pytest.mark.parametrize("n", [300, pytest.param(1000, marks=pytest.mark.slow)])


@often
def test_damaged_contents_do_no_harm(n: int) -> None:
    codec, random = coder(), np.random.default_rng(0)
    content = codec.encode(Pixels.block(images(2, (8, 8, 1), "noise")), 2)
    outcomes = []
    for number in range(n):
        if number == n - 50:
            tracemalloc.start()
        damaged = bytearray(content)
        for place in random.integers(len(content), size=random.integers(1, 4)):
            damaged[place] = random.integers(256)
        cut = len(content) if random.random() < 0.7 else int(random.integers(len(content)))
        try:
            outcomes.append(len(codec.decode(bytes(damaged[:cut]), 2, 136)))
        except DamagedArchiveError:
            outcomes.append(-1)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert set(outcomes) <= {-1, 136}
    assert outcomes.count(-1) > 0.3 * n


@often
def test_damaged_states_do_no_harm(n: int) -> None:
    state, random = coder().state().to_bytes(), np.random.default_rng(0)
    content = coder().encode(Pixels.block(images(1, (8, 8, 1))), 1)
    told = 4 + int.from_bytes(state[:4], "little")
    outcomes = []
    for number in range(n):
        damaged = bytearray(state)
        # the description, and then everything
        for place in random.integers(
            4 if number % 2 else told, told if number % 2 else len(state), size=random.integers(1, 4)
        ):
            damaged[place] = random.integers(48, 58) if number % 4 == 1 else random.integers(256)
        try:
            outcomes.append(len(coder_from_state(CoderState.from_bytes(bytes(damaged))).decode(content, 1, 72)))
        except DamagedArchiveError:
            outcomes.append(-1)
    assert set(outcomes) <= {-1, 72}
    assert outcomes.count(-1) > 0.2 * n


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(transforms=[]),
        lambda s: s.update(transforms={"synthesis": 5}),
        lambda s: s["transforms"].pop("predictor_1"),
        lambda s: s.update(passes=[[0, 2, 0]]),
        lambda s: s.update(passes=[[0, 2], [2, 4]]),
        lambda s: s.update(passes="abc"),
        lambda s: s.update(passes=None),
        lambda s: s["passes"].__setitem__(0, [0, 2, 5]),
        lambda s: s.update(precisions=[13, 60]),
        lambda s: s.update(precisions=13),
    ],
)
def test_settings_of_no_coder_are_damage(change) -> None:
    state = coder().state()
    settings = json.loads(json.dumps(state.settings))
    change(settings)
    with pytest.raises(DamagedArchiveError):
        coder_from_state(CoderState("lossy", settings, state.arrays))


def test_arrays_of_no_coder_are_damage() -> None:
    state = coder().state()
    for name in state.arrays:
        for values in (np.zeros(0, np.int64), np.full((2, 2, 2), 7), np.full(state.arrays[name].shape, 1 << 62)):
            with pytest.raises(LatentkitError):
                coder_from_state(CoderState("lossy", state.settings, {**state.arrays, name: values}))
        with pytest.raises(DamagedArchiveError):
            coder_from_state(
                CoderState("lossy", state.settings, {key: v for key, v in state.arrays.items() if key != name})
            )


def test_predictions_are_verified_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(Predictions, "verify", lambda self: asked.append(1))
    codec = coder()
    codec.encode(Pixels.block(images(1, SHAPE)), 1)
    codec.encode(Pixels.block(images(1, SHAPE)), 1)
    assert len(asked) == 1
