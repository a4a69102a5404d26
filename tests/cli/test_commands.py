"""What each command writes and prints."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from latentkit import load
from tests.cli.conftest import ALONE, QUICK, make_images

pytestmark = pytest.mark.usefixtures("brief_ensembles")


def _json(outcome):
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def _size(file) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size


def test_check_of_images(latentkit, images_file) -> None:
    values = _json(latentkit("check", images_file, "--json"))
    assert values["examples"] == 60
    assert values["event_shape"] == [1, 8, 8]
    assert values["values"] == "byte"
    assert values["auto"]["likelihood"] == "discretized_logistic"
    assert values["auto"]["parameters"] > 1000
    assert values["suggested"] == f"latentkit fit {images_file} -o run"


def test_check_of_a_table(latentkit, table_file) -> None:
    outcome = latentkit("check", table_file, "--labels", "size")
    assert outcome.code == 0
    assert "3 numbers" in outcome.out
    assert "2 classes: high" in outcome.out
    assert f"latentkit fit {table_file} -o run --labels size" in outcome.out


def test_check_of_a_table_of_mixed_kinds(latentkit, tmp_path) -> None:
    rows = "".join(f"{20 + i % 50},{'red' if i % 3 else 'blue'},{'' if i % 4 else i}\n" for i in range(90))
    (tmp_path / "people.csv").write_text(f"age,colour,visits\n{rows}")
    values = _json(latentkit("check", tmp_path / "people.csv", "--json"))
    assert values["kind"] == "table"
    assert [column["kind"] for column in values["columns"]] == ["count", "categorical", "count"]
    assert values["columns"][2]["missing"] == 67 / 90
    assert any("'visits' is missing in 74%" in text for text in values["warnings"])
    outcome = latentkit("check", tmp_path / "people.csv")
    assert "categorical: 2 categories; 2 codes" in outcome.out


def test_check_warns_of_constant_columns(latentkit, tmp_path) -> None:
    np.save(tmp_path / "x.npy", np.column_stack([np.arange(9.0), np.full(9, 3.0)]))
    assert any("constant" in text for text in _json(latentkit("check", tmp_path / "x.npy", "--json"))["warnings"])


def test_a_run_says_how_it_came_about(latentkit, table_run, table_file) -> None:
    config = yaml.safe_load((table_run / "config.yaml").read_text())
    assert config["parameters"]["encoder"] == [16]
    assert config["parameters"]["random_state"] == 0
    assert config["parameters"]["max_time"] is None
    assert config["data"]["reading"]["labels"] == "size"
    assert config["data"]["reading"]["source"] == str(table_file)
    values = _json(latentkit("info", table_run, "--json"))
    assert (values["latent_dim"], values["epochs"], values["classes"]) == (2, 2, ["high", "low"])
    assert values["encoder"] == "mlp 16"
    assert values["fitted"] is True
    assert values["parameters"] > 0
    assert "high, low" in latentkit("info", table_run).out


def test_fit_prints_the_outcome_as_json(latentkit, images_file, tmp_path) -> None:
    outcome = latentkit("fit", images_file, "-o", tmp_path / "r", *QUICK[:-1], "--json", "--seed", "3")
    values = _json(outcome)
    assert values["epochs"] == 2
    assert values["stopped"] == "epochs"
    assert np.isfinite(values["objective_nats"])
    assert "epoch 2/2" in outcome.err
    config = yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())
    assert config["parameters"]["random_state"] == 3


def test_equal_seeds_give_equal_weights(latentkit, images_file, images_run, tmp_path) -> None:
    weights = "weights.safetensors"
    for name, seed in (("a", 0), ("b", 1)):
        line = ("fit", images_file, "-o", tmp_path / name, *QUICK, "--set", "latent_dim=3", "--seed", seed)
        assert latentkit(*line).code == 0
    assert (tmp_path / "a" / weights).read_bytes() == (images_run / weights).read_bytes()
    assert (tmp_path / "b" / weights).read_bytes() != (images_run / weights).read_bytes()


def test_runs_are_named_after_their_data_and_numbered(latentkit, images_file, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("halves", "halves-2"):
        assert _json(latentkit("fit", images_file, *QUICK, "--json"))["run"] == f"runs/{name}"
        assert (tmp_path / "runs" / name / "weights.safetensors").exists()


def test_overwriting_on_demand(latentkit, images_file, tmp_path) -> None:
    line = ("fit", images_file, "-o", tmp_path / "r", *QUICK)
    assert latentkit(*line).code == 0
    assert latentkit(*line).code == 2
    assert latentkit(*line, "--overwrite", "--set", "latent_dim=5").code == 0
    assert _json(latentkit("info", tmp_path / "r", "--json"))["latent_dim"] == 5


def test_sample(latentkit, images_run, tmp_path) -> None:
    values = _json(latentkit("sample", images_run, "-n", 5, "-o", tmp_path / "a.npy", "--json"))
    assert values["files"] == [str(tmp_path / "a.npy")]
    a = np.load(tmp_path / "a.npy")
    assert (a.shape, a.dtype) == ((5, 8, 8), np.uint8)
    for name, seed in (("b", 0), ("c", 9)):
        assert latentkit("sample", images_run, "-n", 5, "-o", tmp_path / f"{name}.npy", "--seed", seed).code == 0
    assert np.array_equal(a, np.load(tmp_path / "b.npy"))
    assert not np.array_equal(a, np.load(tmp_path / "c.npy"))
    assert latentkit("sample", images_run, "-n", 9, "-o", tmp_path / "grid.png").code == 0
    assert _size(tmp_path / "grid.png") == (32, 32)
    assert latentkit("sample", images_run, "-n", 3, "-o", f"{tmp_path}/new/").code == 0
    assert len(list((tmp_path / "new").glob("*.png"))) == 3


def test_models_are_listed_and_described(latentkit) -> None:
    values = _json(latentkit("models", "--json"))["models"]
    assert values["vae"].startswith("Variational autoencoder")
    outcome = latentkit("models", "vae")
    assert outcome.code == 0
    for words in ("VAE: latentkit fit DATA --model vae", "learning_rate: ", "@inproceedings{kingma2014auto,"):
        assert words in outcome.out
    outcome = latentkit("models", "vea")
    assert outcome.code == 2
    assert "Did you mean 'vae'" in outcome.err


def test_sample_of_a_class(latentkit, images_run, tmp_path) -> None:
    line = ("sample", images_run, "-n", 4, "--label", 1, "--temperature", 0.5, "-o", tmp_path / "a.npy")
    assert "4 new examples" in latentkit(*line).out
    assert np.load(tmp_path / "a.npy").shape == (4, 8, 8)


def test_a_conditional_model_samples_what_it_is_given(latentkit, images_file, tmp_path) -> None:
    run = tmp_path / "run"
    settings = ("--set", "max_epochs=2", "--set", "latent_dim=2", "--set", "encoder=[8]", "--set", "decoder=[8]")
    assert latentkit("fit", images_file, "-o", run, "--conditional", *ALONE, *settings).code == 0
    for value in ("0", "1"):
        line = ("sample", run, "-n", 4, "--condition", value, "-o", tmp_path / f"{value}.npy")
        assert latentkit(*line).code == 0
    assert not np.array_equal(np.load(tmp_path / "0.npy"), np.load(tmp_path / "1.npy"))
    outcome = latentkit("sample", run, "--condition", "2", "-o", tmp_path / "x.npy")
    assert outcome.code == 3
    assert "'2' is no class that the model was fitted with; it knows: 0, 1" in outcome.err
    (run / "weights.safetensors").unlink()  # as if killed: --resume knows that the model was given the labels
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["fitted"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert latentkit("fit", images_file, "--resume", "-o", run, *ALONE).code == 0
    assert np.array_equal(load(run).sample(4, condition="0"), np.load(tmp_path / "0.npy"))


def test_a_conditional_model_is_given_the_labels_of_the_data(latentkit, images_file, tmp_path) -> None:
    run = tmp_path / "run"
    settings = ("--set", "max_epochs=4", "--set", "latent_dim=2", "--set", "encoder=[8]", "--set", "decoder=[8]")
    assert latentkit("fit", images_file, "-o", run, "--conditional", *ALONE, *settings).code == 0
    with np.load(images_file) as file:
        X, y = file["x"], file["y"]
        np.savez(tmp_path / "bare.npz", x=X)
    vae = load(run).given([str(label) for label in y])
    assert latentkit("encode", run, images_file, "-o", tmp_path / "z.npy").code == 0
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), vae.transform(X), atol=1e-5)
    document = _json(latentkit("score", run, images_file, "-k", 4, "-o", tmp_path / "s.csv", "--json"))
    assert document["mean_log_likelihood_nats"] == pytest.approx(vae.score(X, n_importance=4), abs=1e-3)
    found = _json(latentkit("evaluate", run, images_file, "-k", 4, "--json"))
    told = found["figures"]["log p(x)"]
    assert told["value"] == pytest.approx(document["mean_log_likelihood_nats"], abs=1e-3)
    assert latentkit("reconstruct", run, images_file, "-n", 3, "-o", tmp_path / "r.png").code == 0
    bare = latentkit("encode", run, tmp_path / "bare.npz", "-o", tmp_path / "bare.npy")
    assert "it is asked without them. Name them with --labels" in bare.err
    assert not np.allclose(np.load(tmp_path / "bare.npy"), np.load(tmp_path / "z.npy"))


def test_conditions_that_cannot_be_are_refused(latentkit, images_run, tmp_path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b\n1,2\n2,3\n4,5\n")
    outcome = latentkit("fit", rows, "-o", tmp_path / "run", "--conditional")
    assert outcome.code == 2
    assert "--conditional gives the labels to the model, and these data have none" in outcome.err
    outcome = latentkit("sample", images_run, "--condition", "1", "-o", tmp_path / "x.npy")
    assert outcome.code != 0
    assert "fitted without conditions" in outcome.err
    outcome = latentkit("sample", images_run, "--condition", "a=1", "--condition", "2", "-o", tmp_path / "x.npy")
    assert "--condition takes NAME=VALUE where there are several; got '2'" in outcome.err


def test_sample_of_a_table_on_standard_output(latentkit, table_run) -> None:
    outcome = latentkit("sample", table_run, "-n", 3, "-o", "-")
    lines = outcome.out.splitlines()
    assert lines[0].replace('"', "") == "a,b,total"
    assert len(lines) == 4


@pytest.mark.parametrize("ending", [".npy", ".csv", ".tsv", ".parquet", ".jsonl"])
def test_encode_and_decode_are_the_way_there_and_back(latentkit, table_run, table_file, tmp_path, ending) -> None:
    z, back, reconstructed = tmp_path / f"z{ending}", tmp_path / "back.csv", tmp_path / "reconstructed.csv"
    assert _json(latentkit("encode", table_run, table_file, "-o", z, "--json"))["latent_dim"] == 2
    assert latentkit("decode", table_run, z, "-o", back).code == 0
    assert latentkit("reconstruct", table_run, table_file, "-o", reconstructed).code == 0
    a, b = (np.genfromtxt(file, delimiter=",", skip_header=1) for file in (back, reconstructed))
    assert a.shape == (40, 3)
    assert np.allclose(a, b, atol=1e-5)


def test_pictures_show_originals_above_reconstructions(latentkit, images_run, images_file, tmp_path) -> None:
    file = tmp_path / "pairs.png"
    assert latentkit("reconstruct", images_run, images_file, "-n", 4, "-o", file).code == 0
    with Image.open(file) as image:
        grid = np.asarray(image)
    # Enlarged six times: a cell of 8 pixels and 2 of padding is 60 wide.
    assert grid.shape == ((2 + 2 * 10) * 6, (2 + 4 * 10) * 6)
    assert np.array_equal(grid[12:60:6, 12:60:6], make_images()[0])


def test_tables_of_pixels_are_images_again(latentkit, images_run, tmp_path) -> None:
    assert latentkit("sample", images_run, "-n", 4, "-o", tmp_path / "a.csv").code == 0
    assert latentkit("reconstruct", images_run, tmp_path / "a.csv", "-o", tmp_path / "b.npy").code == 0
    assert np.load(tmp_path / "b.npy").shape == (4, 8, 8)


def test_score(latentkit, images_run, images_file, tmp_path) -> None:
    file = tmp_path / "scores.csv"
    values = _json(latentkit("score", images_run, images_file, "-k", 8, "-o", file, "--json"))
    table = np.genfromtxt(file, delimiter=",", names=True)
    assert table.dtype.names == ("log_likelihood", "bits_per_dimension", "effective_sample_size")
    assert len(table) == 60
    assert np.isclose(values["mean_log_likelihood_nats"], table["log_likelihood"].mean())
    assert np.allclose(table["bits_per_dimension"], -table["log_likelihood"] / 64 / np.log(2), rtol=1e-4)
    assert values["n_importance"] == 8
    assert 1 <= values["median_effective_sample_size"] <= 8
    assert "K = 8" in latentkit("score", images_run, images_file, "-k", 8, "-o", file).out


def test_recover_fills_in_what_was_hidden(latentkit, images_run, images_file, tmp_path) -> None:
    mask = np.ones((8, 8), dtype=bool)
    mask[5:] = False
    np.save(tmp_path / "m.npy", mask)
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "m.png")
    for name in ("npy", "png"):
        line = ("recover", images_run, images_file, "--mask", tmp_path / f"m.{name}", "--draws", 2, "--steps", 3)
        assert latentkit(*line, "-o", tmp_path / f"{name}.npy").code == 0
    filled = np.load(tmp_path / "npy.npy")
    assert np.array_equal(filled[:, :5], make_images()[:, :5])
    assert not np.array_equal(filled[:, 5:], make_images()[:, 5:])
    assert np.array_equal(filled, np.load(tmp_path / "png.npy"))
    assert latentkit(*line, "--result", "draws", "-o", tmp_path / "draws.npy").code == 0
    assert np.load(tmp_path / "draws.npy").shape == (2, 60, 8, 8)
    assert latentkit(*line, "-n", 3, "-o", tmp_path / "grid.png").code == 0
    assert _size(tmp_path / "grid.png")[1] == (2 + 4 * 10) * 6


def test_recover_fills_empty_cells(latentkit, table_run, tmp_path) -> None:
    (tmp_path / "holes.csv").write_text("a,b,total\n0.5,,1.5\n-1,0.25,-0.75\n")
    line = ("recover", table_run, tmp_path / "holes.csv", "--draws", 3, "--steps", 3)
    assert latentkit(*line, "-o", tmp_path / "full.csv").code == 0
    full = np.genfromtxt(tmp_path / "full.csv", delimiter=",", skip_header=1)
    assert full.shape == (2, 3)
    assert np.isfinite(full).all()


def test_interpolate(latentkit, images_run, images_file, tmp_path) -> None:
    line = ("interpolate", images_run, images_file, "--from", 3, "--to", 40, "--steps", 5)
    for path in ("spherical", "linear"):
        assert latentkit(*line, "--path", path, "-o", tmp_path / f"{path}.npy").code == 0
        assert np.load(tmp_path / f"{path}.npy").shape == (5, 8, 8)
    assert latentkit(*line, "-o", tmp_path / "strip.png").code == 0
    assert _size(tmp_path / "strip.png") == ((2 + 5 * 10) * 6, 12 * 6)


def test_interpolate_rows(latentkit, table_run, table_file, tmp_path) -> None:
    line = ("interpolate", table_run, table_file, "--to", 9, "--steps", 4, "-o", tmp_path / "way.csv")
    assert latentkit(*line).code == 0
    assert len((tmp_path / "way.csv").read_text().splitlines()) == 5


def test_traverse(latentkit, images_run, images_file, table_run, tmp_path) -> None:
    assert latentkit("traverse", images_run, "--steps", 4, "-o", tmp_path / "grid.png").code == 0
    assert _size(tmp_path / "grid.png") == ((2 + 4 * 10) * 6, (2 + 3 * 10) * 6)
    line = ("traverse", images_run, images_file, "--row", 7, "--dim", "2,0", "--steps", 3, "--json")
    assert _json(latentkit(*line, "-o", tmp_path / "a.npy"))["dims"] == [2, 0]
    assert np.load(tmp_path / "a.npy").shape == (6, 8, 8)
    assert latentkit("traverse", table_run, "--steps", 3, "-o", tmp_path / "a.csv").code == 0
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 7


def test_edit(latentkit, trained_run, images_file, table_run, table_file, tmp_path) -> None:
    line = ("edit", trained_run, images_file, "--attribute", 1, "--rows", "0-2,5")
    for strength in (0, 3, -3):
        assert latentkit(*line, f"--strength={strength}", "-o", tmp_path / f"{strength}.npy").code == 0
    none, more, less = (np.load(tmp_path / f"{strength}.npy").astype(int) for strength in (0, 3, -3))
    assert more.shape == (4, 8, 8)
    # The second kind is bright on the left, the first above: one goes up as the other goes down.
    contrast = [(x[:, 4:, :4] - x[:, :4, 4:]).mean() for x in (less, none, more)]
    assert contrast[0] < contrast[1] < contrast[2]
    assert latentkit(*line, "-o", tmp_path / "pairs.png").code == 0
    assert latentkit("edit", table_run, table_file, "-a", "high", "-o", tmp_path / "a.csv").code == 0
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 41


def test_a_folder_of_photos_is_read_alike_later(latentkit, tmp_path) -> None:
    folder = tmp_path / "photos"
    for kind in ("dark", "bright"):
        (folder / kind).mkdir(parents=True)
        for index in range(12):
            pixels = np.full((20 + index, 30, 3), 40 if kind == "dark" else 200, dtype=np.uint8)
            pixels[:, : index + 3] += 20
            Image.fromarray(pixels).save(folder / kind / f"{index}.png")
    assert latentkit("fit", folder, "-o", tmp_path / "r", *QUICK, "--size", "10x12", "--color", "grey").code == 0
    values = _json(latentkit("info", tmp_path / "r", "--json"))
    assert values["event"] == [1, 10, 12]
    assert values["classes"] == ["bright", "dark"]
    assert latentkit("encode", tmp_path / "r", folder, "-o", tmp_path / "z.npy").code == 0
    assert len(np.load(tmp_path / "z.npy")) == 24
    assert latentkit("reconstruct", tmp_path / "r", folder, "-o", f"{tmp_path}/back/").code == 0
    assert _size(tmp_path / "back" / "000000.png") == (12, 10)


def test_a_preset_is_a_time_budget(latentkit, images_file, tmp_path) -> None:
    line = ("fit", images_file, "-o", tmp_path / "r", *QUICK[2:], "--preset", "fast", "--time", "0.2s")
    assert latentkit(*line).code == 0
    config = yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())
    assert config["parameters"]["max_time"] == "0.2s"
    assert config["parameters"]["weight_averaging"] == 0.99
    assert config["fitted"]["stopped"] == "time"


def test_report(latentkit, images_run, images_file, tmp_path) -> None:
    page = tmp_path / "page.html"
    assert _json(latentkit("report", images_run, images_file, "-o", page, "--json"))["report"] == str(page)
    assert "<html" in page.read_text(encoding="utf-8")
    assert not (images_run / "report.html").exists()


def test_a_report_is_made_of_the_data_and_the_detector_of_the_run(latentkit, tmp_path, monkeypatch) -> None:
    from latentkit import VAE, AnomalyDetector
    from latentkit.estimators.detector_runs import save_detector

    given = []

    def noted(estimator, path, data, detector, language) -> None:
        given.append((None if data is None else data.source, detector is not None, language))
        path.write_text("page")

    monkeypatch.setattr("latentkit.report.write_report", noted)
    table, run = tmp_path / "pets.csv", tmp_path / "run"
    table.write_text("kind,legs\n" + "cat,4\nowl,2\ndog,\n" * 30, encoding="utf-8")
    VAE(max_epochs=1, random_state=0).fit(str(table), run=run)
    line = ("report", run, "-o", tmp_path / "page.html")
    outcome = latentkit(*line)
    assert outcome.code == 0, outcome.err
    assert f"with the data of the fit, {table}" in outcome.err
    detector = AnomalyDetector(parts=("histograms",), random_state=0).fit(str(table))
    save_detector(detector, run / "detector", in_run=True)
    assert latentkit(*line).code == 0
    table.unlink()
    assert latentkit(*line).code == 0
    assert given == [(str(table), False, "en"), (str(table), True, "en"), (None, True, "en")]


@pytest.mark.slow
def test_a_report_shows_what_the_detector_of_the_run_says(latentkit, tmp_path) -> None:
    from latentkit import VAE, AnomalyDetector
    from latentkit.estimators.detector_runs import save_detector

    table, run, page = tmp_path / "pets.csv", tmp_path / "run", tmp_path / "page.html"
    table.write_text("kind,legs\n" + "cat,4\nowl,2\ndog,4\n" * 30 + "hen,40\n", encoding="utf-8")
    VAE(max_epochs=1, random_state=0).fit(str(table), run=run)
    assert latentkit("report", run, "-o", page).code == 0
    assert "Odd rows" not in page.read_text(encoding="utf-8")
    detector = AnomalyDetector(parts=("histograms",), random_state=0).fit(str(table))
    save_detector(detector, run / "detector", in_run=True)
    assert latentkit("report", run, "-o", page).code == 0
    assert "Odd rows" in page.read_text(encoding="utf-8")
    assert "row 90" in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_report_takes_the_data_of_the_fit_while_they_are_there(latentkit, tmp_path) -> None:
    from latentkit import VAE

    table, run, page = tmp_path / "pets.csv", tmp_path / "run", tmp_path / "page.html"
    table.write_text("kind,legs\n" + "cat,4\nowl,2\ndog,\n" * 30, encoding="utf-8")
    VAE(max_epochs=1, random_state=0).fit(str(table), run=run)
    outcome = latentkit("report", run, "-o", page)
    assert outcome.code == 0
    assert f"with the data of the fit, {table}" in outcome.err
    assert "share nearer to training rows" not in page.read_text(encoding="utf-8"), "too few were held out"
    assert "What a VAE learnt from pets.csv" in page.read_text(encoding="utf-8")
    assert _json(latentkit("report", run, table, "-o", page, "--json"))["report"] == str(page)
    table.unlink()
    assert latentkit("report", run, "-o", page).code == 0
    assert "made without data" in page.read_text(encoding="utf-8")


def test_the_tour_shows_every_task(tmp_path, capsys, monkeypatch) -> None:
    from latentkit.cli.printing import Printer
    from latentkit.cli.tour import tour

    # The page has its own test, and takes seconds.
    monkeypatch.setattr(
        "latentkit.report.write_report", lambda estimator, path, data, detector: path.write_text("page")
    )
    settings = {"max_epochs": 1, "encoder": (16,), "decoder": (16,), "latent_dim": 4, "random_state": 0, "verbose": 0}
    tour(tmp_path, Printer(as_json=True), settings)
    captured = capsys.readouterr()
    values = json.loads(captured.out)
    assert {file.name for file in tmp_path.iterdir()} >= {
        "run",
        "report.html",
        "samples.png",
        "recovered.png",
        "odd.png",
    }
    names = [task["task"] for task in values["tasks"]]
    assert names[0] == "Generate"
    assert len(names) == 10
    assert values["tasks"][-1]["damaged_flagged"] > 6, "of 12 digits with a corner inverted"
    assert all(f". {name}" in captured.err for name in names)
    assert all((tmp_path / file).exists() for task in values["tasks"] for file in task["files"])
    assert 0.1 < values["tasks"][3]["nearest_neighbour_accuracy"] <= 1
