"""Loss from the command line: only where a quality asks for it, and told wherever it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentkit.cli import compressors, main
from latentkit.estimators import Compressor
from latentkit.evaluation import Distortion
from latentkit.tasks.compression import LossySizes, pixels
from latentkit.tasks.compression import lossy as fitting
from tests.cli.conftest import ALONE, Command
from tests.tasks.compression.test_lossy import SIZES, pictures
from tests.tasks.compression.test_pixels import small_settings


@pytest.fixture(scope="module", autouse=True)
def brief() -> Iterator[None]:
    """A small network and few pixels: how well it codes is not the question."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_PIXELS", 1 << 11)
        patch.setattr(fitting, "_N_EXAMPLES", 1 << 14)
        patch.setattr(LossySizes, "of", classmethod(lambda cls, channels: SIZES))
        patch.setattr(pixels, "suitable_settings", small_settings)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compressor with loss, one without, images, and an archive that approximates them; nobody may change them."""
    folder = tmp_path_factory.mktemp("lossy")
    compressor = Compressor(max_time=None, max_epochs=1, lossy=True, random_state=0).fit(pictures(40))
    compressor.save(folder / "run")
    compressor.lossy, compressor.lossy_coder_ = False, None
    compressor.save(folder / "plain")
    np.save(folder / "x.npy", pictures(30, seed=1))
    line = ("compress", folder / "run", folder / "x.npy", "-o", folder / "x.lkz", "--quality", 60, "--no-model", "-q")
    assert main([str(word) for word in line]) == 0
    return folder


def _json(outcome: Any) -> Any:
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_compress_tells_what_is_lost(latentkit: Command, place: Path, tmp_path: Path) -> None:
    line = ("compress", place / "run", place / "x.npy", "-o", tmp_path / "x.lkz", "--quality", "60", "--no-model")
    outcome = latentkit(*line)
    assert outcome.code == 0, outcome.err
    told = " ".join(outcome.out.split())
    assert "quality 60 of 100: 30 images approximated, PSNR " in told
    assert "dB (MS-SSIM takes sides of 176 pixels and more)" in told
    values = _json(latentkit(*line, "--json"))
    assert (values["quality"], values["approximated"], values["ms_ssim"]) == (60, 30, None)
    assert latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "y.npy", "--run", place / "run").code == 0
    x, y = np.load(place / "x.npy"), np.load(tmp_path / "y.npy")
    assert (x.dtype, x.shape) == (y.dtype, y.shape)
    assert values["psnr"] == pytest.approx(10 * np.log10(255**2 / np.square(x.astype(float) - y).mean()))
    assert 10 < values["psnr"] < 60


def test_inspect_says_that_pixels_are_approximate(latentkit: Command, place: Path, tmp_path: Path) -> None:
    outcome = latentkit("inspect", place / "x.lkz", "--run", place / "run", "--check")
    told = " ".join(outcome.out.split())
    assert "quality 60 of 100: 1 block has approximate pixels" in told
    assert "whole yes: every block becomes what was checked when it was written" in told
    values = _json(latentkit("inspect", place / "x.lkz", "--json"))
    assert (values["is_approximate"], values["holds"]["quality"]) == (True, 60)
    np.save(tmp_path / "x.npy", np.arange(5.0))
    outcome = latentkit("compress", place / "run", tmp_path / "x.npy", "-o", tmp_path / "x.lkz", "--quality", "60")
    assert outcome.code == 0
    assert "quality 60 of 100: no image is approximated" in " ".join(outcome.out.split())
    assert "warning: nothing in these data is an image that the run approximates; all of it is kept" in outcome.err
    outcome = latentkit("inspect", tmp_path / "x.lkz")
    assert "quality 60 of 100: no block needed it: every byte is exact" in " ".join(outcome.out.split())
    assert _json(latentkit("inspect", tmp_path / "x.lkz", "--json"))["is_approximate"] is False


def test_without_a_quality_nothing_is_lost(latentkit: Command, place: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pictures(2, seed=1))
    line = ("compress", place / "run", tmp_path / "x.npy", "-o", tmp_path / "x.lkz", "--no-model", "--no-verify")
    values = _json(latentkit(*line, "--json"))
    assert (values["quality"], values["approximated"], values["psnr"]) == (None, None, None)
    assert " of 100" not in latentkit("inspect", tmp_path / "x.lkz").out
    assert latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "y.npy", "--run", place / "run").code == 0
    assert (tmp_path / "y.npy").read_bytes() == (tmp_path / "x.npy").read_bytes()


@pytest.mark.slow
def test_another_process_decodes_the_same_pixels(latentkit: Command, place: Path, tmp_path: Path) -> None:
    assert latentkit("decompress", place / "x.lkz", "-o", tmp_path / "x.npy", "--run", place / "run").code == 0
    words = ("decompress", "-", "-o", "-", "--run", place / "run", "--workers", "1")
    line = [sys.executable, "-m", "latentkit", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "3"}
    given = (place / "x.lkz").read_bytes()
    back = subprocess.run(line, input=given, capture_output=True, timeout=120, env=environment, check=False)
    assert (back.returncode, back.stderr) == (0, b"")
    assert back.stdout == (tmp_path / "x.npy").read_bytes()


def test_evaluate_draws_rates_and_errors(latentkit: Command, place: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pictures(4, seed=2))
    line = ("evaluate", place / "run", tmp_path / "x.npy", "--compression", "--plot", tmp_path / "curves.png")
    outcome = latentkit(*line)
    assert outcome.code == 0, outcome.err
    assert "with loss: 4 images" in outcome.out
    assert f"curves -> {tmp_path / 'curves.png'}" in outcome.out
    rows = [line.split() for line in outcome.out.splitlines()]
    assert [row[1] for row in rows if len(row) == 5 and row[0] in {"latentkit", "WebP"}] == [
        "10",
        "30",
        "50",
        "70",
        "90",
    ] * 2
    assert "MS-SSIM takes images with sides of 176 pixels and more" in outcome.err
    with Image.open(tmp_path / "curves.png") as image:
        assert image.format == "PNG"


def test_evaluate_of_large_images_as_json(
    latentkit: Command, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentkit.tasks.compression.compare", lambda contents, coder: [])
    monkeypatch.setattr("latentkit.cli.evaluate._tell_sizes", lambda found, data, printer: 1.0)
    np.save(tmp_path / "x.npy", pictures(1, seed=2, size=176))
    values = _json(latentkit("evaluate", place / "run", tmp_path / "x.npy", "--compression", "--json"))
    assert len(values["rates"]) == 20
    assert {point["name"] for point in values["rates"]} == {"latentkit", "JPEG 4:4:4", "JPEG 4:2:0", "WebP"}
    assert all(0 < point["ms_ssim"] <= 1 and point["psnr"] > 10 for point in values["rates"])
    assert set(values["rate_at_equal_psnr"]) <= {"JPEG 4:4:4", "JPEG 4:2:0", "WebP"}


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (("compress", "PLAIN", "DATA", "-o", "OUT", "--quality", "60"), 2, "quality=60 asks for loss, which this"),
        (("compress", "RUN", "DATA", "-o", "OUT", "--quality", "0"), 2, "--quality"),
        (("compress", "RUN", "DATA", "-o", "OUT", "--quality", "101"), 2, "--quality"),
        (("compress", "RUN", "DATA", "-o", "OUT", "--quality", "good"), 2, "--quality"),
        (("decompress", "ARCHIVE", "-o", "OUT"), 3, "Give the run that it was written with"),
        (("decompress", "ARCHIVE", "-o", "OUT", "--run", "PLAIN"), 3, "it was written with the model"),
        (
            ("evaluate", "PLAIN", "DATA", "--compression", "--plot", "OUT"),
            2,
            "has not learnt to approximate. Fit again",
        ),
        (("evaluate", "RUN", "DATA", "--plot", "OUT"), 2, "give --compression"),
        (("evaluate", "RUN", "GREY", "--compression", "--plot", "OUT"), 3, "no image in it has as many channels as"),
        (("fit", "DATA", "-o", "OUT", "--lossy"), 2, "--lossy is about archives: give --compressor, too"),
        (("fit", "--resume", "-o", "OUT", "--lossy"), 2, "--lossy is about archives: give --compressor, too"),
        (
            ("fit", "TABLE", "-o", "OUT", "--compressor", "--lossy"),
            3,
            "there are no images of 8 bits in it, and nothing",
        ),
    ],
)
def test_what_is_refused(
    latentkit: Command, place: Path, tmp_path: Path, line: tuple[str, ...], code: int, message: str
) -> None:
    np.save(tmp_path / "grey.npy", pictures(2, channels=1)[..., 0])
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{n},{n * n}\n" for n in range(50)))
    places = {"RUN": place / "run", "PLAIN": place / "plain", "DATA": place / "x.npy", "ARCHIVE": place / "x.lkz"}
    places |= {"OUT": tmp_path / "out", "GREY": tmp_path / "grey.npy", "TABLE": tmp_path / "x.csv"}
    outcome = latentkit(*(str(places.get(word, word)) for word in line))
    assert (outcome.code, outcome.out) == (code, "")
    assert message in " ".join(outcome.err.split())
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "out").exists()


def test_fit_learns_to_approximate(latentkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentkit.cli.fit.COMPRESSOR_TIME", 0.4)
    monkeypatch.setattr("latentkit.cli.resuming.COMPRESSOR_TIME", 0.4)
    np.save(tmp_path / "x.npy", pictures(30))
    brief = ("--set", "max_epochs=1", "--set", "encoder=[16]", "--set", "decoder=[16]", *ALONE[:-1])
    run, both = tmp_path / "run", ("--compressor", "--lossy")
    outcome = latentkit("fit", tmp_path / "x.npy", "-o", run, *brief, *both)
    assert outcome.code == 0, outcome.err
    assert ", that of loss " in " ".join(outcome.out.split())
    assert f"  latentkit compress {run} DATA -o x.lkz --quality 60" in outcome.out.splitlines()
    assert latentkit("compress", run, tmp_path / "x.npy", "-o", tmp_path / "x.lkz", "--quality", "9").code == 0
    values = _json(latentkit("fit", "--resume", "-o", run, *ALONE, *both, "--json"))
    assert values["compressor"]["lossy"]


def test_errors_in_words() -> None:
    assert compressors.errors(Distortion()) == "no image is approximated"
    assert compressors.errors(Distortion(1, 10, 0, 1, 0.5)) == "1 image approximated, no error, MS-SSIM 0.5000"
    told = compressors.errors(Distortion(1200, 1000, 1000, 2, 1.9))
    assert told == "1,200 images approximated, PSNR 48.13 dB, MS-SSIM 0.9500 of the 2 large ones"
