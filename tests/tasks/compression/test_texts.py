"""Learning to code texts: what is learnt makes texts like it short; a byte does not foretell itself."""

from __future__ import annotations

import lzma

import numpy as np
import pytest

from latentkit.codec import TextCoder
from latentkit.core.errors import InvalidParameterError, UnfitDataError
from latentkit.tasks.compression import texts
from latentkit.tasks.compression.texts import fit_text_coder, known_part
from tests.codec.texts.hand_made import network, sentences

KNOWN, NEW = sentences(120, seed=1), sentences(100, seed=2)


@pytest.fixture(scope="module")
def learnt() -> TextCoder:
    return fit_text_coder(KNOWN, seed=3, n_epochs=4)


def test_what_is_learnt_beats_what_is_not(learnt: TextCoder) -> None:
    """A classic coder that knows the text, and a network that weighs all contexts alike."""
    classic = len(lzma.compress(KNOWN + NEW, preset=9)) - len(lzma.compress(KNOWN, preset=9))
    size = len(learnt.encode(NEW, 100))
    assert size < 0.7 * classic
    assert size < 0.95 * len(TextCoder(KNOWN, network()).encode(NEW, 100))


def test_a_seed_gives_the_same_coder(learnt: TextCoder) -> None:
    assert fit_text_coder(KNOWN, seed=3, n_epochs=4).state().fingerprint == learnt.state().fingerprint
    assert fit_text_coder(KNOWN, seed=4, n_epochs=4).state().fingerprint != learnt.state().fingerprint


def test_a_byte_does_not_foretell_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """In noise each context of several bytes is there once: nothing of it is to be believed."""
    _, odds, _ = texts._examples(np.random.default_rng(0).bytes(2000), np.random.default_rng(0))
    assert (odds[:, 3:6] != 0).float().mean() < 0.001
    made = fit_text_coder(np.random.default_rng(0).integers(97, 113, 4000).astype(np.uint8).tobytes())
    other = np.random.default_rng(1).integers(97, 113, 2000).astype(np.uint8).tobytes()
    assert len(made.encode(other, 1)) < 1.1 * 2000 / 2


def test_long_texts_are_known_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MOST_KNOWN", 160)
    text = bytes(range(250)) * 4
    part = known_part(text)
    assert len(part) == 160
    assert part[:10] == text[:10]
    assert part[-10:] in text[900:]
    assert known_part(text[:160]) == text[:160]


def test_time_ends_learning() -> None:
    assert isinstance(fit_text_coder(KNOWN, n_epochs=1_000_000, max_seconds=0.1), TextCoder)


def test_there_has_to_be_something_to_learn() -> None:
    with pytest.raises(UnfitDataError, match="9 bytes of text are too few to learn from: 64 are the least"):
        fit_text_coder(b"too short")
    with pytest.raises(InvalidParameterError, match="n_epochs"):
        fit_text_coder(KNOWN, n_epochs=0)
