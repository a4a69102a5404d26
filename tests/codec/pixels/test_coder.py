"""Images through a coder: the same pixels in every setting, the bits that the model says, damage named."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentkit.codec import CoderState, PixelCoder, coder_from_state
from latentkit.codec.pixels import coder as module
from latentkit.core.errors import DamagedArchiveError, UnfitDataError
from tests.codec.pixels.models import block, random_coder, smooth

GREY, COLOUR, ANY = (6, 5, 1), (5, 4, 3), (0, 0, 2)


@pytest.mark.parametrize("is_centred", [False, True])
@pytest.mark.parametrize("shape", [GREY, COLOUR, (1, 1, 1), (1, 9, 1), (9, 1, 2)])
@pytest.mark.parametrize("n", [1, 2, 3, pytest.param(300, marks=pytest.mark.slow)])
def test_what_is_encoded_is_decoded(shape: tuple[int, int, int], n: int, is_centred: bool) -> None:
    coder = random_coder(shape, is_centred=is_centred)
    content = block(smooth(n, shape))
    assert coder.decode(coder.encode(content, n), n, len(content)) == content


@pytest.mark.parametrize("kind", ["noise", "zeros", "white", "one image"])
def test_any_pixels_come_back(kind: str) -> None:
    images = {
        "noise": np.random.default_rng(0).integers(0, 256, (40, *GREY)).astype(np.uint8),
        "zeros": np.zeros((40, *GREY), np.uint8),
        "white": np.full((40, *GREY), 255, np.uint8),
        "one image": np.repeat(smooth(1, GREY), 40, 0),
    }[kind]
    coder, content = random_coder(GREY), block(images)
    assert coder.decode(coder.encode(content, 40), 40, len(content)) == content


@settings(max_examples=8)
@given(height=st.integers(1, 12), width=st.integers(1, 12), n=st.integers(1, 9), seed=st.integers(0, 50))
def test_images_of_any_size(height: int, width: int, n: int, seed: int) -> None:
    coder = random_coder(ANY, seed=seed)
    content = block(smooth(n, (height, width, 2), seed))
    assert coder.decode(coder.encode(content, n), n, len(content)) == content


def test_the_code_takes_the_bits_that_the_model_says() -> None:
    """The sum of -log2 of the intervals' shares; lanes cost a few bits each."""
    coder, images = random_coder(GREY), smooth(1200, GREY)
    bits = 0.0
    intervals = module.MixtureTables.intervals

    def noted(self, mixtures, symbols):
        nonlocal bits
        starts, frequencies = intervals(self, mixtures, symbols)
        bits += float((27 - np.log2(frequencies)).sum())
        return starts, frequencies

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.MixtureTables, "intervals", noted)
        size = 8 * len(coder.encode(block(images), 1200))
    assert bits < size < 1.004 * bits


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")
def test_one_code_in_every_setting() -> None:
    """Of threads and kernels, and of blocks of another size before it."""
    coder, content = random_coder(COLOUR, is_centred=True), block(smooth(6, COLOUR))
    before = torch.get_num_threads()
    codes = set()
    try:
        for n_threads, has_mkldnn, precision in itertools.product((1, 2), (True, False), ("highest", "medium")):
            torch.set_num_threads(n_threads)
            torch.set_float32_matmul_precision(precision)
            with torch.backends.mkldnn.flags(enabled=has_mkldnn):
                codes.add(coder.encode(content, 6))
                assert coder.decode(next(iter(codes)), 6, len(content)) == content
    finally:
        torch.set_num_threads(before)
        torch.set_float32_matmul_precision("highest")
    assert len(codes) == 1


def test_the_bytes_are_those_of_the_format() -> None:
    """They are read by every later version: a change of these is a change of the format."""
    coder = random_coder(GREY)
    code = coder.encode(block(smooth(300, GREY)), 300)
    assert (len(code), hashlib.sha256(code).hexdigest()[:16]) == (11135, "5a8d1a5a1facb76d")


@pytest.mark.parametrize("shape", [GREY, pytest.param(COLOUR, marks=pytest.mark.slow)])
def test_how_many_pixels_are_found_at_once_changes_nothing(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    coder, content = random_coder(shape, is_centred=True), block(smooth(301, shape))
    code = coder.encode(content, 301)
    monkeypatch.setattr(module, "_AT_ONCE", 64)
    assert coder.encode(content, 301) == code
    assert coder.decode(code, 301, len(content)) == content


@pytest.mark.slow
def test_a_state_makes_the_coder_again_in_another_process(tmp_path) -> None:
    coder, content = random_coder(COLOUR), block(smooth(20, COLOUR))
    (tmp_path / "state").write_bytes(coder.state().to_bytes())
    (tmp_path / "code").write_bytes(coder.encode(content, 20))
    program = (
        "import sys, torch; from pathlib import Path; from latentkit.codec import CoderState, coder_from_state\n"
        "torch.set_num_threads(2); torch.set_float32_matmul_precision('medium')\n"
        "folder = Path(sys.argv[1]); coder = coder_from_state(CoderState.from_bytes((folder / 'state').read_bytes()))\n"
        "(folder / 'block').write_bytes(coder.decode((folder / 'code').read_bytes(), 20, int(sys.argv[2])))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path), str(len(content))], check=True, timeout=100)
    assert (tmp_path / "block").read_bytes() == content


def test_a_state_makes_the_coder_again() -> None:
    coder, content = random_coder(COLOUR), block(smooth(3, COLOUR))
    again = coder_from_state(CoderState.from_bytes(coder.state().to_bytes()))
    assert again.state().fingerprint == coder.state().fingerprint
    assert again.decode(coder.encode(content, 3), 3, len(content)) == content


@pytest.mark.parametrize(
    ("content", "n"),
    [
        (b"", 1),
        (b"\6\0\0\0\5\0\0\0", 0),
        (b"\6\0\0\0\5\0\0\0", 1),
        (block(smooth(2, GREY)), 3),
        (block(smooth(2, (5, 6, 1))), 2),
        (block(smooth(2, GREY)) + b"\0", 2),
        (block(np.zeros((1, 0, 5, 1), np.uint8)), 1),
    ],
)
def test_blocks_of_another_form_are_not_taken(content: bytes, n: int) -> None:
    with pytest.raises(UnfitDataError, match=r"bytes are not .* images that this model is of"):
        random_coder(GREY).encode(content, n)


def test_a_code_of_another_size_is_damage() -> None:
    coder, content = random_coder(GREY), block(smooth(20, GREY))
    code = coder.encode(content, 20)
    for n, size in ((20, len(content) + 1), (0, 8), (21, len(content)), (1 << 40, len(content))):
        with pytest.raises(DamagedArchiveError, match=r"bytes are not .* images of 6 x 5 pixels"):
            coder.decode(code, n, size)
    with pytest.raises(DamagedArchiveError, match="it ends before its first images do"):
        coder.decode(code[:8] + b"\xff\xff\xff\xff" + code[12:], 20, len(content))


@settings(max_examples=12)
@given(data=st.data())
def test_damage_is_noticed_or_gives_other_pixels_and_nothing_else(data) -> None:
    check_damage(data)


@pytest.mark.slow
@settings(max_examples=200)
@given(data=st.data())
def test_much_damage_is_noticed_or_gives_other_pixels_and_nothing_else(data) -> None:
    check_damage(data)


def check_damage(data) -> None:
    coder, n = random_coder(GREY), data.draw(st.sampled_from([1, 40]))
    content = block(smooth(n, GREY))
    code = bytearray(coder.encode(content, n))
    for _ in range(data.draw(st.integers(1, 3))):
        code[data.draw(st.integers(0, len(code) - 1))] ^= data.draw(st.integers(1, 255))
    code = code[: data.draw(st.integers(0, len(code)))] if data.draw(st.booleans()) else code
    try:
        found = coder.decode(bytes(code), n, len(content))
    except DamagedArchiveError:
        return
    assert len(found) == len(content)


@pytest.mark.slow
def test_most_damage_is_noticed_by_what_is_left() -> None:
    coder, content = random_coder(GREY), block(smooth(40, GREY))
    code = coder.encode(content, 40)
    n_noticed = 0
    for place in range(12, len(code), len(code) // 12):
        other = bytearray(code)
        other[place] ^= 16
        try:
            coder.decode(bytes(other), 40, len(content))
        except DamagedArchiveError:
            n_noticed += 1
    assert n_noticed > 9


@settings(max_examples=50)
@given(data=st.data())
def test_a_damaged_state_is_named(data) -> None:
    content = bytearray(random_coder(COLOUR, codes=1).state().to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        coder = coder_from_state(CoderState.from_bytes(bytes(content)))
    except DamagedArchiveError:
        return
    images = block(smooth(2, COLOUR))
    if coder.shape == COLOUR:
        assert coder.decode(coder.encode(images, 2), 2, len(images)) == images


def test_parts_that_do_not_fit_together_are_refused() -> None:
    coder = random_coder(GREY)
    parts = (coder.context, coder.networks, coder.mixtures)
    with pytest.raises(DamagedArchiveError, match="its networks and places are not of images of shape"):
        PixelCoder(GREY, *parts, coder.places[1:])
    with pytest.raises(DamagedArchiveError, match="its networks and places are not of images of shape"):
        PixelCoder((6, 5, 2), *parts, coder.places)
    with pytest.raises(DamagedArchiveError, match="its networks and places are not of images of shape"):
        PixelCoder(GREY, *parts, coder.places * 1000)
    with pytest.raises(DamagedArchiveError, match="the network of channel 0 does not take what there is"):
        PixelCoder(GREY, *parts, coder.places[:, :1])
