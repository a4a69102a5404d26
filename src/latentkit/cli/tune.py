"""``latentkit tune``: settings with which a family does best on data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentkit.cli.application import START, command
from latentkit.cli.columns import add_table_settings, table_settings
from latentkit.cli.options import (
    ArrayName,
    Color,
    Json,
    Kinds,
    Labels,
    LeaveOut,
    MissingValues,
    PageLanguage,
    Quiet,
    SkipBad,
    Tables,
    TextColumn,
    UnseenCategories,
    Where,
)
from latentkit.cli.printing import Printer
from latentkit.cli.reading import Reading, naming, parse_size, read_to_learn
from latentkit.cli.searching import parse_search
from latentkit.cli.settings import as_options, in_words, parse_settings, setting_names
from latentkit.cli.where import parse_columns, read_where
from latentkit.core.errors import InvalidParameterError

if TYPE_CHECKING:
    from latentkit.data import Dataset
    from latentkit.report.language import Language
    from latentkit.search import Search, Study

__all__ = ["tune"]


class Goal(StrEnum):
    """What a model is for."""

    nll = "nll"
    samples = "samples"
    detect = "detect"
    compress = "compress"
    impute = "impute"


class Sampler(StrEnum):
    """Who proposes trials."""

    gp = "gp"
    tpe = "tpe"
    random = "random"
    grid = "grid"
    qmc = "qmc"


class Pruner(StrEnum):
    """Who ends trials early."""

    auto = "auto"
    median = "median"
    hyperband = "hyperband"
    halving = "halving"
    none = "none"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What was asked for, in words that another process can be given."""

    data: str
    folder: str
    goal: str
    model: str
    trials: int
    time: str | None
    search: dict[str, Any]
    only: bool
    sampler: str
    pruner: str
    test: float
    seed: int
    workers: int
    settings: dict[str, Any]
    reading: Reading = field(default_factory=Reading)


@command(
    "tune",
    "latentkit tune photos/ -o study --time 1h",
    "latentkit tune people.csv -o study --for impute --trials 50",
    "latentkit tune digits -o study --set max_epochs=20",
    "latentkit tune digits -o study --search latent_dim=2:32 --only",
    "latentkit tune scans/ -o study --time 8h --workers 4",
    panel=START,
)
def tune(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Folder of images; .npy .npz .csv .tsv .parquet .jsonl .txt or idx file; built-in (digits, wine, "
            "...); or - for standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="STUDY",
            help="Folder of the study; one that is there is gone on with, also by several commands at once.",
            show_default=False,
        ),
    ],
    goal: Annotated[
        Goal,
        typer.Option(
            "--for",
            metavar="GOAL",
            help="What to be best at: nll (a bound on log p(x)), samples (new rows), detect (telling odd rows), "
            "compress (bits of an archive) or impute (filling holes).",
        ),
    ] = Goal.nll,
    model: Annotated[str, typer.Option("--model", metavar="M", help="Family of models.")] = "vae",
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", help="Trials, with those that STUDY has already.", min=1)
    ] = 30,
    time: Annotated[
        str | None,
        typer.Option(
            "--time",
            metavar="1h",
            help="Time for all trials, such as 90s, 20m, 1h30m; each then gets twice its share at most.",
            show_default=False,
        ),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            metavar="NAME=...",
            help="What to search: NAME=LOW:HIGH, NAME=a,b,c, or NAME for what is recognised; may be repeated. width "
            "and depth size encoder and decoder.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[bool, typer.Option("--only", help="Search what --search names, and nothing else.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A setting that stays as it is; may be repeated.", show_default=False
        ),
    ] = None,
    sampler: Annotated[
        Sampler,
        typer.Option(
            "--sampler",
            metavar="S",
            help="Who proposes trials: gp (a Gaussian process), tpe, random, grid or qmc (Sobol's points).",
        ),
    ] = Sampler.gp,
    pruner: Annotated[
        Pruner,
        typer.Option(
            "--pruner",
            metavar="P",
            help="Who ends trials early that fall behind: median, hyperband, halving, none; auto goes by the goal.",
        ),
    ] = Pruner.auto,
    test: Annotated[
        float,
        typer.Option(
            "--test", metavar="SHARE", help="Share of the rows that nothing looks at; 0 where test data lie elsewhere."
        ),
    ] = 0.1,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Processes that work on the study at once.", min=1)
    ] = 1,
    labels: Labels = None,
    array: ArrayName = None,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="64", help="Side of images, or 48x64: height x width.", show_default=False),
    ] = None,
    color: Annotated[Color | None, typer.Option("--color", help="How images are read.", show_default=False)] = None,
    skip_bad: SkipBad = False,
    text: TextColumn = None,
    table: Tables = False,
    kind: Kinds = None,
    missing: MissingValues = None,
    unseen: UnseenCategories = None,
    where: Where = None,
    leave_out: LeaveOut = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Same seed, same study.", min=0)] = 0,
    language: PageLanguage = "en",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find settings with which a model does best on rows that it has not learnt.

    What is searched is recognised from the data and printed first. The best run lies in STUDY/best, a page in
    STUDY/results.html. A study that was killed or interrupted goes on with the same command; finished trials stay.

    --for detect with --labels of two classes takes the rarer one for odd, and does not learn from it.
    """
    from latentkit.report.language import check_language

    printer, wanted = Printer(as_json=as_json, quiet=quiet), check_language("--language", language)
    known = setting_names(model)
    given = add_table_settings(
        parse_settings(settings or [], known), known, model, table_settings(kind, missing, unseen)
    )
    reading = Reading(
        labels=labels,
        array=array,
        size=parse_size(size),
        color="auto" if color is None else color.value,
        skip_bad=skip_bad,
        tables="always" if table or {"kinds", "na_values", "unseen"} & given.keys() else None,
        where=tuple(where or ()),
        leave_out=parse_columns("--leave-out", leave_out or ()),
        text=text,
    )
    read_where(reading.where)  # what cannot be read is told before anything else is
    if data == "-" and workers > 1:
        raise InvalidParameterError("standard input can be read by one process. Give a file, or leave --workers out.")
    order = Order(
        data=data,
        folder=str(output),
        goal=goal.value,
        model=model,
        trials=trials,
        time=time,
        search=parse_search(search or ()),
        only=only,
        sampler=sampler.value,
        pruner=pruner.value,
        test=test,
        seed=seed,
        workers=workers,
        settings=given,
        reading=reading,
    )
    dataset = read_to_learn(data, reading, printer)
    ready = _prepared(order, dataset, printer)
    for note in dataset.notes:
        printer.note(note)
    _tell_space(ready, printer)
    with _beside(order):
        try:
            ready.run(time)
        except KeyboardInterrupt:
            printer.note(f"finished trials are in {output}; go on with the same command")
            raise
        finally:
            study = _written(ready, dataset, wanted)
    _tell(study, dataset, printer, order)


def _prepared(order: Order, dataset: Dataset, printer: Printer) -> Search:
    from latentkit.estimators.registry import estimators
    from latentkit.search import prepare

    with naming(dataset):
        return prepare(
            estimators[order.model](**order.settings),
            dataset,
            _odd(dataset, printer) if order.goal == Goal.detect.value else None,
            goal=order.goal,  # type: ignore[arg-type]  # the words of the options are those of the goals
            trials=order.trials,
            time=order.time,
            search=order.search,
            only=order.only,
            sampler=order.sampler,  # type: ignore[arg-type]
            pruner=order.pruner,  # type: ignore[arg-type]
            test_fraction=order.test,
            folder=order.folder,
            random_state=order.seed,
            n_processes=order.workers,
            tell=printer.note,
        )


def _odd(dataset: Dataset, printer: Printer) -> Any:
    """Which rows are odd: those of the rarer of two classes; None without labels."""
    import numpy as np

    if dataset.labels is None or not dataset.reading.get("labels"):
        return None
    codes, counts = np.unique(dataset.labels, return_counts=True)
    if len(codes) != 2:
        raise InvalidParameterError(
            f"--for detect takes labels of two classes, the rarer of which is odd; these have {len(codes)}. Leave "
            "--labels out to judge by rows put together from two."
        )
    rare = int(codes[counts.argmin()])
    name = str(rare) if dataset.label_names is None else dataset.label_names[rare]
    printer.note(f"odd rows: the {counts.min():,} labelled {name}")
    return np.asarray(dataset.labels == rare)


@contextmanager
def _beside(order: Order) -> Iterator[None]:
    """Other processes at work on the study inside the block; they end with it."""
    import multiprocessing

    if order.workers == 1:
        yield
        return
    import torch

    threads = max(1, (os.cpu_count() or 1) // order.workers)
    torch.set_num_threads(threads)
    start = multiprocessing.get_context("spawn")
    others = [start.Process(target=_work, args=(order, threads), daemon=True) for _ in range(order.workers - 1)]
    for process in others:
        process.start()
    try:
        yield
        for process in others:
            process.join()
    finally:
        for process in others:
            process.terminate()


def _work(order: Order, threads: int) -> None:
    """What another process does."""
    import torch

    torch.set_num_threads(threads)
    printer = Printer(quiet=True)
    _prepared(order, read_to_learn(order.data, order.reading, printer), printer).run(order.time)


def _written(ready: Search, dataset: Dataset, language: Language) -> Study:
    """Write the table and the page of a study."""
    from latentkit.report import write_study

    study = ready.result()
    assert study.folder is not None, "commands keep studies in folders"
    family = type(ready.estimator).__name__
    page = study.folder / "results.html"
    write_study(study, page, source=dataset.source, family=family, language=language)
    return study


def _tell_space(ready: Search, printer: Printer) -> None:
    """Print what is searched."""
    if printer.quiet:
        return
    epochs, seconds = ready.budget["max_epochs"], ready.budget["max_time"]
    limit = "" if seconds is None else f" or {seconds:g} s"
    n_test = len(ready.test_rows)
    printer.line(f"{type(ready.judge).figure}, by {ready.sampler}; a trial takes {epochs} epochs{limit} at most")
    printer.line(
        f"{ready.dataset.n - len(ready.validation_rows):,} rows to learn from, {len(ready.validation_rows):,} to judge "
        f"by, {n_test:,} that nothing looks at"
    )
    rows = [(name, str(ready.start.get(name, "-")), str(dimension)) for name, dimension in ready.space.items()]
    printer.line()
    printer.pairs([(name, f"{searched}  (first {start})") for name, start, searched in rows])
    printer.line()


def _tell(study: Study, dataset: Dataset, printer: Printer, order: Order) -> None:
    """Print what came of a study, and what to do with it."""
    counts = {state: study.count(state) for state in ("complete", "pruned", "failed", "running")}
    best = study.best_trial_
    ends = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    printer.line(f"{len(study.trials_)} trials: {ends}", style="bold")
    folder = study.folder
    assert folder is not None, "commands keep studies in folders"
    page = folder / "results.html"
    document = {
        "study": folder,
        "goal": study.goal,
        "figure": study.figure,
        "unit": study.unit,
        "direction": study.direction,
        "trials": {"all": len(study.trials_), **counts},
        "best": None,
        "results": page,
    }
    if best is None:
        printer.pairs([("best", "none yet: no trial was completed"), ("results", str(page))])
        printer.document(document)
        return
    figure = f"{best.value:.5g} {study.unit}".rstrip()
    words = ", ".join(f"{name}={in_words(value)}" for name, value in study.best_params_.items())
    rows = [
        ("best", f"{study.figure} {figure}, trial {best.number}"),
        ("how", best.how),
        ("settings", words),
        ("run", str(folder / "best")),
        ("results", str(page)),
    ]
    printer.pairs(rows)
    ending = {"images": "png", "text": "txt"}.get(dataset.kind, "csv")
    kept = {name: value for name, value in order.settings.items() if name not in ("max_epochs", "max_time")}
    settings = {**kept, **study.best_params_}
    chosen = as_options(settings)
    family = "" if order.model == "vae" else f" --model {order.model}"
    source = dataset.reading.get("source", "DATA")
    printer.commands(
        "next",
        [
            f"latentkit evaluate {folder / 'best'} {source}",  # which judges by the test rows
            f"latentkit sample {folder / 'best'} -n 64 -o samples.{ending}",
            f"latentkit fit {source} -o run{family} --time 10m {chosen}",
        ],
    )
    printer.document(
        {
            **document,
            "best": {
                "trial": best.number,
                "value": best.value,
                "standard_error": best.standard_error,
                "how": best.how,
                "settings": dict(study.best_params_),
                "run": folder / "best",
            },
            "importances": dict(study.importances_),
        }
    )
