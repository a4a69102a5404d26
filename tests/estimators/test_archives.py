"""Fitted models as archivers: every byte comes back, by the model that a run keeps, or a named error says why not."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from latentkit import VAE, load
from latentkit.core.errors import ArchiveError, DamagedRunError, UnsupportedOperationError
from latentkit.core.files import sha256
from latentkit.estimators.registry import estimators
from latentkit.estimators.runs import keep_coder
from tests.estimators.cases import classes, folder, pixels, rows, small
from tests.estimators.members import MEMBERS

IMAGES = pixels(200, 6, 7)


def fitted(X: Any = IMAGES, **settings: Any) -> VAE:
    return small(**{"max_epochs": 20, "learning_rate": 1e-2, "ex_post": "none", **settings}).fit(X)


@pytest.fixture(scope="module")
def vae() -> VAE:
    return fitted()


@pytest.mark.parametrize(
    ("array", "fits"),
    [
        (IMAGES, True),
        (IMAGES[:1], True),
        pytest.param(IMAGES.reshape(-1, 42), True, marks=pytest.mark.slow),
        pytest.param(IMAGES[..., None], True, marks=pytest.mark.slow),
        (IMAGES[:, :5], False),
        (IMAGES.astype(np.float32), False),
    ],
    ids=["images", "one", "rows", "channel", "other size", "floats"],
)
def test_every_array_comes_back(vae: VAE, array: np.ndarray, fits: bool) -> None:
    stream = io.BytesIO()
    archived = vae.compress(array, stream, embed=False, n_workers=1)
    again = vae.decompress(stream.getvalue())
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert (again == array).all()
    assert archived.summary.n_unfit == (not fits)
    assert archived.summary.n_mismatches == 0


@pytest.mark.parametrize(
    "kind", ["bools", "folder", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("ones", "bytes"))]
)
def test_every_kind_of_data_comes_back(kind: str, tmp_path: Path) -> None:
    binary = pixels(60, 6, 7) > 128
    X = {"ones": binary.astype(np.uint8), "bools": binary, "bytes": binary * np.uint8(255)}.get(kind)
    source = folder(tmp_path) if X is None else X
    model = fitted(source)
    archived = model.compress(source, tmp_path / "x.lkz", embed=False, n_workers=1)
    assert archived.summary.n_unfit == 0
    if X is not None:
        assert (model.decompress(tmp_path / "x.lkz") == X).all()
        return
    model.decompress(tmp_path / "x.lkz", tmp_path / "again")
    assert len(list((tmp_path / "again").iterdir())) == len(list(source.iterdir()))


def test_a_model_saves_what_it_has_learnt(vae: VAE) -> None:
    """About its bound; what the first rows cost besides is the rest."""
    new = pixels(2000, 6, 7, seed=1)
    archive = vae.compress(new, embed=False, n_workers=1)
    bound = -float(vae.score_samples(new, n_importance=1).sum()) / np.log(2) / 8
    assert 0.98 * bound < len(archive) < 1.02 * bound + 200
    assert len(archive) < 0.97 * new.size


def test_a_coder_is_of_the_model_alone(vae: VAE) -> None:
    first, second = load_like(vae), load_like(vae)
    first.compress(IMAGES)
    second.compress(IMAGES[:3].astype(float))
    assert first.coder_.state().fingerprint == second.coder_.state().fingerprint


def load_like(vae: VAE) -> VAE:
    """The same model before it has coded."""
    other = VAE(**vae.get_params())
    other.__dict__.update({**vae.__dict__, "coder_": None})
    return other


def test_a_run_keeps_the_coder(vae: VAE, tmp_path: Path) -> None:
    before = load_like(vae)
    before.save(tmp_path / "later")
    assert load(tmp_path / "later").coder_ is None
    archive = vae.compress(IMAGES, embed=False, n_workers=1)
    with pytest.raises(ArchiveError, match="Give the run that it was written with"):
        load(tmp_path / "later").decompress(archive)
    keep_coder(tmp_path / "later", vae.coder_)
    vae.save(tmp_path / "run")
    for name in ("later", "run"):
        again = load(tmp_path / name)
        assert again.coder_.state().fingerprint == vae.coder_.state().fingerprint
        assert (again.decompress(archive) == IMAGES).all()
    before.save(tmp_path / "run")
    assert load(tmp_path / "run").coder_ is None, "of the model that was there"
    assert not (tmp_path / "run" / "coder.bin").exists()


def test_another_model_has_another_coder(vae: VAE) -> None:
    other = load_like(vae)
    other.compress(IMAGES[:1])
    kept = other.coder_
    other.set_params(random_state=1, max_epochs=1).fit(IMAGES)
    assert other.coder_ is None
    archive = other.compress(IMAGES, embed=False)
    other.coder_ = kept
    with pytest.raises(ArchiveError, match="it was written with the model"):
        other.decompress(archive)


@pytest.mark.slow
def test_an_archive_that_holds_its_model_opens_anywhere(vae: VAE, tmp_path: Path) -> None:
    many = pixels(4000, 6, 7, seed=2)
    archived = vae.compress(many, tmp_path / "x.lkz", n_workers=1)
    assert archived.summary.model_bytes > 0
    stranger = fitted(latent_dim=2, max_epochs=1)
    stranger.compress(IMAGES[:1])
    for opener in (load_like(vae), stranger):
        assert (opener.decompress(tmp_path / "x.lkz") == many).all()


@pytest.mark.parametrize(("content", "message"), [(b"", "is damaged"), (None, "is missing"), (b"\0\0\0\0", "damaged")])
def test_a_damaged_coder_is_named(vae: VAE, tmp_path: Path, content: bytes | None, message: str) -> None:
    vae.compress(IMAGES[:1])
    run = vae.save(tmp_path / "run")
    file = run / "coder.bin"
    whole, config = sha256(file), (run / "config.yaml").read_text()
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    if content:  # its checksum is right, and it is no coder
        (run / "config.yaml").write_text(config.replace(whole, sha256(file)))
    with pytest.raises(DamagedRunError, match=rf"coder\.bin {message}|coder\.bin is {message}"):
        load(run)


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_every_member_compresses_or_says_what_to_do(name: str) -> None:
    X = pixels(48, 8, 8)
    estimator = MEMBERS[name].make(name, max_epochs=1)
    estimator.fit(rows(48)[:, :3], X) if name == "generator" else estimator.fit(X)
    assert name in estimators
    if name == "vae":
        assert (estimator.decompress(estimator.compress(X)) == X).all()
        return
    with pytest.raises(UnsupportedOperationError, match=r"fit --compressor, or Compressor\(\)\.fit\(X\)"):
        estimator.compress(X)


@pytest.mark.parametrize(
    ("X", "settings", "message"),
    [
        (rows(), {}, "only data of at most 256 values on an even grid"),
        (pd.DataFrame({"a": classes(), "b": rows()[:, 0]}), {"encoder": "auto", "decoder": "auto"}, "only data of"),
        (IMAGES, {"posterior": "full"}, "draws of a FullPosterior"),
        (IMAGES, {"augmentation": "binarize", "likelihood": "bernoulli"}, "Fit on zeros and ones"),
        (IMAGES, {"normalization": "layer"}, "layer normalisation, which divides by what it sees"),
    ],
    ids=["floats", "table", "posterior", "likelihood", "normalisation"],
)
def test_models_that_cannot_say_what_to_do(X: Any, settings: dict[str, Any], message: str) -> None:
    model = small(**{"max_epochs": 1, **settings}).fit(X)
    with pytest.raises(UnsupportedOperationError, match=message) as error:
        model.compress(IMAGES)
    assert "A compressor that is learnt beside the model takes it: latentkit fit --compressor" in str(error.value)


def test_a_model_of_conditions_does_not_compress() -> None:
    model = small(max_epochs=1).fit(IMAGES, condition=np.arange(200) % 2)
    with pytest.raises(UnsupportedOperationError, match="fitted with conditions has no coder"):
        model.given(1).compress(IMAGES)
