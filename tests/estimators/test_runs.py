"""A saved run is the whole estimator: the same results in another process, in another place, without pickle."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.base import clone

import latentkit
from latentkit import VAE, load
from latentkit.core.errors import InvalidParameterError, RunError, UnsupportedOperationError
from latentkit.estimators.runs import RUN_FORMAT, read_config
from latentkit.training import read_checkpoint
from tests.estimators.cases import array, classes, first, pandas_frame, pixels, rows, small
from tests.estimators.conftest import Fitted

FILES = {"config.yaml", "schema.json", "weights.safetensors", "metrics.jsonl", "environment.json", "README.md"}

#: Fitted away from the defaults in every parameter that this machine can honour.
EVERYTHING: dict[str, Any] = {
    "latent_dim": np.int64(2),
    "encoder": (8, 4),
    "decoder": [6],
    "posterior": "full",
    "likelihood": "gaussian",
    "likelihood_options": {"variance": "feature", "min_stddev": 1e-2},
    "prior": "normal",
    "ex_post": "mixture",
    "ex_post_options": {"n_components": 3},
    "objective": "elbo",
    "objective_options": {"capacity": None},
    "posterior_options": {},
    "prior_options": {},
    "beta": np.float32(0.5),
    "free_bits": 0,
    "n_importance": 1,
    "kl_schedule": "linear",
    "kl_warm_up": 0.3,
    "pretraining": 0.1,
    "aggressive": np.float32(0.5),
    "vocabulary": "subwords",  # of texts: test_texts.py
    "n_tokens": "auto",
    "max_length": "auto",
    "word_dropout": "auto",
    "kinds": None,  # of tables: test_tables.py
    "na_values": None,
    "unseen": "unknown",
    "epsilon": None,  # private training has runs of its own: test_private.py
    "delta": "auto",
    "max_grad_norm": 1,
    "activation": "tanh",
    "normalization": "layer",
    "dropout": 0.1,
    "upsampling": "transposed",
    "augmentation": [],
    "max_epochs": 2,
    "max_time": "1m30s",
    "batch_size": 16,
    "optimizer": "adamw",
    "optimizer_options": {"betas": (0.9, 0.99), "amsgrad": True, "eps": 1e-7},
    "learning_rate": np.float64(1e-5),
    "schedule": "step",
    "warm_up": 0.1,
    "weight_decay": 1e-3,
    "gradient_clip": 1.0,
    "weight_averaging": 0.9,
    "validation_fraction": 0.2,
    "patience": None,
    "precision": "float32",
    "compile": np.bool_(False),
    "device": "cpu",
    "random_state": 5,
    "warm_start": np.bool_(True),
    "verbose": False,
}


#: The default network of a small table, with nothing left to a default.
RESOLVED = {"network": "mlp", "widths": [64, 64], "activation": "relu", "normalization": "none"}


def results(vae: VAE, X: Any) -> dict[str, np.ndarray]:
    mask = np.arange(array(first(X, 3)).size).reshape(3, *X.shape[1:]) % 3 > 0
    return {
        "transform": vae.transform(X),
        "reconstruct": array(vae.reconstruct(X)).astype(float),
        "score": vae.score_samples(X, n_importance=3),
        "sample": array(vae.sample(4)).astype(float),
        "prior": array(vae.sample(4, prior="model", draw="sample", temperature=0.7)).astype(float),
        "traverse": array(vae.traverse(dim=0, steps=3)).astype(float),
        "recover": array(vae.recover(first(X, 3), mask, n_draws=2, n_steps=2)).astype(float),
    }


def without_lists(value: Any) -> Any:
    """Lists as tuples: a run does not tell them apart."""
    if isinstance(value, dict):
        return {key: without_lists(item) for key, item in value.items()}
    return tuple(without_lists(item) for item in value) if isinstance(value, (list, tuple)) else value


def test_every_form_of_data_survives(fitted: Fitted, tmp_path: Path) -> None:
    fitted.vae.save(tmp_path / "run")
    restored = load(tmp_path / "run")
    np.testing.assert_array_equal(restored.transform(fitted.X), fitted.vae.transform(fitted.X))
    before, after = fitted.vae.sample(5, random_state=1), restored.sample(5, random_state=1)
    assert type(after) is type(before)
    np.testing.assert_array_equal(array(after), array(before))
    if hasattr(before, "dtypes"):
        assert list(after.dtypes) == list(before.dtypes)
    assert restored.classes_ == fitted.vae.classes_
    assert restored.history_ == fitted.vae.history_
    assert restored.get_params() == fitted.vae.get_params()


@pytest.mark.slow
def test_another_process_gets_the_same_and_unpickles_nothing(tmp_path: Path) -> None:
    """Loaded where pickle and torch.load fail, from a folder that was moved, without the data."""
    data = {"rows": rows(), "images": pixels(20, 8, 8), "frame": pandas_frame()}
    for name, X in data.items():
        vae = small().fit(X, classes(len(X)))
        vae.save(tmp_path / "first" / name)
        np.savez(tmp_path / f"{name}.npz", **results(vae, X))
    (tmp_path / "first").rename(tmp_path / "moved")
    script = """
        import pickle, sys
        import numpy as np, torch, yaml
        from pathlib import Path

        def refuse(*args, **kwargs):
            raise AssertionError("something was unpickled")

        from tests.estimators.test_runs import results
        from tests.estimators.cases import pandas_frame, pixels, rows
        from latentkit import load

        pickle.load = pickle.loads = pickle.Unpickler = torch.load = refuse
        torch.serialization.load = yaml.unsafe_load = yaml.full_load = refuse
        place = Path(sys.argv[1])
        for name, X in {"rows": rows(), "images": pixels(20, 8, 8), "frame": pandas_frame()}.items():
            vae = load(place / "moved" / name)
            expected = np.load(place / f"{name}.npz", allow_pickle=False)
            for task, values in results(vae, X).items():
                np.testing.assert_array_equal(values, expected[task], err_msg=f"{name} {task}")
        print("equal")
    """
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root / "src"))), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "import torch; torch.set_num_threads(1)\n" + textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.stdout.strip() == "equal", done.stderr


def test_a_run_holds_these_files_and_no_pickle(labelled: VAE, tmp_path: Path) -> None:
    labelled.save(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    for path in (tmp_path / "run").iterdir():
        content = path.read_bytes()
        assert not content.startswith((b"\x80", b"PK"))  # pickles, and the archives of torch.save
        with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, AttributeError)):
            pickle.loads(content)
        if path.suffix != ".safetensors":
            content.decode("utf-8")


def test_loading_executes_nothing(labelled: VAE, tmp_path: Path) -> None:
    labelled.save(tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    trap = tmp_path / "executed"
    config.write_text(f"{config.read_text()}\nextra: !!python/object/apply:os.mkdir [{trap}]\n")
    with pytest.raises(RunError, match="config.yaml is damaged"):
        load(tmp_path / "run")
    assert not trap.exists()


def test_what_is_written_is_for_people_too(labelled: VAE, tmp_path: Path) -> None:
    assert labelled.save(str(tmp_path / "run")) == tmp_path / "run"
    config = read_config(tmp_path / "run")
    assert config["format"] == RUN_FORMAT
    assert config["latentkit"] == latentkit.__version__
    assert config["estimator"] == "vae"
    card = (tmp_path / "run" / "README.md").read_text()
    for words in ("A VAE of latentkit", "Latent dimensions: 3", "gaussian", "mlp 8", "Classes: cat, dog", "load("):
        assert words in card
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0] or environment["packages"]["torch"]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, labelled.n_iter_ + 1))


def test_every_parameter_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTKIT_CACHE", str(tmp_path / "cache"))
    names = set(inspect.signature(VAE).parameters)
    assert set(EVERYTHING) == names
    vae = VAE(**EVERYTHING).fit(rows())
    vae.save(tmp_path / "run")
    written = read_config(tmp_path / "run")["parameters"]
    assert set(written) == names
    restored = load(tmp_path / "run")
    assert restored.get_params() == {name: without_lists(value) for name, value in EVERYTHING.items()}
    for name, value in restored.get_params().items():
        assert type(value) in (int, float, str, bool, tuple, dict, type(None)), name
    assert type(restored.optimizer_options["betas"]) is tuple
    assert restored.seed_ == vae.seed_ == 5
    np.testing.assert_array_equal(restored.score_samples(rows()), vae.score_samples(rows()))
    np.testing.assert_array_equal(
        clone(restored).set_params(max_time=None).fit(rows()).transform(rows()),
        VAE(**{**EVERYTHING, "max_time": None}).fit(rows()).transform(rows()),
    )


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    settings = {
        "encoder": (np.int64(8),),
        "batch_size": np.int32(16),
        "patience": np.int64(3),
        "likelihood": "gaussian",
        "likelihood_options": {"min_stddev": np.float32(0.01)},
        "optimizer_options": {"eps": np.float64(1e-7)},
    }
    vae = small(**settings).fit(rows(), run=tmp_path / "run")
    np.testing.assert_array_equal(load(tmp_path / "run").transform(rows()), vae.transform(rows()))
    assert read_config(tmp_path / "run")["training"]["patience"] == 3
    small(**settings).fit(rows(), run=tmp_path / "run", resume=True)


def test_defaults_survive_and_what_they_became_is_written(tmp_path: Path) -> None:
    VAE(max_epochs=1, random_state=0).fit(rows()).save(tmp_path / "run")
    assert load(tmp_path / "run").get_params() == VAE(max_epochs=1, random_state=0).get_params()
    config = read_config(tmp_path / "run")
    assert config["parameters"]["latent_dim"] == "auto"
    assert config["model"]["latent_dim"] == 2
    assert config["model"]["encoder"] == RESOLVED
    assert {name for name, value in config["model"].items() if value == "auto"} <= {"activation", "normalization"}
    assert config["training"]["seed"] == 0


def test_a_generator_becomes_the_seed_that_it_gave(tmp_path: Path) -> None:
    vae = small(random_state=np.random.RandomState(3)).fit(rows())
    vae.save(tmp_path / "run")
    restored = load(tmp_path / "run")
    assert restored.random_state == vae.seed_
    np.testing.assert_array_equal(clone(restored).fit(rows()).transform(rows()), vae.transform(rows()))


def test_a_loaded_estimator_can_be_saved_and_fitted_again(labelled: VAE, tmp_path: Path) -> None:
    labelled.save(tmp_path / "first")
    load(tmp_path / "first").save(tmp_path / "second")
    for name in FILES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    again = load(tmp_path / "second").set_params(max_epochs=1).fit(pixels(20, 8, 8))
    assert again.sample(2).shape == (2, 8, 8)


def test_a_saved_run_says_where_the_data_were(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", rows())
    small().fit(tmp_path / "x.npy").save(tmp_path / "run")
    data = read_config(tmp_path / "run")["data"]
    assert (data["examples"], data["reading"]["source"]) == (48, str(tmp_path / "x.npy"))
    small().fit(rows()).save(tmp_path / "run")
    data = read_config(tmp_path / "run")["data"]
    assert data == {"source": "memory", "examples": 48, "kind": "rows", "reading": {}}


def test_saving_over_a_run_replaces_all_of_it(tmp_path: Path) -> None:
    images = small().fit(pixels(20, 8, 8), run=tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").exists()
    vae = small().fit(pandas_frame())
    vae.save(tmp_path / "run")
    restored = load(tmp_path / "run")
    np.testing.assert_array_equal(restored.transform(pandas_frame()), vae.transform(pandas_frame()))
    assert not (tmp_path / "run" / "checkpoints" / "last.safetensors").exists()
    assert images.sample(1).shape == (1, 8, 8)


# Fitting into a run


def test_fitting_into_a_run_writes_what_save_writes_and_where_the_data_were(tmp_path: Path) -> None:
    vae = small().fit(rows(), classes(), run=tmp_path / "run")
    restored = load(tmp_path / "run")
    np.testing.assert_array_equal(restored.sample(4, label="cat"), vae.sample(4, label="cat"))
    config = read_config(tmp_path / "run")
    assert config["data"] == {"source": "memory", "examples": 48, "kind": "rows", "reading": {}}
    assert config["training"]["max_epochs"] == 2
    assert config["training"]["engine"]["device"] == "cpu"
    vae.save(tmp_path / "saved")
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("run", "saved")]
    assert weights[0] == weights[1]


def test_resuming_a_finished_training_changes_nothing(tmp_path: Path) -> None:
    small().fit(rows(), run=tmp_path / "run")
    weights = (tmp_path / "run" / "weights.safetensors").read_bytes()
    small().fit(rows(), run=tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == weights


def test_resuming_a_training_that_stopped_half_way_ends_in_the_same_weights(tmp_path: Path) -> None:
    """Seeds and settings come from the run, whatever the estimator that resumes says of the seed."""
    settings = {"max_epochs": 6, "dropout": 0.2, "weight_averaging": 0.9}
    whole = small(**settings).fit(rows(), classes(), run=tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(history: Any) -> None:
        if len(history) == 3:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentkit.training.TrainingPlan.checkpoint_interval", 0.0, raising=False)
        patch.setattr("latentkit.estimators.runs.RunWriter.epoch", lambda self, history: stop(history))
        patch.setattr("latentkit.training.loop.time.monotonic", iter(range(10**6)).__next__)
        with pytest.raises(Stop):
            small(**settings).fit(rows(), classes(), run=tmp_path / "half")
    with pytest.raises(RunError, match="not trained to the end. Go on with: latentkit fit DATA -o .* --resume"):
        load(tmp_path / "half")
    resumed = small(**{**settings, "random_state": None}).fit(rows(), classes(), run=tmp_path / "half", resume=True)
    for name, weight in whole.model_.state_dict().items():
        assert torch.equal(weight, resumed.model_.state_dict()[name]), name
    content = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "half")]
    assert content[0] == content[1]
    assert read_checkpoint(tmp_path / "half" / "checkpoints" / "last.safetensors").values


@pytest.mark.parametrize(
    ("settings", "X", "words"),
    [
        ({"latent_dim": 2}, rows(), "whose latent_dim is 3; these settings give 2"),
        ({}, rows(20), "which had 48 examples; these have 20"),
        ({}, pixels(48, 8, 8), r"whose event_shape is \[5\]"),
    ],
)
def test_only_the_same_training_is_resumed(tmp_path: Path, settings: dict[str, Any], X: Any, words: str) -> None:
    small().fit(rows(), run=tmp_path / "run")
    with pytest.raises(InvalidParameterError, match=words):
        small(**settings).fit(X, run=tmp_path / "run", resume=True)
    load(tmp_path / "run")  # is whole still


def test_what_cannot_be_resumed_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="resume=True needs the folder"):
        small().fit(rows(), resume=True)
    with pytest.raises(RunError, match="there is no run at"):
        small().fit(rows(), run=tmp_path / "absent", resume=True)
    vae = small().fit(rows())
    vae.save(tmp_path / "saved")
    with pytest.raises(RunError, match="no training to resume: it was saved"):
        small().fit(rows(), run=tmp_path / "saved", resume=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adan"},
        {"schedule": "cosin"},
        {"decoder": "conv"},
        {"beta": -1.0},
        {"free_bits": 0.1, "objective": "iwae"},
    ],
)
def test_a_wrong_setting_does_not_cost_the_run_that_is_there(tmp_path: Path, settings: dict[str, Any]) -> None:
    vae = small().fit(rows(), run=tmp_path / "run")
    with pytest.raises((InvalidParameterError, UnsupportedOperationError)):
        small(**settings).fit(rows(), run=tmp_path / "run", overwrite=True)
    np.testing.assert_array_equal(load(tmp_path / "run").transform(rows()), vae.transform(rows()))


def test_a_run_is_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    vae = small().fit(rows(), run=tmp_path / "run")
    with pytest.raises(RunError, match=r"run holds a run already\. Go on with it \(resume=True\), replace it"):
        small(latent_dim=3).fit(rows(), run=tmp_path / "run")
    np.testing.assert_array_equal(load(tmp_path / "run").transform(rows()), vae.transform(rows()))
    small(latent_dim=3).fit(rows(), run=tmp_path / "run", overwrite=True)
    assert load(tmp_path / "run").latent_dim_ == 3


def test_yaml_is_plain(labelled: VAE, tmp_path: Path) -> None:
    labelled.save(tmp_path / "run")
    text = (tmp_path / "run" / "config.yaml").read_text()
    assert "!!" not in text
    assert yaml.safe_load(text) == read_config(tmp_path / "run")
