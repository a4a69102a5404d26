"""``latentkit edit``: more or less of an attribute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentkit.cli.application import EXPLORE, command
from latentkit.cli.opening import open_run
from latentkit.cli.options import ArrayName, Data, Json, Labels, OptionalOutput, Pictures, Run, SkipBad
from latentkit.cli.outputs import STDOUT, check_output, choose_output, is_picture, pictures, write_blocks, write_data
from latentkit.cli.printing import Printer
from latentkit.cli.reading import as_examples, choose_rows, parse_rows
from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion

if TYPE_CHECKING:
    from latentkit.data import Dataset

__all__ = ["edit", "has_attribute"]


@command(
    "edit",
    "latentkit edit run faces/ --attribute smiling -o smiling.png",
    "latentkit edit run digits --attribute 3 --strength 2 --rows 0-15 -o threes.png",
    "latentkit edit run 'oil prices fall' --attribute Sports",
    panel=EXPLORE,
)
def edit(
    run: Run,
    data: Data,
    attribute: Annotated[
        str,
        typer.Option(
            "--attribute",
            "-a",
            metavar="LABEL",
            help="A label in DATA; its direction is learnt from that label against the rest.",
            show_default=False,
        ),
    ],
    output: OptionalOutput = None,
    strength: Annotated[
        float, typer.Option("--strength", metavar="S", help="How far to go; negative takes the attribute away.")
    ] = 2.0,
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows", metavar="ROWS", help="Examples to edit: 0,4,7 or 2-9. [default: all]", show_default=False
        ),
    ] = None,
    n: Pictures = 16,
    labels: Labels = None,
    array: ArrayName = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Give data more of an attribute, or less.

    A .png shows originals above what became of them. Of texts without labels, such as one in place of DATA, the
    attribute is learnt from the data of the fit.
    """
    opened = open_run(run)
    output = choose_output(output, opened.schema)
    check_output(output, schema=opened.schema)
    printer = Printer(as_json=as_json, to_stderr=output == STDOUT)
    dataset = opened.read(data, printer, labels=labels, array=array, skip_bad=skip_bad)
    labelled = dataset
    if dataset.labels is None and opened.schema.kind == "text" and opened.source is not None:
        labelled = opened.read(opened.source, printer, as_fitted=True)
    direction = opened.estimator.attribute_direction(labelled, has_attribute(labelled, attribute))
    examples = as_examples(dataset, opened.schema)
    chosen = examples if rows is None else choose_rows(examples, parse_rows("--rows", rows, len(examples)))
    if is_picture(output):
        chosen = chosen[:n]
    edited = opened.estimator.edit(chosen, direction, strength=strength)
    if is_picture(output):
        files = write_blocks([pictures(chosen, opened.schema), pictures(edited, opened.schema)], output)
    else:
        files = write_data(edited, output, opened.schema)
    printer.written(f"{len(chosen)} examples with {'more' if strength >= 0 else 'less'} of {attribute!r}", files)
    printer.document({"attribute": attribute, "strength": strength, "n": len(chosen), "files": files})


def has_attribute(dataset: Dataset, attribute: str) -> Any:
    """Return for each example whether it has a label.

    Raises:
        InvalidParameterError: If there are no labels, or not this one.
    """
    if dataset.labels is None:
        raise InvalidParameterError(
            f"{dataset.source} has no labels to learn {attribute!r} from. Name them: --labels L (a column, a member or "
            "a file)."
        )
    codes = dataset.labels
    names = dataset.label_names or tuple(str(code) for code in range(int(codes.max()) + 1))
    present = [name for code, name in enumerate(names) if (codes == code).any()]
    if attribute not in present:
        raise InvalidParameterError(
            f"--attribute must be one of: {', '.join(present)}; got {attribute!r}.{suggestion(attribute, present)}"
        )
    return codes == names.index(attribute)
