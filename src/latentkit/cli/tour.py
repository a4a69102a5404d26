"""The tour of ``latentkit demo``: one model of handwritten digits, every task, a short account of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentkit.cli.detectors import fit_detector
from latentkit.cli.edit import has_attribute
from latentkit.cli.fitting import outcome
from latentkit.cli.opening import OpenedRun, open_run
from latentkit.cli.outputs import pictures, write_blocks, write_data, write_table
from latentkit.cli.printing import Printer
from latentkit.cli.reading import Reading, as_array, read_data
from latentkit.cli.recover import write_recovery
from latentkit.cli.score import likelihood_columns
from latentkit.cli.terminal import show_strip

if TYPE_CHECKING:
    from latentkit.data import Dataset

__all__ = ["SETTINGS", "tour"]

#: Settings of the demo's training: enough for clear digits, and an end to it on a slow machine.
SETTINGS: dict[str, Any] = {
    "max_epochs": 60,
    "max_time": 20,
    "weight_averaging": 0.99,
    "patience": None,
    "random_state": 0,
}
#: Pictures in a strip.
N = 12


@dataclass(frozen=True, kw_only=True)
class Stop:
    """One stop of the tour.

    Attributes:
        title: The task.
        text: What came of it.
        files: What was written.
        command: The command line that does it.
        strip: Pictures for the terminal, shape (n, height, width), or None.
        figures: Numbers, for the JSON document.
    """

    title: str
    text: str
    files: list[Path]
    command: str
    strip: Any = None
    figures: dict[str, float] = field(default_factory=dict)


def tour(folder: Path, printer: Printer, settings: dict[str, Any] | None = None) -> None:
    """Fit the digits into ``folder/run``, do every task, write a figure of each and a report.

    Args:
        folder: Where everything goes.
        printer: Where it is told.
        settings: Of the model, instead of :data:`SETTINGS`.
    """
    from threadpoolctl import threadpool_limits

    from latentkit.estimators import VAE
    from latentkit.report import write_report

    dataset = read_data("digits", Reading(), printer)
    printer.line("latentkit demo", style="bold magenta")
    printer.line(f"{dataset.n} handwritten digits of 8 x 8 pixels, out of scikit-learn; no label is used in training.")
    printer.line()
    run = folder / "run"
    vae = VAE(**{"verbose": 1, **(SETTINGS if settings is None else settings)}).fit(dataset, run=run, overwrite=True)
    opened = open_run(run)
    values = outcome(vae, run)
    _tell(printer, 1, _trained(values))
    stops = [_trained(values)]
    page = folder / "report.html"
    # Everything here is small: threads as the training used them, or they would spin beside a busy neighbour.
    with vae.engine_.applied(), threadpool_limits(vae.engine_.threads):
        for visit in (_generate, _by_class, _reconstruct, _reduce, _score, _recover, _interpolate, _traverse, _edit):
            stops.append(visit(opened, dataset, folder))
            _tell(printer, len(stops), stops[-1])
        detector = fit_detector(vae, dataset, run, printer, is_asked=True)
        stops.append(_detect(detector, opened, dataset, folder))
        _tell(printer, len(stops), stops[-1])
        write_report(opened.estimator, page, data=dataset, detector=detector)
    printer.line()
    printer.line("All of it on one page", style="bold")
    printer.line(f"  {page}", style="green")
    printer.commands("Now yours", ["latentkit check DATA", "latentkit fit DATA -o run --time 5m"])
    printer.document(
        {
            "folder": folder,
            "fit": values,
            "tasks": [{"task": s.title, "text": s.text, "files": s.files, **s.figures} for s in stops[1:]],
            "report": page,
        }
    )


def _tell(printer: Printer, number: int, stop: Stop) -> None:
    printer.line()
    printer.line(f"{number}. {stop.title}", style="bold")
    printer.line(f"   {stop.text}")
    if stop.strip is not None:
        show_strip(printer.console, stop.strip, indent=3)
    for file in stop.files:
        printer.line(f"   {file}", style="green")
    printer.line(f"   $ {stop.command}", style="cyan")


def _trained(values: dict[str, Any]) -> Stop:
    return Stop(
        title="Learn",
        text=f"{values['epochs']} epochs in {values['seconds']:.0f} s: 64 pixels became {values['latent_dim']} numbers"
        f"; log p(x) of digits not seen is at least {values['validation_nats'] or values['objective_nats']:.1f} nats.",
        files=[values["run"]],
        command="latentkit fit digits -o run --preset fast",
    )


def _generate(opened: OpenedRun, dataset: Dataset, folder: Path) -> Stop:
    images = pictures(opened.estimator.sample(8 * N), opened.schema)
    return Stop(
        title="Generate",
        text=f"{8 * N} digits that nobody wrote.",
        files=write_blocks([images], str(folder / "samples.png"), columns=N),
        command=f"latentkit sample {opened.path} -n 96 -o samples.png",
        strip=images[:N],
    )


def _by_class(opened: OpenedRun, dataset: Dataset, folder: Path) -> Stop:
    rows = [pictures(opened.estimator.sample(N, label=name), opened.schema) for name in opened.estimator.classes_]
    return Stop(
        title="Generate by class",
        text="Labels were given, so each class has its own place in the latent space.",
        files=write_blocks(rows, str(folder / "classes.png"), columns=N),
        command=f"latentkit sample {opened.path} -n 12 --label 3 -o threes.png",
        strip=rows[min(3, len(rows) - 1)],
    )


def _reconstruct(opened: OpenedRun, dataset: Dataset, folder: Path) -> Stop:
    originals = as_array(dataset, opened.schema)[: 2 * N]
    rows = [pictures(digits, opened.schema) for digits in (originals, opened.estimator.reconstruct(originals))]
    return Stop(
        title="Reconstruct",
        text="Originals above what is left of them after the way through the latent space.",
        files=write_blocks(rows, str(folder / "reconstructions.png"), columns=N),
        command=f"latentkit reconstruct {opened.path} digits -o reconstructions.png",
        strip=rows[1][:N],
    )


def _reduce(opened: OpenedRun, dataset: Dataset, folder: Path) -> Stop:
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    z = opened.estimator.transform(dataset)
    accuracy = float(cross_val_score(KNeighborsClassifier(5), z, dataset.labels, cv=5).mean())
    return Stop(
        title="Reduce",
        text=f"{z.shape[1]} numbers a digit; their five nearest neighbours name {accuracy:.0%} of them right.",
        files=write_table({f"z{dim}": z[:, dim] for dim in range(z.shape[1])}, str(folder / "codes.parquet")),
        command=f"latentkit encode {opened.path} digits -o codes.parquet",
        figures={"nearest_neighbour_accuracy": accuracy},
    )


def _score(opened: OpenedRun, dataset: Dataset, folder: Path) -> Stop:
    digits = as_array(dataset, opened.schema)[:150]
    columns, _ = likelihood_columns(opened.estimator, opened.estimator.log_likelihood(digits, n_importance=64))
    negatives = opened.estimator.score_samples(digits.max() - digits, n_importance=64)
    mean, other = float(columns["log_likelihood"].mean()), float(negatives.mean())
    order = columns["log_likelihood"].argsort()
    return Stop(
        title="Score",
        text=f"log p(x) is at least {mean:.1f} nats a digit, and {other:.1f} for their negatives. The oddest digits:",
        files=[
            *write_table(columns, str(folder / "scores.csv")),
            *write_blocks([pictures(digits[order[:N]], opened.schema)], str(folder / "oddest.png"), columns=N),
        ],
        command=f"latentkit score {opened.path} digits -o scores.csv",
        strip=pictures(digits[order[:N]], opened.schema),
        figures={"mean_log_likelihood_nats": mean, "negatives_nats": other},
    )


def _detect(detector: Any, opened: OpenedRun, dataset: Dataset, folder: Path) -> Stop:
    import numpy as np

    digits = as_array(dataset, opened.schema)
    damaged = digits[:N].copy()
    damaged[:, :3, :3] = digits.max() - damaged[:, :3, :3]
    found = detector.explain(damaged)
    shares = found.contributions.clip(0.0)
    share = float(np.median(shares[:, :3, :3].sum((1, 2)) / shares.sum((1, 2))))
    n_flagged, n_odd = int((detector.predict(digits) < 0).sum()), int((detector.predict(damaged) < 0).sum())
    heat = (255 * shares / shares.max((1, 2), keepdims=True)).astype(np.uint8)
    return Stop(
        title="Detect",
        text=f"{n_flagged} of {len(digits)} digits are flagged as odd. Of {N} with nine pixels of a corner inverted "
        f"{n_odd} are, and {share:.0%} of what is odd about them lies there.",
        files=write_blocks([pictures(damaged, opened.schema), heat], str(folder / "odd.png"), columns=N),
        command=f"latentkit detect {opened.path} digits -o anomalies.csv --explain",
        strip=heat,
        figures={"flagged": float(n_flagged), "damaged_flagged": float(n_odd), "share_in_corner": share},
    )


def _recover(opened: OpenedRun, dataset: Dataset, folder: Path) -> Stop:
    import numpy as np

    digits = as_array(dataset, opened.schema)[:N]
    observed = np.ones(digits.shape, dtype=bool)
    observed[:, digits.shape[1] // 2 :] = False
    [mask] = write_data(observed[0], str(folder / "upper-half.npy"), opened.schema)
    files, filled = write_recovery(opened, digits, observed, str(folder / "recovered.png"), n_draws=20)
    return Stop(
        title="Recover",
        text="The lower half was hidden. Below: the mean of 20 completions, then single ones, each a possible answer.",
        files=files,
        command=f"latentkit recover {opened.path} digits --mask {mask} -o recovered.png",
        strip=filled,
    )


def _interpolate(opened: OpenedRun, dataset: Dataset, folder: Path) -> Stop:
    digits = as_array(dataset, opened.schema)
    strips = [
        pictures(opened.estimator.interpolate(digits[first], digits[last], steps=N), opened.schema)
        for first, last in ((0, 1), (2, 3), (4, 5), (6, 7))
    ]
    return Stop(
        title="Interpolate",
        text="From one digit to another, over digits all the way.",
        files=write_blocks(strips, str(folder / "interpolation.png"), columns=N),
        command=f"latentkit interpolate {opened.path} digits --from 0 --to 1 --steps {N} -o interpolation.png",
        strip=strips[0],
    )


def _traverse(opened: OpenedRun, dataset: Dataset, folder: Path) -> Stop:
    digit = as_array(dataset, opened.schema)[0]
    rows = [
        pictures(opened.estimator.traverse(digit, dim=dim, steps=N), opened.schema)
        for dim in range(opened.estimator.latent_dim_)
    ]
    return Stop(
        title="Traverse",
        text="One latent dimension changes, the others stay: a line for each dimension.",
        files=write_blocks(rows, str(folder / "traversals.png"), columns=N),
        command=f"latentkit traverse {opened.path} digits --row 0 -o traversals.png",
        strip=rows[0],
    )


def _edit(opened: OpenedRun, dataset: Dataset, folder: Path) -> Stop:
    direction = opened.estimator.attribute_direction(dataset, has_attribute(dataset, "6"))
    digits = as_array(dataset, opened.schema)[:N]
    rows = [
        pictures(opened.estimator.edit(digits, direction, strength=strength), opened.schema)
        for strength in (0.0, 2.0, 4.0)
    ]
    return Stop(
        title="Edit",
        text="Each digit moved towards the sixes, along a direction that labels told.",
        files=write_blocks(rows, str(folder / "edited.png"), columns=N),
        command=f"latentkit edit {opened.path} digits --attribute 6 --strength 4 -o edited.png",
        strip=rows[-1],
    )
