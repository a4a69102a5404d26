"""Wrong usage: exit 2, one line, the nearest right word."""

from __future__ import annotations

import pytest


def _refused(outcome, *words: str) -> None:
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("latentkit: ")
    assert outcome.err.count("\n") == 1, outcome.err
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err


def test_unknown_command(latentkit) -> None:
    _refused(latentkit("smaple", "run"), "no such command 'smaple'", "Did you mean 'sample'?", "latentkit --help")


def test_unknown_option(latentkit) -> None:
    _refused(latentkit("fit", "digits", "--labls", "x"), "--labls", "Did you mean '--labels'?", "latentkit fit --help")


def test_an_option_that_is_a_setting(latentkit) -> None:
    _refused(latentkit("fit", "digits", "--latnt-dim", "8"), "Did you mean --set latent_dim=VALUE?")


def test_unknown_setting(latentkit) -> None:
    _refused(latentkit("fit", "digits", "--set", "latnt_dim=8"), "'latnt_dim'", "Did you mean 'latent_dim'?")


def test_setting_without_value(latentkit) -> None:
    _refused(latentkit("fit", "digits", "--set", "latent_dim"), "key=value", "'latent_dim'")


def test_setting_that_is_no_yaml(latentkit) -> None:
    _refused(latentkit("fit", "digits", "--set", "encoder=[5"), "no YAML")


def test_setting_of_a_wrong_value(latentkit, tmp_path) -> None:
    _refused(latentkit("fit", "digits", "-o", tmp_path / "r", "-q", "--set", "latent_dim=-1"), "latent_dim", "-1")


def test_unknown_name_of_a_part(latentkit, images_file, tmp_path) -> None:
    outcome = latentkit("fit", images_file, "-o", tmp_path / "r", "-q", "--set", "likelihood=gausian")
    _refused(outcome, "gausian", "Did you mean 'gaussian'?")


def test_unknown_model(latentkit) -> None:
    _refused(latentkit("fit", "digits", "--model", "vea"), "unknown estimator 'vea'", "Did you mean 'vae'?")


def test_unknown_preset(latentkit) -> None:
    _refused(latentkit("fit", "digits", "--preset", "god"), "'good'")


@pytest.mark.parametrize("time", ["soon", "0", "-5m"])
def test_no_duration(latentkit, time: str) -> None:
    _refused(latentkit("fit", "digits", f"--time={time}"), "--time", "90s, 5m")


def test_missing_data(latentkit) -> None:
    _refused(latentkit("fit"), "fit needs DATA")
    _refused(latentkit("check"), "missing argument", "DATA")


def test_resuming_what(latentkit) -> None:
    _refused(latentkit("fit", "--resume"), "--resume needs the run")


def test_no_size(latentkit) -> None:
    _refused(latentkit("check", "digits", "--size", "big"), "--size", "48x64", "'big'")


def test_a_run_is_not_overwritten_by_accident(latentkit, images_run, images_file) -> None:
    before = (images_run / "weights.safetensors").read_bytes()
    _refused(latentkit("fit", images_file, "-o", images_run), "holds a run already", "--resume", "--overwrite")
    assert (images_run / "weights.safetensors").read_bytes() == before


def test_unknown_ending(latentkit, images_run, tmp_path) -> None:
    _refused(latentkit("sample", images_run, "-o", tmp_path / "a.csvv"), "'.csvv'", "Did you mean '.csv'?")
    _refused(latentkit("encode", images_run, "digits", "-o", tmp_path / "z.png"), "a table of numbers", ".csv")
    _refused(latentkit("sample", images_run, "-o", "-"), "standard output")


def test_rows_are_no_picture(latentkit, table_run, tmp_path) -> None:
    _refused(latentkit("sample", table_run, "-o", tmp_path / "a.png"), "rows of numbers", ".csv")
    _refused(latentkit("sample", table_run, "-o", f"{tmp_path}/folder/"), "rows of numbers")
    assert not (tmp_path / "a.png").exists()


def test_unknown_class(latentkit, images_run, tmp_path) -> None:
    _refused(latentkit("sample", images_run, "-o", tmp_path / "a.png", "--label", "7"), "one of: 0, 1", "'7'")


def test_unknown_attribute(latentkit, table_run, table_file, tmp_path) -> None:
    outcome = latentkit("edit", table_run, table_file, "-a", "hihg", "-o", tmp_path / "a.csv")
    _refused(outcome, "high, low", "Did you mean 'high'?")


def test_attribute_without_labels(latentkit, images_run, tmp_path) -> None:
    import numpy as np

    np.save(tmp_path / "x.npy", np.zeros((4, 8, 8), dtype=np.uint8))
    outcome = latentkit("edit", images_run, tmp_path / "x.npy", "-a", "1", "-o", tmp_path / "a.png")
    _refused(outcome, "no labels", "--labels")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("--from", "99"), "--from"), (("--to", "60"), "0 to 59"), (("--steps", "1"), "--steps")],
)
def test_rows_that_are_not_there(latentkit, images_run, images_file, tmp_path, arguments, word) -> None:
    _refused(latentkit("interpolate", images_run, images_file, "-o", tmp_path / "a.png", *arguments), word)


def test_dimensions_that_are_not_there(latentkit, images_run, tmp_path) -> None:
    _refused(latentkit("traverse", images_run, "--dim", "0,3", "-o", tmp_path / "a.png"), "--dim", "0 to 2")
    _refused(latentkit("traverse", images_run, "--dim", "x", "-o", tmp_path / "a.png"), "--dim", "'x'")
    _refused(latentkit("traverse", images_run, "--row", "3", "-o", tmp_path / "a.png"), "--row", "DATA")


def test_draws_go_into_few_formats(latentkit, table_run, table_file, tmp_path) -> None:
    outcome = latentkit("recover", table_run, table_file, "--result", "draws", "-o", tmp_path / "a.csv")
    _refused(outcome, "--result draws", ".npy")


def test_masks_that_do_not_fit_in_number(latentkit, images_run, images_file, tmp_path) -> None:
    import numpy as np

    np.save(tmp_path / "m.npy", np.ones((3, 8, 8), dtype=bool))
    outcome = latentkit("recover", images_run, images_file, "--mask", tmp_path / "m.npy", "-o", tmp_path / "a.npy")
    _refused(outcome, "3 masks", "60")
