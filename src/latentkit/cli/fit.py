"""``latentkit fit``: from data to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentkit.cli.application import START, command
from latentkit.cli.columns import add_table_settings, table_settings
from latentkit.cli.compressors import COMPRESSOR_TIME, CompressorPlan
from latentkit.cli.fitting import fit_run
from latentkit.cli.options import (
    ArrayName,
    BadText,
    BadTexts,
    Color,
    Json,
    Kinds,
    Labels,
    LeaveOut,
    MissingValues,
    Quiet,
    SkipBad,
    Tables,
    TextColumn,
    UnseenCategories,
    Where,
)
from latentkit.cli.places import choose_place, has_run
from latentkit.cli.printing import Printer
from latentkit.cli.reading import Reading, parse_size, read_to_learn
from latentkit.cli.resuming import resume_run
from latentkit.cli.settings import Preset, combine, parse_settings, setting_names, with_epsilon
from latentkit.cli.where import parse_columns, read_where
from latentkit.core.errors import InvalidParameterError

__all__ = ["fit"]


@command(
    "fit",
    "latentkit fit photos/ -o run --time 5m",
    "latentkit fit people.csv -o run --time 3m",
    "latentkit fit people.csv --kind size=S,M,L --missing -999",
    "latentkit fit people.csv -o run --epsilon 3",
    "latentkit fit traffic.csv -o run --where attack=normal",
    "latentkit fit table.csv --labels species --preset fast",
    "latentkit fit sentences.txt -o run --time 15m",
    "latentkit fit news.csv -o run --text title --labels topic",
    "latentkit fit digits -o run --set latent_dim=8 --set encoder=[500,500]",
    "latentkit fit scans/ -o run --time 5m --compressor",
    "latentkit fit photos/ -o run --time 9m --compressor --lossy",
    "latentkit fit --resume -o run",
    panel=START,
)
def fit(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="Folder of images; .npy .npz .csv .tsv .parquet .jsonl .txt or idx file; built-in (digits, wine, "
            "...); or - for standard input. Not needed with --resume.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="RUN", help="Folder of the run. [default: runs/NAME]", show_default=False
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", metavar="M", help="Family of models.")] = "vae",
    preset: Annotated[
        Preset | None,
        typer.Option(
            "--preset",
            help="Time to take: fast a minute, good five, best thirty. [default: good]",
            show_default=False,
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option("--time", metavar="5m", help="Time to take, such as 90s, 5m, 1h30m.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any setting of the model, such as beta=4 or likelihood_options.variance=feature; may be repeated. "
            "max_epochs lifts the preset's time.",
            show_default=False,
        ),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(
            "--epsilon",
            metavar="E",
            help="Train with differential privacy and spend E at most, such as 3. The weights are private, the "
            "columns' categories, bins and ranges are not; no seed repeats it.",
            show_default=False,
        ),
    ] = None,
    labels: Labels = None,
    conditional: Annotated[
        bool, typer.Option("--conditional", help="Give the labels to the model; then sample --condition LABEL.")
    ] = False,
    array: ArrayName = None,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="64", help="Side of images, or 48x64: height x width.", show_default=False),
    ] = None,
    color: Annotated[Color | None, typer.Option("--color", help="How images are read.", show_default=False)] = None,
    skip_bad: SkipBad = False,
    text: TextColumn = None,
    bad_text: BadTexts = BadText.refuse,
    table: Tables = False,
    kind: Kinds = None,
    missing: MissingValues = None,
    unseen: UnseenCategories = None,
    where: Where = None,
    leave_out: LeaveOut = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a training that was interrupted or killed.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", help="Same seed, same model. [default: 0]", show_default=False, min=0),
    ] = None,
    report: Annotated[
        bool | None,
        typer.Option(
            "--report/--no-report",
            help="Write report.html at the end; it shows real rows. [default: unless --epsilon]",
            show_default=False,
        ),
    ] = None,
    detector: Annotated[
        bool | None,
        typer.Option(
            "--detector/--no-detector",
            help="Fit what detect finds odd rows with; it keeps up to 5,000 rows. [default: unless --epsilon]",
            show_default=False,
        ),
    ] = None,
    compressor: Annotated[
        bool,
        typer.Option(
            "--compressor",
            help="Learn, in as much time again, what compress makes archives of images with.",
        ),
    ] = False,
    lossy: Annotated[
        bool,
        typer.Option("--lossy", help="Have --compressor learn to approximate images, too, for compress --quality."),
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Learn a model from data and keep it in a run folder.

    Kinds, sizes and the model are chosen from the data and printed; `latentkit check DATA` shows them without training.
    Ctrl-C saves the state; --resume goes on, to the same weights, bit for bit.
    """
    printer = Printer(as_json=as_json, quiet=quiet)
    known = setting_names(model)
    given = with_epsilon(model, parse_settings(settings or [], known), epsilon)
    given = add_table_settings(given, known, model, table_settings(kind, missing, unseen))
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
        bad_text=bad_text.value,
    )
    if lossy and not compressor:
        raise InvalidParameterError("--lossy is about archives: give --compressor, too.")
    read_where(reading.where)  # what cannot be read is told before anything else is
    if resume and run is None:
        raise InvalidParameterError("--resume needs the run to go on with: latentkit fit --resume -o RUN.")
    if resume and run is not None and (data is None or has_run(run)):
        explicit = combine(preset.value, time, given, 0) if preset is not None else dict(given)
        explicit.update({} if time is None or "max_time" in given else {"max_time": time})
        explicit.pop("random_state", None)
        if seed is not None or "random_state" in given:
            explicit["random_state"] = given.get("random_state", seed)
        resume_run(
            run,
            data,
            reading,
            explicit,
            printer,
            report=report,
            detector=detector,
            compressor=compressor,
            lossy=lossy,
        )  # conditional or not: the run says so
        return
    if data is None:
        raise InvalidParameterError("fit needs DATA: a folder of images, a file, or a built-in such as digits.")
    place = choose_place(run, data, overwrite=overwrite)
    if resume:
        printer.note(f"there is no run at {place} yet: starting one")
    chosen = combine("good" if preset is None else preset.value, time, given, seed or 0)
    dataset = read_to_learn(data, reading, printer)
    plan = None
    if compressor:
        time_to_learn, first = chosen.get("max_time") or COMPRESSOR_TIME, chosen.get("random_state", 0)
        plan = CompressorPlan(data, array, time_to_learn, first, lossy=lossy)
    fit_run(
        model,
        chosen,
        dataset,
        place,
        printer,
        conditional=conditional,
        report=report,
        detector=detector,
        compressor=plan,
    )
