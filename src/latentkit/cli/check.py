"""``latentkit check``: what was recognised; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentkit.cli.application import START, command
from latentkit.cli.columns import table_settings
from latentkit.cli.options import (
    ArrayName,
    BadText,
    BadTexts,
    Color,
    Data,
    Json,
    Kinds,
    Labels,
    MissingValues,
    SkipBad,
    Tables,
    TextColumn,
)
from latentkit.cli.printing import Printer
from latentkit.cli.reading import Reading, parse_size, read_to_learn

if TYPE_CHECKING:
    from latentkit.data import ArraySchema, Dataset, TableSchema, TextSchema

__all__ = ["check", "chosen_model"]


@command(
    "check",
    "latentkit check photos/",
    "latentkit check table.csv --labels species",
    "latentkit check people.csv --kind size=S,M,L --missing -999",
    "latentkit check mnist.npz --array x_test --json",
    panel=START,
)
def check(
    data: Data,
    labels: Labels = None,
    array: ArrayName = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="64", help="Side of images, or 48x64: height x width.")
    ] = None,
    color: Annotated[Color, typer.Option("--color", help="How images are read.")] = Color.auto,
    skip_bad: SkipBad = False,
    text: TextColumn = None,
    bad_text: BadTexts = BadText.refuse,
    table: Tables = False,
    kind: Kinds = None,
    missing: MissingValues = None,
    as_json: Json = False,
) -> None:
    """Say what the data are, and what a fit would choose; train nothing."""
    printer = Printer(as_json=as_json)
    asked = table_settings(kind, missing)
    reading = Reading(
        labels=labels,
        array=array,
        size=parse_size(size),
        color=color.value,
        skip_bad=skip_bad,
        tables="always" if table or asked else None,
        text=text,
        bad_text=bad_text.value,
    )
    dataset = read_to_learn(data, reading, printer)
    from latentkit.data import ArraySchema, TableSchema, learn_schema, learn_text_schema

    schema: ArraySchema | TableSchema | TextSchema
    schema = learn_text_schema(dataset) if dataset.kind == "text" else learn_schema(dataset, **asked)
    summary = [*schema.summary(), *_labels_summary(dataset), *(("note", note) for note in dataset.notes)]
    chosen = chosen_model(schema, dataset.n)
    suggested = _suggestion(
        data, labels, array, size, color.value, text, bad_text.value, skip_bad, table, kind, missing
    )
    printer.line(f"{dataset.source}", style="bold")
    printer.pairs(summary)
    printer.line()
    printer.line("a fit would choose", style="bold")
    printer.pairs([(name.replace("_", " "), str(value)) for name, value in chosen.items()])
    printer.commands("next", [suggested])
    printer.document(
        {
            "source": dataset.source,
            "examples": dataset.n,
            "kind": schema.kind,
            "event_shape": schema.event_shape,
            "values": schema.values if isinstance(schema, ArraySchema) else None,
            "columns": _columns(schema) if isinstance(schema, TableSchema) else None,
            "labels": dataset.label_names,
            "summary": [list(pair) for pair in summary],
            "warnings": [text for _, text in summary if text.startswith("warning")],
            "auto": chosen,
            "suggested": suggested,
        }
    )


def _columns(schema: TableSchema) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "kind": column.kind,
            "reason": column.reason,
            "missing": column.missing.share,
            "codes": list(column.sizes),
        }
        for column in schema.columns
    ]


def chosen_model(schema: Any, n: int) -> dict[str, Any]:
    """What ``"auto"`` means for these data: sizes, networks, likelihood."""
    from latentkit.estimators import VAE
    from latentkit.estimators.resolving import default_batch_size

    vae = VAE()
    vae.schema_ = schema
    specification = vae._specify(n, 0)  # noqa: SLF001 (of our own)
    n_parameters = sum(parameter.numel() for parameter in specification.build().parameters())
    network = specification.encoder
    sizes = network.get("channels") or network.get("widths") or ()
    return {
        "latent_dim": specification.latent_dim,
        "networks": f"{network['network']} {'-'.join(map(str, sizes))}".strip(),
        "likelihood": specification.likelihood,
        "parameters": n_parameters,
        "batch_size": default_batch_size(n, schema.event_shape),
    }


def _labels_summary(dataset: Dataset) -> list[tuple[str, str]]:
    if dataset.labels is None:
        return [("labels", "none; --labels names a column, a member or a file")]
    import numpy as np

    codes, counts = np.unique(dataset.labels, return_counts=True)
    names = dataset.label_names or tuple(str(code) for code in range(int(codes.max()) + 1))
    shown = ", ".join(f"{names[code]} ({count})" for code, count in zip(codes[:12], counts[:12], strict=True))
    return [("labels", f"{len(codes)} classes: {shown}{', ...' if len(codes) > 12 else ''}")]


def _suggestion(
    data: str,
    labels: str | None,
    array: str | None,
    size: str | None,
    color: str,
    text: str | None,
    bad_text: str,
    skip_bad: bool,
    table: bool,
    kinds: Sequence[str] | None,
    missing: Sequence[str] | None,
) -> str:
    import shlex

    words = ["latentkit", "fit", data, "-o", "run"]
    for option, value in (("--labels", labels), ("--array", array), ("--size", size), ("--text", text)):
        words += [] if value is None else [option, value]
    words += [] if color == "auto" else ["--color", color]
    words += [] if bad_text == "refuse" else ["--bad-text", bad_text]
    words += ["--skip-bad"] * skip_bad + ["--table"] * table
    for option, texts in (("--kind", kinds), ("--missing", missing)):
        words += [word for text in texts or () for word in (option, text)]
    return shlex.join(words)
