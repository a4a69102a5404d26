"""How small texts become: archives of texts that were not learnt from, written, read back and compared.

    python benchmarks/text_compression.py [--seconds 300] [--seeds 1] [--only ag_news_titles]

A `Compressor` learns from training texts, a text a line, for so long at most on one thread, and writes the others into
one archive without its model; with it, where that pays. `ptb` has a test part of its own; of the others the last tenth
is coded, in the order of the file. Classic coders get the same bytes twice: alone, and with the training texts known.
zstd knows them by the best dictionary of several sizes that its trainer makes of them, and by a reference to the whole
file; of xz, PPMd (as libarchive writes it into 7-zip files) and zpaq it is what both parts together take more than the
training part alone. Commands and libraries that are not installed are left out. Speeds are those of one thread, the
writing one without the comparison.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import csv
import ctypes
import ctypes.util
import json
import lzma
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _measuring import contest, data_folder, median, store, zpaq_bytes

SETS = ("ag_news_titles", "ptb", "thucnews_titles", "yelp")
DICTIONARIES = (1 << 16, 112_640, 1 << 18, 1 << 20)
XZ = 9 | lzma.PRESET_EXTREME


def parts(name: str) -> tuple[bytes, bytes]:
    """Texts to learn from and texts to code, a line each."""
    folder = data_folder() / "text"
    if name == "ptb":
        return (folder / "ptb.train.txt").read_bytes(), (folder / "ptb.test.txt").read_bytes()
    if name == "ag_news_titles":
        with (folder / "ag_news.test.csv").open(encoding="utf-8", newline="") as file:
            texts = [row[1].replace("\n", " ") for row in csv.reader(file)]
    elif name == "thucnews_titles":
        texts = [line.split("\t")[0] for line in (folder / "thucnews_titles.dev.tsv").read_text("utf-8").splitlines()]
    else:
        texts = (folder / "yelp_sentiment.dev.1.txt").read_text("utf-8").splitlines()
    n = len(texts) * 9 // 10
    learnt, coded = ("".join(f"{text}\n" for text in some).encode() for some in (texts[:n], texts[n:]))
    return learnt, coded


def child(arguments: list[str]) -> dict[str, Any]:
    """Learn, write, read, compare."""
    import torch

    from latentkit import Compressor

    name, seed, seconds = arguments[0], int(arguments[1]), float(arguments[2])
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    learnt, coded = parts(name)
    with tempfile.TemporaryDirectory() as folder:
        source, target, archive = (Path(folder) / part for part in ("learnt.txt", "coded.txt", "coded.lkz"))
        source.write_bytes(learnt)
        target.write_bytes(coded)
        start = time.process_time()
        compressor = Compressor(max_time=seconds, random_state=seed).fit(source)
        fitted = time.process_time()
        whole = compressor.compress(target, Path(folder) / "whole.lkz", n_workers=1)
        before = time.process_time()
        bare = compressor.compress(target, archive, embed=False, verify=False, n_workers=1)
        written = time.process_time()
        compressor.decompress(archive, Path(folder) / "again.txt")
        read = time.process_time()
        if (Path(folder) / "again.txt").read_bytes() != coded:
            raise AssertionError("what came back is not what was written")
    return {
        "bytes": float(bare.summary.file_bytes),
        "bits a byte": 8.0 * bare.summary.file_bytes / len(coded),
        "bytes with the model, if it pays": float(whole.summary.file_bytes),
        "seconds of the processor to learn": fitted - start,
        "kB/s written": len(coded) / (written - before) / 1000,
        "kB/s read": len(coded) / (read - written) / 1000,
    }


def classic(learnt: bytes, coded: bytes) -> dict[str, dict[str, int]]:
    """Bytes of classic coders, alone and with the training texts known."""
    alone = {"xz -9e": len(lzma.compress(coded, preset=XZ))}
    known = {"xz -9e": len(lzma.compress(learnt + coded, preset=XZ)) - len(lzma.compress(learnt, preset=XZ))}
    if shutil.which("zstd"):
        alone["zstd --ultra -22"], known["zstd --ultra -22, dictionary"], known["zstd --ultra -22, whole text"] = zstd(
            learnt, coded
        )
    if ctypes.util.find_library("archive"):
        alone["PPMd"] = ppmd_bytes(coded)
        known["PPMd"] = ppmd_bytes(learnt + coded) - ppmd_bytes(learnt)
    if shutil.which("zpaq"):
        alone["zpaq -m5"] = zpaq_bytes(coded)
        known["zpaq -m5"] = zpaq_bytes(learnt + coded) - zpaq_bytes(learnt)
    return {"alone": alone, "training texts known": known}


def zstd(learnt: bytes, coded: bytes) -> tuple[int, int, int]:
    """Bytes of zstd alone, with the best trained dictionary, and with the training texts as a reference."""

    def size(*options: str) -> int:
        command = ["zstd", "-q", "--ultra", "-22", *options, "-c", "coded"]
        return len(subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout)

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "learnt").write_bytes(learnt)
        (Path(folder) / "coded").write_bytes(coded)
        samples = Path(folder) / "samples"
        samples.mkdir()
        for number, line in enumerate(learnt.splitlines(keepends=True)):
            (samples / str(number)).write_bytes(line)
        found = []
        for most in DICTIONARIES:
            command = ["zstd", "-q", "--train", "-r", "samples", f"--maxdict={most}", "-f", "-o", "dictionary"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            found.append(size("-D", "dictionary"))
        return size(), min(found), size("--patch-from=learnt")


def ppmd_bytes(content: bytes) -> int:
    """How long the 7-zip file is that libarchive makes of bytes by PPMd, without what it takes for a byte."""
    return _seven_zip(content) - _seven_zip(b"a")


def _seven_zip(content: bytes) -> int:
    library = ctypes.CDLL(ctypes.util.find_library("archive"))
    library.archive_write_new.restype = library.archive_entry_new.restype = ctypes.c_void_p
    library.archive_write_data.restype = ctypes.c_ssize_t
    archive, entry = ctypes.c_void_p(library.archive_write_new()), ctypes.c_void_p(library.archive_entry_new())
    room, used = ctypes.create_string_buffer(2 * len(content) + 4096), ctypes.c_size_t()
    library.archive_entry_set_pathname(entry, b"x")
    library.archive_entry_set_size(entry, ctypes.c_int64(len(content)))
    library.archive_entry_set_filetype(entry, 0o100000)
    steps = [
        library.archive_write_set_format_7zip(archive),
        library.archive_write_set_options(archive, b"7zip:compression=ppmd"),
        library.archive_write_open_memory(archive, room, ctypes.c_size_t(len(room)), ctypes.byref(used)),
        library.archive_write_header(archive, entry),
        library.archive_write_data(archive, content, ctypes.c_size_t(len(content))) - len(content),
        library.archive_write_close(archive),
    ]
    if any(steps):
        raise RuntimeError(f"libarchive: {steps}")
    library.archive_entry_free(entry)
    library.archive_write_free(archive)
    return used.value


def parent(options: argparse.Namespace) -> None:
    for name in SETS:
        if options.only and options.only != name:
            continue
        learnt, coded = parts(name)
        runs = [
            contest(__file__, {name: [name, str(seed), str(options.seconds)]}, rounds=1)[name][0]
            for seed in range(options.seeds)
        ]
        ours: dict[str, Any] = {key: round(median(runs, key), 4) for key in runs[0]}
        ours["bytes of each seed"] = [int(run["bytes"]) for run in runs]
        figures = {
            name: {
                "training bytes": len(learnt),
                "coded bytes": len(coded),
                "ours": ours,
                **classic(learnt, coded),
                "seconds": options.seconds,
            }
        }
        print(figures, flush=True)
        store("text_compression", figures, merge=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="of learning, at most")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", choices=SETS, help="one set only")
    return parser.parse_args()


if __name__ == "__main__":
    if "--child" in sys.argv:
        print(json.dumps(child(sys.argv[sys.argv.index("--child") + 1 :])))
    else:
        parent(arguments())
