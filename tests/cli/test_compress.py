"""Archives from the command line: what compress, decompress and inspect write, say and refuse."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from latentkit import VAE
from latentkit.cli import compressors, main
from latentkit.codec.archive import ArchiveWriter
from latentkit.codec.pixels import PixelCoder
from latentkit.core.errors import StorageError
from latentkit.estimators import Compressor, runs
from latentkit.tasks.compression import archiving, open_contents, pixels
from tests.cli.conftest import ALONE, Command, make_images
from tests.tasks.compression.test_pixels import small_settings

#: A fit of a moment, and a compressor as quick.
BRIEF = ("--set", "max_epochs=1", "--set", "encoder=[16]", "--set", "decoder=[16]", *ALONE)


@pytest.fixture(scope="module", autouse=True)
def brief() -> Iterator[None]:
    """Small networks: how well they code is not the question."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "suitable_settings", small_settings)
        yield


def _json(outcome: Any) -> Any:
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


@pytest.fixture(scope="module")
def packing_run(images_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a compressor; nobody may change it."""
    run = tmp_path_factory.mktemp("runs") / "packing"
    shutil.copytree(images_run, run)
    Compressor(max_time=1, random_state=0).fit(make_images(300)).save(run / "compressor")
    return run


@pytest.fixture(scope="module")
def images_npy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "halves.npy"
    np.save(file, make_images(16))
    return file


@pytest.fixture(scope="module")
def archive(packing_run: Path, images_npy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that needs the run."""
    file = tmp_path_factory.mktemp("archives") / "halves.lkz"
    assert main(["compress", str(packing_run), str(images_npy), "-o", str(file), "--no-model", "-q"]) == 0
    return file


def test_there_and_back(latentkit: Command, packing_run: Path, images_npy: Path, tmp_path: Path) -> None:
    packed = latentkit("compress", packing_run, images_npy, "-o", tmp_path / "x.lkz")
    assert packed.code == 0, packed.err
    size = (tmp_path / "x.lkz").stat().st_size
    assert packed.out.startswith(f"1.0 kB -> {size / 1000:.1f} kB: ")
    for line in (
        "model    none, no block needs it",
        "blocks   1 by zstd",
        f"archive  {tmp_path}",
        "data     1.2 kB where",
    ):
        assert any(line[: len(line)] in " ".join(text.split()) or line in text for text in packed.out.splitlines()), (
            line
        )
    assert "the model is larger than what it saves here" in packed.err
    assert "--no-model saves that, and the archive then needs the run" in " ".join(packed.err.split())
    back = latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "again.npy")
    assert back.code == 0, back.err
    assert back.out == f"1.0 kB -> {tmp_path / 'again.npy'}\n"
    assert (tmp_path / "again.npy").read_bytes() == images_npy.read_bytes()


def test_what_compress_tells_as_json(latentkit: Command, packing_run: Path, images_npy: Path, tmp_path: Path) -> None:
    line = ("compress", packing_run, images_npy, "-o", tmp_path / "x.lkz", "--json")
    for options, methods in (((), {"zstd": 1}), (("--no-model",), {"coder": 1})):
        values = _json(latentkit(*line, *options))
        assert set(values) == {
            *("archive", "kind", "source_bytes", "raw_bytes", "file_bytes", "model_bytes", "ratio", "bits_per_byte"),
            *("n_items", "blocks", "seconds", "quality", "approximated", "psnr", "ms_ssim"),
        }
        assert values["archive"] == str(tmp_path / "x.lkz")
        assert (values["source_bytes"], values["raw_bytes"]) == (images_npy.stat().st_size, 16 * 64 + 8)
        assert values["file_bytes"] == (tmp_path / "x.lkz").stat().st_size
        assert (values["n_items"], values["blocks"], values["model_bytes"]) == (16, methods, 0)
        assert values["ratio"] == values["raw_bytes"] / values["file_bytes"]
        assert values["bits_per_byte"] == pytest.approx(8 / values["ratio"])


def test_options_of_compress(latentkit: Command, packing_run: Path, images_file: Path, tmp_path: Path) -> None:
    written = []
    for options in (("--no-verify",), ("--workers", "1"), ("--workers", "3", "-q", "--verify")):
        outcome = latentkit(
            "compress", packing_run, images_file, "--array", "x", "-o", tmp_path / "x.lkz", "--no-model", *options
        )
        assert outcome.code == 0, outcome.err
        assert outcome.err == ""
        assert "model    in the run, which opening the archive takes" in outcome.out
        written.append((tmp_path / "x.lkz").read_bytes())
    assert set(written) == {written[0]}
    line = ("decompress", tmp_path / "x.lkz", "-o", tmp_path / "x.npy", "--run", packing_run, "--workers", "2")
    assert latentkit(*line).code == 0
    assert (np.load(tmp_path / "x.npy") == make_images()).all()


def test_a_model_that_pays_is_told(
    latentkit: Command, packing_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "many.npy", make_images(20))
    with monkeypatch.context() as patch:  # as if the data were many more
        patch.setattr(
            archiving,
            "ArchiveWriter",
            lambda *rest, embeds_model, **options: ArchiveWriter(*rest, embeds_model=True, **options),
        )
        outcome = latentkit("compress", packing_run, tmp_path / "many.npy", "-o", tmp_path / "x.lkz")
    assert outcome.code == 0
    assert "of the archive; it opens without the run" in outcome.out
    assert "1 by the model" in outcome.out
    told = latentkit("inspect", tmp_path / "x.lkz", "--check")
    assert "pixels, in it; fingerprint" in told.out
    assert latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "again.npy").code == 0
    assert (tmp_path / "again.npy").read_bytes() == (tmp_path / "many.npy").read_bytes()


def test_data_that_do_not_fit_are_told(latentkit: Command, packing_run: Path, table_file: Path, tmp_path: Path) -> None:
    outcome = latentkit("compress", packing_run, table_file, "-o", tmp_path / "x.lkz", "--no-model")
    assert outcome.code == 0
    assert "warning: nothing in these data fits the run; zstd took all of it" in " ".join(outcome.err.split())
    assert latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "t.csv").code == 0, "which needs no run"
    assert (tmp_path / "t.csv").read_bytes() == table_file.read_bytes()
    (tmp_path / "empty").write_bytes(b"")
    outcome = latentkit("compress", packing_run, tmp_path / "empty", "-o", tmp_path / "x.lkz")
    assert (outcome.code, outcome.err) == (0, "")
    assert "blocks   none" in outcome.out


def test_blocks_that_do_not_come_back_are_told(
    latentkit: Command, packing_run: Path, images_npy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PixelCoder, "decode", lambda self, content, n, size: bytes(size))
    outcome = latentkit("compress", packing_run, images_npy, "-o", tmp_path / "x.lkz", "--no-model")
    assert outcome.code == 0
    assert "warning: 1 blocks did not come back as they were, and zstd took them" in " ".join(outcome.err.split())


def test_folders(latentkit: Command, packing_run: Path, tmp_path: Path) -> None:
    for number, image in enumerate(make_images(10)):
        (tmp_path / "in" / "deep").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "in" / "deep" / f"{number}.png")
    (tmp_path / "in" / "[red]notes[ü].txt").write_text("notes")
    values = _json(latentkit("compress", packing_run, tmp_path / "in", "-o", tmp_path / "x.lkz", "--json"))
    assert values["source_bytes"] == sum(file.stat().st_size for file in (tmp_path / "in").rglob("*.*"))
    values = _json(latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "out", "--json"))
    assert len(values["files"]) == 11
    assert values["raw_bytes"] > 640
    assert (tmp_path / "out" / "[red]notes[ü].txt").read_text() == "notes"
    assert latentkit("inspect", tmp_path / "x.lkz").out.splitlines()[0] == f"{tmp_path / 'x.lkz'}: in, folder"
    again = latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "out")
    assert again.code == 2
    assert "out is there already. Choose a new folder, or an empty one." in again.err
    stream = latentkit("decompress", tmp_path / "x.lkz", "-o", "-")
    assert (stream.code, stream.out) == (2, "")
    assert "a folder cannot be written to a stream. Give a place for it: -o FOLDER" in stream.err


def test_inspect_tells_what_an_archive_holds(
    latentkit: Command, packing_run: Path, archive: Path, images_npy: Path
) -> None:
    outcome = latentkit("inspect", archive)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0] == f"{archive}: halves.npy, images"
    assert "items      16 in 1 blocks" in outcome.out
    assert "not in it: give --run; fingerprint" in outcome.out
    assert "its ends are; --check decodes all of it" in outcome.out
    values = _json(latentkit("inspect", archive, "--check", "--run", packing_run, "--json"))
    assert set(values) == {
        *("archive", "format", "holds", "n_items", "raw_bytes", "file_bytes", "ratio", "blocks", "model"),
        *("fingerprint", "is_checked", "is_approximate"),
    }
    config = yaml.safe_load((packing_run / "compressor" / "config.yaml").read_text())
    assert values["fingerprint"] == config["fitted"]["fingerprint"]
    assert (values["is_checked"], values["model"], values["blocks"]) == (True, None, {"coder": 1})
    assert values["holds"]["name"] == "halves.npy"
    outcome = latentkit("inspect", archive, "--check")
    assert outcome.code == 3
    assert "which it does not hold. Give the run that it was written with." in outcome.err


def test_inspect_of_an_archive_that_needs_nothing(
    latentkit: Command, packing_run: Path, table_file: Path, tmp_path: Path
) -> None:
    for options in ((), ("--no-model",)):
        latentkit("compress", packing_run, table_file, "-o", tmp_path / "x.lkz", *options)
        outcome = latentkit("inspect", tmp_path / "x.lkz", "--check")
        assert outcome.code == 0
        assert "model      none, no block needs it" in outcome.out
        assert "yes: every block becomes what it was" in outcome.out


def test_a_run_without_a_compressor_compresses_by_its_model(latentkit: Command, tmp_path: Path) -> None:
    """Which it learns to once, and keeps, so that archives without the model open."""
    random, run, file = np.random.default_rng(0), tmp_path / "run", tmp_path / "x.npy"
    np.save(file, (random.random((400, 8, 8)) < random.random((8, 8)) ** 4).astype(np.uint8))
    VAE(2, encoder=(8,), decoder=(8,), max_epochs=1, ex_post="none", random_state=0).fit(np.load(file)).save(run)
    first = latentkit("compress", run, file, "-o", tmp_path / "x.lkz", "--no-model")
    assert first.code == 0, first.err
    assert "1 by the model" in first.out
    assert "bringing the model into whole numbers, once" in first.err
    assert f"kept as {run / 'coder.bin'}, by which archives without their model open" in " ".join(first.err.split())
    again = latentkit("compress", run, file, "-o", tmp_path / "y.lkz", "--no-model")
    assert (again.code, again.err) == (0, "")
    assert (tmp_path / "x.lkz").read_bytes() == (tmp_path / "y.lkz").read_bytes()
    assert latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "z.npy").code == 3
    assert latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "z.npy", "--run", run).code == 0
    assert (tmp_path / "z.npy").read_bytes() == file.read_bytes()
    assert latentkit("info", run).code == 0


def test_a_run_that_cannot_be_written_is_told(
    latentkit: Command, images_run: Path, images_npy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, coder: object) -> None:
        raise StorageError(28, f"cannot write {folder}: No space left on device.")

    monkeypatch.setattr(runs, "keep_coder", full)
    outcome = latentkit("compress", images_run, images_npy, "-o", tmp_path / "x.lkz")
    assert outcome.code == 0, outcome.err
    assert f"it is not kept: {images_run} cannot be written" in " ".join(outcome.err.split())
    outcome = latentkit("compress", images_run, images_npy, "-o", tmp_path / "y.lkz", "--no-model")
    assert outcome.code == 1
    assert "No space left on device. Without its model in it the archive would need coder.bin in that run" in " ".join(
        outcome.err.split()
    )
    assert not (tmp_path / "y.lkz").exists()


# What is refused


def test_an_archive_without_its_model_needs_the_run(
    latentkit: Command, packing_run: Path, images_run: Path, archive: Path, images_npy: Path, tmp_path: Path
) -> None:
    outcome = latentkit("decompress", archive, "-o", tmp_path / "x.npy")
    assert (outcome.code, outcome.out) == (3, "")
    assert "Give the run that it was written with." in outcome.err
    outcome = latentkit("decompress", archive, "-o", tmp_path / "x.npy", "--run", images_run)
    assert outcome.code == 3
    assert f"{images_run} has no coder: it has not compressed anything" in outcome.err
    Compressor(max_time=0.1, random_state=9).fit(make_images(30)).save(tmp_path / "other")
    outcome = latentkit("decompress", archive, "-o", tmp_path / "x.npy", "--run", tmp_path / "other")
    assert outcome.code == 3
    assert "it was written with the model" in outcome.err
    assert not (tmp_path / "x.npy").exists()
    for run in (packing_run, packing_run / "compressor"):
        assert latentkit("decompress", archive, "-o", tmp_path / "x.npy", "--run", run).code == 0
        assert (tmp_path / "x.npy").read_bytes() == images_npy.read_bytes()
        (tmp_path / "x.npy").unlink()


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (("compress", "RUN"), 2, "missing argument 'DATA'"),
        (("compress", "RUN", "DATA"), 2, "missing option '--output'"),
        (("compress", "RUN", "DATA", "-o", "-", "--json"), 2, "--json and -o - both take standard output"),
        (("compress", "RUN", "DATA", "-o", "OUT", "--workers", "0"), 2, "--workers"),
        (("compress", "RUN", "DATA", "-o", "OUT", "--no-modell"), 2, "no such option: --no-modell. Did you mean"),
        (("compress", "RUN", "DATA", "-o", "OUT", "--array", "x"), 2, "chooses a member of a .npz, and this is none"),
        (("compress", "RUN", "NONE", "-o", "OUT"), 3, "there is no such file or folder"),
        (("compress", "NONE", "DATA", "-o", "OUT"), 3, "there is no run at"),
        (
            ("compress", "TABLE", "DATA", "-o", "OUT"),
            2,
            "A compressor that is learnt beside the model takes it: latentkit fit --compressor",
        ),
        (
            ("evaluate", "TABLE", "DATA", "--compression"),
            2,
            "only data of at most 256 values on an even grid are coded",
        ),
        (("compress", "RUN", "DATA", "-o", "DATA/x.lkz"), 1, "cannot write"),
        (("decompress", "ARCHIVE"), 2, "missing option '--output'"),
        (("decompress", "ARCHIVE", "-o", "-", "--json"), 2, "--json and -o - both take standard output"),
        (("decompress", "NONE", "-o", "OUT"), 3, "No such file"),
        (("decompress", "DATA", "-o", "OUT"), 3, "it does not begin as an archive does"),
        (("decompress", "DATA", "-o", "OUT", "--salvage"), 3, "cannot read"),
        (("decompress", "ARCHIVE", "-o", "DATA/x", "--run", "RUN"), 1, "cannot write"),
        (("inspect",), 2, "missing argument 'ARCHIVE'"),
        (("inspect", "NONE"), 3, "No such file"),
        (("inspect", "DATA"), 3, "it does not begin as an archive does"),
    ],
)
def test_what_is_refused(
    latentkit: Command,
    packing_run: Path,
    table_run: Path,
    images_npy: Path,
    archive: Path,
    tmp_path: Path,
    line: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    places = {"RUN": packing_run, "TABLE": table_run, "DATA": images_npy, "ARCHIVE": archive}
    places |= {"OUT": tmp_path / "out", "NONE": tmp_path / "none"}
    words = [str(places[word]) if word in places else word.replace("DATA/", f"{images_npy}/") for word in line]
    outcome = latentkit(*words)
    assert (outcome.code, outcome.out) == (code, "")
    assert message in " ".join(outcome.err.split())
    assert "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_an_archive_is_not_a_run(latentkit: Command, packing_run: Path, archive: Path, tmp_path: Path) -> None:
    outcome = latentkit("sample", packing_run / "compressor", "-n", "1", "-o", tmp_path / "x.png")
    assert outcome.code == 3
    assert "is a compressor, no run of a model. It is for: latentkit compress" in outcome.err


# Damage


def test_what_is_left_of_a_damaged_archive_is_written(
    latentkit: Command, packing_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"line {number}: {number * 7919 % 1000}\n".encode() for number in range(400)]
    (tmp_path / "x.csv").write_bytes(b"".join(lines))
    monkeypatch.setattr(
        archiving.compress, "__kwdefaults__", {**archiving.compress.__kwdefaults__, "block_bytes": 1024}
    )
    assert latentkit("compress", packing_run, tmp_path / "x.csv", "-o", tmp_path / "x.lkz").code == 0
    damaged = bytearray((tmp_path / "x.lkz").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "x.lkz").write_bytes(damaged)
    outcome = latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "y.csv")
    assert (outcome.code, (tmp_path / "y.csv").exists()) == (3, False)
    values = _json(latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "y.csv", "--salvage", "--json"))
    ((start, stop),) = values["lost_items"]
    assert (values["files"], values["written_items"]) == ([str(tmp_path / "y.csv")], 400 - (stop - start))
    assert (tmp_path / "y.csv").read_bytes() == b"".join(lines[:start] + lines[stop:])
    outcome = latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "y.csv", "--salvage")
    assert f"written to {tmp_path / 'y.csv'}: {400 - (stop - start)} items" in outcome.out
    assert f"lost  {start} to {stop - 1}" in outcome.out
    (tmp_path / "x.lkz").write_bytes(damaged[: len(damaged) // 3])
    outcome = latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "y.csv", "--salvage")
    assert "lost  no item that is known of" in outcome.out


def test_blocks_that_fail_are_not_counted_as_written(
    latentkit: Command, packing_run: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PixelCoder, "decode", lambda self, content, n, size: bytes(size))
    line = ("decompress", archive, "-o", tmp_path / "x.npy", "--salvage", "--run", packing_run, "--json")
    values = _json(latentkit(*line))
    assert (values["written_items"], values["lost_items"]) == (0, [[0, 16]])


def test_a_parquet_file_is_kept_as_its_table(latentkit: Command, packing_run: Path, tmp_path: Path) -> None:
    from pyarrow import parquet, table

    parquet.write_table(table({"x": [1, 2]}), tmp_path / "x.parquet")
    packed = latentkit("compress", packing_run, tmp_path / "x.parquet", "-o", tmp_path / "x.lkz")
    assert "kept     the table: names, types, values; its Parquet file is written anew" in packed.out
    assert latentkit("inspect", tmp_path / "x.lkz").out.startswith(f"{tmp_path / 'x.lkz'}: x.parquet, table")
    assert latentkit("decompress", tmp_path / "x.lkz", "-o", tmp_path / "y.parquet").code == 0
    assert parquet.read_table(tmp_path / "y.parquet").equals(table({"x": [1, 2]}))


def test_some_rows(latentkit: Command, packing_run: Path, tmp_path: Path) -> None:
    images, archive = make_images(14), tmp_path / "x.lkz"
    np.save(tmp_path / "x.npy", images)
    assert latentkit("compress", packing_run, tmp_path / "x.npy", "-o", archive, "--no-model", "-q").code == 0
    line = ("decompress", archive, "--run", packing_run, "-o", tmp_path / "some.npy", "--rows")
    for rows, chosen in (("7", slice(7, 8)), ("3:9", slice(3, 9)), ("12:", slice(12, None)), (":2", slice(2))):
        outcome = latentkit(*line, rows)
        assert outcome.code == 0, outcome.err
        assert (np.load(tmp_path / "some.npy") == images[chosen]).all()
    for rows, message in (
        ("14", "there are no rows 14: the archive has 14, from 0 on."),
        ("5:20", "there are no rows 5 to 20: the archive has 14, from 0 on."),
        ("x", "--rows must be a number or FROM:TO, such as 100:200; got 'x'."),
        ("1:2:3", "--rows must be a number or FROM:TO"),
    ):
        outcome = latentkit(*line, rows)
        assert outcome.code == 2
        assert message in " ".join(outcome.err.split())
    outcome = latentkit(*line, "17", "--salvage")
    assert (outcome.code, "leave out --rows" in outcome.err) == (2, True)


# Pipes


def _piped(*arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    line = [sys.executable, "-m", "latentkit", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(line, input=given, capture_output=True, timeout=120, env=environment, check=False)


@pytest.mark.slow
def test_an_archive_comes_and_goes_through_pipes(images_npy: Path) -> None:
    stream = io.BytesIO()
    archiving.compress(open_contents(images_npy), stream, None)
    back = _piped("decompress", "-", "-o", "-", given=stream.getvalue())
    assert (back.returncode, back.stderr) == (0, b"")
    assert back.stdout == images_npy.read_bytes()


@pytest.mark.slow
def test_pipes_both_ways(packing_run: Path, images_npy: Path) -> None:
    packed = _piped("compress", packing_run, "-", "-o", "-", given=images_npy.read_bytes())
    assert packed.returncode == 0, packed.stderr.decode()
    assert packed.stdout.startswith(b"\x89LKZ")
    assert b"times smaller" in packed.stderr
    back = _piped("decompress", "-", "-o", "-", given=packed.stdout)
    assert (back.returncode, back.stderr) == (0, b"")
    assert back.stdout == images_npy.read_bytes()


def test_streams_in_this_process(
    latentkit: Command, packing_run: Path, archive: Path, images_npy: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    class Standard:
        buffer = io.BytesIO(images_npy.read_bytes())

    monkeypatch.setattr(sys, "stdin", Standard)
    assert latentkit("compress", packing_run, "-", "-o", tmp_path / "x.lkz").code == 0
    assert latentkit("inspect", tmp_path / "x.lkz").out.startswith(f"{tmp_path / 'x.lkz'}: a stream, bytes\n")
    monkeypatch.setattr(Standard, "buffer", io.BytesIO((tmp_path / "x.lkz").read_bytes()))
    assert latentkit("decompress", "-", "-o", tmp_path / "again.npy").code == 0
    assert (tmp_path / "again.npy").read_bytes() == images_npy.read_bytes()


# Fitting


def test_fit_makes_a_compressor(
    latentkit: Command, images_npy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentkit.cli.fit.COMPRESSOR_TIME", 0.2)
    monkeypatch.setattr("latentkit.cli.resuming.COMPRESSOR_TIME", 0.2)
    run = tmp_path / "run"
    outcome = latentkit("fit", images_npy, "-o", run, *BRIEF[:-1], "--compressor")
    assert outcome.code == 0, outcome.err
    assert "learning to compress" in outcome.err
    assert "bits a byte of held-out data; its model takes" in outcome.out
    assert f"  latentkit compress {run} DATA -o x.lkz" in outcome.out.splitlines()
    assert latentkit("compress", run, images_npy, "-o", tmp_path / "x.lkz").code == 0
    values = _json(latentkit("fit", images_npy, "-o", run, *BRIEF, "--compressor", "--overwrite", "--json"))
    assert 0 < values["compressor"]["bits"] < 9
    assert values["compressor"]["coder"] == "pixels"
    assert (
        _json(latentkit("fit", images_npy, "-o", run, *BRIEF, "--overwrite", "--json"))
        .keys()
        .isdisjoint({"compressor"})
    )
    assert not (run / "compressor").exists(), "that of the run which was replaced is gone"
    values = _json(latentkit("fit", "--resume", "-o", run, "--compressor", *ALONE, "--json"))
    assert values["compressor"]["bits"] > 0, "a run that is trained gets one later, too"
    assert latentkit("compress", run, images_npy, "-o", tmp_path / "x.lkz").code == 0


def test_fit_sees_first_that_there_is_something_to_learn(latentkit: Command, images_file: Path, tmp_path: Path) -> None:
    floats = tmp_path / "floats.npy"
    np.save(floats, np.random.default_rng(0).normal(size=(40, 3)))
    for data, code, message in [
        (floats, 3, "there are no images of 8 bits and no lines of a table in it to learn from. Give a folder of PNG"),
        (
            "digits",
            2,
            "learns from files as they lie: a folder of PNG files, .npy, .npz, idx, .csv or .txt; got digits",
        ),
    ]:
        outcome = latentkit("fit", data, "-o", tmp_path / "run", *BRIEF, "--compressor")
        assert outcome.code == code
        assert message in " ".join(outcome.err.split())
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_private_run_is_told_that_its_compressor_is_not(
    latentkit: Command, images_npy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentkit.cli.fit.COMPRESSOR_TIME", 0.1)
    outcome = latentkit("fit", images_npy, "-o", tmp_path / "run", *BRIEF[:-1], "--epsilon", "30", "--compressor")
    assert outcome.code == 0, outcome.err
    assert "warning: the compressor is not private: neither it nor archives that hold it may be handed on" in " ".join(
        outcome.err.split()
    )


def test_a_folder_that_is_no_compressor_stays(tmp_path: Path) -> None:
    (tmp_path / "compressor").mkdir()
    (tmp_path / "compressor" / "mine").write_bytes(b"mine")
    compressors.remove_compressor(tmp_path)
    assert (tmp_path / "compressor" / "mine").exists()


def test_bytes_in_words() -> None:
    assert [compressors.in_bytes(n) for n in (0, 999, 1000, 1_234_567, 5e9, 7e12)] == [
        *("0 B", "999 B", "1.0 kB", "1.2 MB", "5.0 GB", "7,000.0 GB")
    ]


def test_a_bar_shows_where_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from latentkit.cli.printing import Printer

    printer = Printer()
    with compressors.telling_bytes(printer, "compressing", 10) as progress:
        assert progress is None
    printer.aside = Console(file=io.StringIO(), force_terminal=True)
    with compressors.telling_bytes(printer, "compressing", 10) as progress:
        assert progress is not None
        progress(5)
    assert "compressing" in printer.aside.file.getvalue()  # type: ignore[attr-defined]
