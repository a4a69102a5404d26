"""``latentkit recover``: fill in what is missing, or take noise away."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentkit.cli.application import command
from latentkit.cli.opening import OpenedRun, open_run
from latentkit.cli.options import (
    ArrayName,
    Data,
    Json,
    Labels,
    OptionalOutput,
    Pictures,
    Run,
    SkipBad,
    UnseenCategories,
)
from latentkit.cli.outputs import (
    STDOUT,
    check_output,
    choose_output,
    is_picture,
    pictures,
    write_blocks,
    write_data,
    write_to_stdout,
)
from latentkit.cli.printing import Printer
from latentkit.cli.reading import as_array, naming
from latentkit.core.errors import InvalidParameterError

if TYPE_CHECKING:
    from latentkit.data import Dataset

__all__ = ["Result", "observed_mask", "recover", "write_recovery"]

#: Completions that a picture shows.
SHOWN_DRAWS = 4
#: Steps of the chain, where no number is given.
STEPS = 50
#: What stands for no table to look rows up in.
NO_REFERENCE = "none"


class Result(StrEnum):
    """What of the completions is written."""

    mean = "mean"
    draws = "draws"


@command(
    "recover",
    "latentkit recover run table.csv -o filled.csv",
    "latentkit recover run table.csv -o filled.csv --result draws --draws 5",
    "latentkit recover run new.csv -o filled.csv --reference table.csv",
    "latentkit recover run photos/ --mask mask.png -o inpainted.png",
    "latentkit recover run noisy.npy -o denoised.npy",
    "latentkit recover run 'the ___ was cold'",
)
def recover(
    run: Run,
    data: Data,
    output: OptionalOutput = None,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            metavar="MASK",
            help="What was observed: .npy of booleans, or an image whose white was observed; one for all or one each.",
            show_default=False,
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(
            "--draws",
            metavar="K",
            help="Completions of each example; deterministic autoencoders have one. [default: 20]",
            show_default=False,
            min=1,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", help="Steps of the chain per draw. [default: 50]", min=1),
    ] = None,
    result: Annotated[
        Result,
        typer.Option(
            "--result",
            help="Mean of the completions, or all (.npy: draws first; mixed tables: a file each; texts: a line each).",
        ),
    ] = Result.mean,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="TABLE",
            help="Rows among which near ones are looked up, or none. [default: those of DATA]",
            show_default=False,
        ),
    ] = None,
    n: Pictures = 16,
    labels: Labels = None,
    array: ArrayName = None,
    skip_bad: SkipBad = False,
    unseen: UnseenCategories = None,
    as_json: Json = False,
) -> None:
    """Fill in what is missing, given what is there; or take noise away.

    Empty cells of tables count as missing; with nothing missing, noise is taken away. A .png shows the damaged images,
    the mean of their completions and some of these. Of a table of mixed kinds only missing cells are written anew, each
    with its mean or most probable category; all others stay as they are, byte for byte. Rows that are near have a say,
    as far as that fills known cells better. In texts, ___ stands for lost words.
    """
    opened = open_run(run, unseen=unseen)
    output = choose_output(output, opened.schema)
    check_output(output, schema=opened.schema)
    if opened.schema.kind == "table":
        if steps is not None:
            raise InvalidParameterError(
                "--steps belongs to a chain, and cells of tables are drawn without. Leave it out."
            )
        printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
        dataset = opened.read(data, printer, labels=labels, array=array, skip_bad=skip_bad)
        rows = None
        if reference is not None and reference != NO_REFERENCE:
            if result is Result.draws:
                raise InvalidParameterError(
                    "--reference is for the mean; draws come from the model alone. Leave it out."
                )
            rows = opened.read(reference, printer, labels=labels, array=array, skip_bad=skip_bad)
        elif (
            reference is None and mask is None and result is Result.mean and opened.estimator.condition_schema_ is None
        ):
            rows = dataset
        _recover_table(opened, dataset, data, output, printer, mask=mask, n_draws=draws, result=result, reference=rows)
        return
    if opened.schema.kind == "text":
        if mask is not None or steps is not None or reference is not None:
            raise InvalidParameterError(
                "--mask, --steps and --reference are for other data; in texts ___ marks what is lost. Leave them out."
            )
        printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
        dataset = opened.read(data, printer, labels=labels, array=array, skip_bad=skip_bad)
        _recover_texts(opened, dataset, output, printer, n_draws=draws, result=result)
        return
    if reference is not None:
        raise InvalidParameterError("--reference is for tables of mixed kinds. Leave it out.")
    if result is Result.draws and not (is_picture(output) or output.endswith(".npy")):
        raise InvalidParameterError("--result draws goes into a .npy (draws first) or a .png; the mean goes anywhere.")
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
    dataset = opened.read(data, printer, labels=labels, array=array, skip_bad=skip_bad)
    examples = as_array(dataset, opened.schema)
    observed = None if mask is None else observed_mask(opened.schema, mask, len(examples))
    if is_picture(output):
        examples, observed = examples[:n], None if observed is None else observed[:n]
        files, _ = write_recovery(opened, examples, observed, output, n_draws=draws, n_steps=steps or STEPS)
        printer.written(f"{len(examples)} damaged images above their completions", files)
    else:
        filled = opened.estimator.recover(
            examples, observed, n_draws=draws, n_steps=steps or STEPS, result=result.value
        )
        files = write_data(_stacked(filled) if result is Result.draws else filled, output, opened.schema)
        printer.written(f"{len(examples)} recovered examples", files)
    printer.document({"n": len(examples), "draws": draws, "masked": mask is not None, "files": files})


def _recover_table(
    opened: OpenedRun,
    dataset: Dataset,
    source: str,
    output: str,
    printer: Printer,
    *,
    mask: str | None,
    n_draws: int | None,
    result: Result,
    reference: Dataset | None,
) -> None:
    """Fill the missing cells of a table, and those that a mask hides, and write it as it was otherwise."""
    import numpy as np

    with naming(dataset), printer.waiting(f"filling {dataset.n:,} rows"):
        holes = opened.schema.missing(dataset.data)
        observed = None if mask is None else np.load(mask, allow_pickle=False)
        filled = opened.estimator.recover(dataset, observed, n_draws=n_draws, result=result.value, reference=reference)
    if observed is not None:
        learnt = np.array([not column.is_left_out for column in opened.schema.columns])
        holes = holes | (~np.broadcast_to(np.asarray(observed, np.bool_), holes.shape) & learnt)
    n_cells, n_rows = int(holes.sum()), int(holes.any(axis=1).sum())
    if not n_cells:
        printer.note("no cell is missing: the table is written as it is")
    if result is Result.draws:
        if output == STDOUT:
            raise InvalidParameterError("--result draws makes a table for each draw. Give a file: -o filled.csv.")
        place = Path(output)
        names = [str(place.with_stem(f"{place.stem}-{number}")) for number in range(1, len(filled) + 1)]
    else:
        filled, names = [filled], [output]
    files = [
        file for part, name in zip(filled, names, strict=True) for file in _write_filled(part, source, name, opened)
    ]
    printer.written(f"{n_cells} cells filled in {n_rows} of {dataset.n} rows", files)
    printer.document(
        {
            "n": dataset.n,
            "draws": n_draws,
            "masked": mask is not None,
            "filled_cells": n_cells,
            "filled_rows": n_rows,
            "files": files,
        }
    )


def _recover_texts(
    opened: OpenedRun, dataset: Dataset, output: str, printer: Printer, *, n_draws: int | None, result: Result
) -> None:
    """Fill the gaps of texts; draws of a text stand below each other."""
    import numpy as np

    filled = opened.estimator.recover(dataset, n_draws=n_draws, result=result.value)
    if result is Result.draws:
        filled = np.stack([np.asarray(draw, dtype=object) for draw in filled], axis=1).ravel()
    files = write_data(filled, output, opened.schema)
    printer.written(f"{dataset.n} texts", files)
    printer.document({"n": dataset.n, "draws": n_draws, "files": files})


def _write_filled(filled: Any, source: str, output: str, opened: OpenedRun) -> list[Path]:
    """Write a filled table; into a copy of the file that it came from, where that is of text as well."""
    from latentkit.data import TextTable, write_filled

    original = Path(source).expanduser()
    if isinstance(filled, TextTable) and original.is_file():
        is_tabbed = filled.dialect.delimiter == "\t"
        if output == STDOUT:
            return write_to_stdout(lambda path: write_filled(original, filled, path), filled.dialect.encoding)
        if Path(output).suffix.lower() == (".tsv" if is_tabbed else ".csv"):
            write_filled(original, filled, output)
            return [Path(output)]
    return write_data(filled, output, opened.schema)


def observed_mask(schema: Any, mask: str, n: int) -> Any:
    """Return a mask file as booleans in the shape of n examples of the user's data, True where observed."""
    import numpy as np

    events = schema.encode_mask(mask).numpy()
    if len(events) not in (1, n):
        raise InvalidParameterError(f"--mask {mask} holds {len(events)} masks; one, or one for each of {n} is needed.")
    observed = schema.layout.from_event(events)
    return np.broadcast_to(observed, (n, *observed.shape[1:])).copy()


def write_recovery(
    opened: OpenedRun, examples: Any, observed: Any, output: str, *, n_draws: int | None, n_steps: int = STEPS
) -> tuple[list[Path], Any]:
    """Write damaged images, the mean of their completions and some completions under each other.

    Returns:
        The files, and the means as pictures.
    """
    import numpy as np

    schema = opened.schema
    if observed is None:
        cleaned = pictures(opened.estimator.recover(examples), schema)
        return write_blocks([pictures(examples, schema), cleaned], output), cleaned
    has_draws = not opened.estimator.specification_.is_deterministic
    completions = opened.estimator.recover(
        examples, observed, n_draws=n_draws, n_steps=n_steps, result="draws" if has_draws else "mean"
    )
    drawn = [pictures(completion, schema) for completion in (completions if has_draws else [completions])]
    originals = pictures(examples, schema)
    damaged = np.where(_like(observed, originals), originals, 127).astype(np.uint8)
    mean = np.mean(np.stack(drawn), axis=0).round().astype(np.uint8)
    return write_blocks([damaged, mean, *drawn[: SHOWN_DRAWS if has_draws else 0]], output), mean


def _like(observed: Any, images: Any) -> Any:
    """The mask in the shape of pictures, whose channels come last."""
    if observed.shape == images.shape:
        return observed
    if observed.ndim == images.ndim and observed.shape[2:] == images.shape[1:3]:
        observed = observed.transpose(0, 2, 3, 1)
        return observed if images.ndim == 4 else observed[..., 0]
    return observed.reshape(*images.shape[: observed.ndim], *(1,) * (images.ndim - observed.ndim))


def _stacked(filled: Any) -> Any:
    import numpy as np

    from latentkit.data.containers import to_array

    return np.stack([to_array(part) for part in filled])
