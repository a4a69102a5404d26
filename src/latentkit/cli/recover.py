"""``latentkit recover``: fill in what is missing, or take noise away."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from latentkit.cli.application import command
from latentkit.cli.opening import OpenedRun, open_run
from latentkit.cli.options import ArrayName, Data, Json, Labels, Output, Pictures, Run, SkipBad
from latentkit.cli.outputs import STDOUT, check_output, is_picture, pictures, write_blocks, write_data
from latentkit.cli.printing import Printer
from latentkit.cli.reading import as_array
from latentkit.core.errors import InvalidParameterError

__all__ = ["Result", "observed_mask", "recover", "write_recovery"]

#: Completions that a picture shows.
SHOWN_DRAWS = 4


class Result(StrEnum):
    """What of the completions is written."""

    mean = "mean"
    draws = "draws"


@command(
    "recover",
    "latentkit recover run table.csv -o filled.csv",
    "latentkit recover run photos/ --mask mask.png -o inpainted.png",
    "latentkit recover run noisy.npy -o denoised.npy",
)
def recover(
    run: Run,
    data: Data,
    output: Output,
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
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="Steps of the chain per draw.", min=1)] = 50,
    result: Annotated[
        Result, typer.Option("--result", help="Mean of the completions, or all of them (.npy: draws first).")
    ] = Result.mean,
    n: Pictures = 16,
    labels: Labels = None,
    array: ArrayName = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Fill in what is missing, given what is there; or take noise away.

    Empty cells of tables count as missing; with nothing missing, noise is taken away. A .png shows the damaged images,
    the mean of their completions and some of these.
    """
    opened = open_run(run)
    check_output(output, schema=opened.schema)
    if result is Result.draws and not (is_picture(output) or output.endswith(".npy")):
        raise InvalidParameterError("--result draws goes into a .npy (draws first) or a .png; the mean goes anywhere.")
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
    dataset = opened.read(data, printer, labels=labels, array=array, skip_bad=skip_bad)
    examples = as_array(dataset, opened.schema)
    observed = None if mask is None else observed_mask(opened.schema, mask, len(examples))
    if is_picture(output):
        examples, observed = examples[:n], None if observed is None else observed[:n]
        files, _ = write_recovery(opened, examples, observed, output, n_draws=draws, n_steps=steps)
        printer.written(f"{len(examples)} damaged images above their completions", files)
    else:
        filled = opened.estimator.recover(examples, observed, n_draws=draws, n_steps=steps, result=result.value)
        files = write_data(_stacked(filled) if result is Result.draws else filled, output, opened.schema)
        printer.written(f"{len(examples)} recovered examples", files)
    printer.document({"n": len(examples), "draws": draws, "masked": mask is not None, "files": files})


def observed_mask(schema: Any, mask: str, n: int) -> Any:
    """Return a mask file as booleans in the shape of n examples of the user's data, True where observed."""
    import numpy as np

    events = schema.encode_mask(mask).numpy()
    if len(events) not in (1, n):
        raise InvalidParameterError(f"--mask {mask} holds {len(events)} masks; one, or one for each of {n} is needed.")
    observed = schema.layout.from_event(events)
    return np.broadcast_to(observed, (n, *observed.shape[1:])).copy()


def write_recovery(
    opened: OpenedRun, examples: Any, observed: Any, output: str, *, n_draws: int | None, n_steps: int = 50
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
