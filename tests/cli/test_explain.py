"""``latentkit explain``: what each latent dimension means."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latentkit import GAN, VAE


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    random = np.random.default_rng(0)
    size = random.normal(size=60)
    model = VAE(latent_dim=3, encoder=(8,), decoder=(8,), max_epochs=15, random_state=0)
    model.fit(np.stack([size, -size], axis=1), run=folder / "run")
    np.savez(folder / "sizes.npz", x=np.stack([size, -size], axis=1), y=(size > 0).astype(int))
    return folder


def test_it_prints_what_dimensions_mean(latentkit, run) -> None:
    outcome = latentkit("explain", run / "run", run / "sizes.npz", "--labels", "y", "--dims", "2")
    assert outcome.code == 0, outcome.err
    assert "KL, nats" in outcome.out
    assert "looks at" in outcome.out
    assert "and 1 more (--dims)" in outcome.out
    assert "accuracy" in outcome.out
    assert "prototypes" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_the_document_holds_everything(latentkit, run) -> None:
    outcome = latentkit("explain", run / "run", run / "sizes.npz", "--integrated", "--json")
    found = json.loads(outcome.out)
    assert len(found["dimensions"]) == 3
    assert found["sensitivity"] == "integrated gradients"
    assert found["information"]["attributes"] == ["label", "column 0", "column 1"]
    assert len(found["prototypes"]) == 8


def test_a_run_without_an_encoder_says_so(latentkit, run, tmp_path) -> None:
    with np.load(run / "sizes.npz") as data:
        GAN(2, decoder=(8,), discriminator=(8,), max_epochs=1, random_state=0).fit(data["x"], run=tmp_path / "gan")
    outcome = latentkit("explain", tmp_path / "gan", run / "sizes.npz")
    assert outcome.code != 0
    assert "there is no encoder" in outcome.err
