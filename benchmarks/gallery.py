"""The gallery of the manual: samples of every member on four sets of images, each a short fit with the defaults.

    python benchmarks/gallery.py [--only MEMBER] [--data SET] [--minutes M] [--redraw]

Writes one picture a member and set into docs/pictures/gallery, what was fitted and how long it took into
benchmarks/results/gallery.json, and the figures of docs/gallery.md from both. Nothing but the time is set: the members
take their defaults, and the samples are the first 32 that `sample` gives with seed 0. Fits are kept in runs/gallery,
from which --redraw draws anew without fitting.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import RESULTS, ROOT, data_folder, store

N_SAMPLES, COLUMNS = 32, 8
PICTURES = ROOT / "docs" / "pictures" / "gallery"
RUNS = ROOT / "runs" / "gallery"
PAGE = ROOT / "docs" / "gallery.md"

#: File, names of images and labels in it, minutes of a fit, and times that a picture is enlarged.
SETS: dict[str, tuple[str, str, str | None, float, int]] = {
    "mnist": ("mnist", "x_train", "y_train", 4.0, 2),
    "frey_faces": ("frey_faces", "x", None, 1.0, 2),
    "olivetti_faces": ("olivetti_faces", "x", None, 1.5, 1),
    "cifar10": ("cifar10_subset", "x_train", "y_train", 3.0, 2),
}
MEMBERS = ("vae", "hierarchical", "vqvae", "autoencoder", "sparse", "denoising", "gan", "vaegan", "generator")
#: Who gets more than the time of the set: a game, and two trainings one after the other.
SHARES = {"gan": 2.0, "vqvae": 2.0}
#: Whose MNIST digits are also shown class by class.
BY_CLASS = ("vae", "vqvae")

#: A picture with what was fitted; the alternative text says what it is a picture of.
FIGURE = """
::::{{figure}} pictures/gallery/{title}.png
:alt: Samples of {estimator}, {title}
{{doc}}`{estimator} <models/{member}>`, {text}
::::
"""


def load(name: str) -> tuple[Any, Any]:
    """Images, uint8, and their labels or None."""
    import numpy as np

    file, images, labels, *_ = SETS[name]
    with np.load(data_folder() / "images" / f"{file}.npz") as arrays:
        return arrays[images], None if labels is None else arrays[labels]


def fit(member: str, name: str, minutes: float) -> dict[str, Any]:
    """Fit a member with its defaults, keep the run, and return what the gallery says of it."""
    from latentkit.estimators.registry import estimators

    images, labels = load(name)
    kind = estimators[member]
    takes_labels = labels is not None and member in BY_CLASS
    start, processor = time.perf_counter(), time.process_time()
    estimator = kind(max_time=60 * minutes, random_state=0, verbose=1)
    run = RUNS / f"{member}-{name}"
    shutil.rmtree(run, ignore_errors=True)
    estimator.fit(images, labels if takes_labels else None, run=run)
    return {
        "member": member,
        "data": name,
        "images": len(images),
        "minutes": minutes,
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "epochs": estimator.n_iter_,
        "latent_dim": estimator.latent_dim_,
        "estimator": kind.__name__,
        "parameters": sum(p.numel() for p in estimator.model_.parameters()),
    }


def draw(member: str, name: str) -> None:
    """Write the pictures of a run."""
    import numpy as np

    from latentkit import load as load_run
    from latentkit.data.pictures import image_grid

    estimator = load_run(RUNS / f"{member}-{name}")
    grids = {f"{member}-{name}": (estimator.sample(N_SAMPLES, random_state=0), COLUMNS)}
    if len(estimator.classes_):
        rows = [estimator.sample(COLUMNS, label=label, random_state=0) for label in estimator.classes_]
        grids[f"{member}-{name}-by-class"] = (np.concatenate(rows), COLUMNS)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for title, (samples, columns) in grids.items():
        times = SETS[name][4]
        picture = image_grid(np.asarray(samples), columns=columns)
        path = PICTURES / f"{title}.png"
        picture.resize((picture.width * times, picture.height * times), 0).save(path, optimize=True)
        print(f"wrote {path.relative_to(ROOT)} ({path.stat().st_size / 1000:.0f} kB)", flush=True)


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="members, with commas: " + ",".join(MEMBERS))
    parser.add_argument("--data", default="", help="sets, with commas: " + ",".join(SETS))
    parser.add_argument("--minutes", type=float, help="time of each fit instead of the set's own")
    parser.add_argument("--redraw", action="store_true", help="draw from runs/gallery, without fitting")
    options = parser.parse_args()
    members, sets = (
        options.only.split(",") if options.only else MEMBERS,
        options.data.split(",") if options.data else SETS,
    )
    unknown = (set(members) - set(MEMBERS)) | (set(sets) - set(SETS))
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join((*MEMBERS, *SETS))}")
    for name in sets:
        for member in members:
            if not options.redraw:
                figures = fit(member, name, options.minutes or SETS[name][3] * SHARES.get(member, 1.0))
                print(figures, flush=True)
                store("gallery", {f"{member}-{name}": figures}, merge=True)
            draw(member, name)
    write_page()


# The page


def write_page() -> None:
    """Write the figures of docs/gallery.md, between the marks of each set, from the results and the pictures."""
    text = PAGE.read_text(encoding="utf-8")
    stored = json.loads((RESULTS / "gallery.json").read_text(encoding="utf-8"))["figures"]
    for name in SETS:
        begin, end = f"% figures of {name}: written by benchmarks/gallery.py\n", f"% end of the figures of {name}\n"
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = before + begin + figures_of(name, stored) + end + after
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def figures_of(name: str, stored: dict[str, Any]) -> str:
    """The figures of one set, in MyST: those that there is a picture and a result of."""
    figures = []
    for member in MEMBERS:
        result = stored.get(f"{member}-{name}")
        for by_class in (False, True):
            title = f"{member}-{name}{'-by-class' if by_class else ''}"
            if result is None or not (PICTURES / f"{title}.png").exists():
                continue
            figures.append(FIGURE.format(title=title, text="by class" if by_class else caption(result), **result))
    if not figures:
        return f"Not drawn yet: `python benchmarks/gallery.py --data {name}`.\n"
    return ":::::{container} gallery\n" + "".join(figures) + ":::::\n"


def caption(result: dict[str, Any]) -> str:
    """What was fitted, and how long it took."""
    epochs = "1 epoch" if result["epochs"] == 1 else f"{result['epochs']} epochs"
    return f"{result['parameters'] / 1000:,.0f} k weights, {epochs}, {result['processor_seconds']:.0f} s"


if __name__ == "__main__":
    run()
