"""Writing the report of a fitted estimator."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from sklearn.utils.validation import check_is_fitted

from latentkit import __version__
from latentkit.core.files import write_bytes, write_text
from latentkit.data import Dataset
from latentkit.estimators.describing import with_article
from latentkit.estimators.detector import AnomalyDetector
from latentkit.estimators.generating import GenerativeTasks
from latentkit.report import codes, detection, fitting, images, latent, meaning, mixed, tables, texts
from latentkit.report.language import Language, in_language, say
from latentkit.report.page import Method, Page, Section, Table, render
from latentkit.report.pictures import Picture
from latentkit.report.style import draw_png
from latentkit.report.subject import Subject
from latentkit.report.wording import count

__all__ = ["write_report"]


def write_report(
    estimator: GenerativeTasks,
    path: str | os.PathLike[str],
    *,
    data: Dataset | None = None,
    plots: str | os.PathLike[str] | None = None,
    detector: AnomalyDetector | None = None,
    language: Language = "en",
    sections: Sequence[Section] = (),
) -> Path:
    """Write one page that shows what a model learnt, and how well.

    The page is whole in itself: it holds its pictures and style, asks nothing of the network and runs no script. At
    most 2000 rows of the data are looked at, the same ones each time; equal estimators and data give equal pages.

    Args:
        estimator: A fitted estimator.
        path: Where to write the page, such as ``run/report.html``.
        data: Data like those of fit, for the parts that compare the model with data; without them these parts say how
            to get them.
        plots: Folder that receives each picture as a PNG as well; None for none.
        detector: Detector of odd rows that was fitted on the same data, for a part on these; None for none.
        language: ``"en"`` or ``"zh"``. Names and texts of the data stay as they are.
        sections: Further parts, shown before the configuration, such as a diagnosis.

    Returns:
        The path of the page.

    Raises:
        SchemaMismatchError: If the data are not like those that the estimator was fitted on.
        InvalidParameterError: If there is no such language.
        DataError: If the data are none that the estimator takes, such as NaN or infinity in rows.
        StorageError: If a file cannot be written; a page that was there before is intact.

    Example:
        >>> from latentkit import VAE
        >>> from latentkit.data import read
        >>> digits = read("digits")
        >>> vae = VAE(max_epochs=5).fit(digits.data, digits.labels)  # doctest: +SKIP
        >>> write_report(vae, "report.html", data=digits)  # doctest: +SKIP
        PosixPath('report.html')
    """
    check_is_fitted(estimator)
    target = Path(path)
    with in_language(language):
        page = _page(Subject(estimator, data, detector=detector), sections)
        write_text(target, render(page))
    if plots is not None:
        for section in page.sections:
            for chart in section.charts:
                content = chart.art.png if isinstance(chart.art, Picture) else draw_png(chart.art)
                write_bytes(Path(plots) / f"{chart.name}.png", content)
    return target


def _page(subject: Subject, more: Sequence[Section]) -> Page:
    of_all: dict[str, Callable[[Subject], Section]] = {
        "training": fitting.training,
        "dimensions": latent.dimensions,
        "meaning": meaning.meaning,
        "codes": codes.codebook,
        "map": latent.space,
        "odd": detection.odd_rows,
        "configuration": fitting.configuration,
    }
    of_kind = {"images": images.parts, "table": mixed.parts, "text": texts.parts}.get(subject.schema.kind, tables.parts)
    known = {**of_all, **of_kind()}
    *own, configuration = [known[key](subject) for key in _order(subject)]
    sections = [*own, *more, configuration]
    name = type(subject.estimator).__name__
    title = say("What this {name} learnt", name=name)
    if subject.sample is not None and subject.sample.source not in ("", "memory"):
        title = say(
            "What {a_name} learnt from {source}",
            a_name=with_article(name),
            name=name,
            source=_last_part(subject.sample.source),
        )
    return Page(
        title=title,
        summary=fitting.summary(subject),
        tiles=fitting.tiles(subject),
        sections=[*sections, _methods(subject, sections)],
        version=__version__,
        notes=_notes(subject),
    )


def _order(subject: Subject) -> tuple[str, ...]:
    """Keys of the parts that apply to such a model, in their order."""
    if not subject.has_encoder:
        classes = ("classes",) if subject.groups else ()
        return ("training", "samples", *classes, "walks", "neighbours", "configuration")
    odd = () if subject.detector is None else ("odd",)
    if subject.is_table:
        return (
            "training",
            "columns",
            "samples",
            "synthetic",
            "dimensions",
            "meaning",
            "map",
            "cells",
            *odd,
            "configuration",
        )
    if subject.is_text:
        shown = (
            "texts",
            "samples",
            "classes",
            "reconstructions",
            "interpolations",
            "traversals",
            "dimensions",
            "meaning",
            "map",
        )
        return ("training", *shown, "figures", "quality", "unlikely", *odd, "configuration")
    about = ("codes",) if subject.is_discrete else ("dimensions",)
    along = () if subject.is_discrete else ("traversals", "meaning")
    shown = ("samples", "classes", "reconstructions", *along, "interpolations", "map", "unlikely", *odd)
    return ("training", *about, *shown, "configuration")


def _last_part(source: str) -> str:
    return source.rstrip("/").rsplit("/", 1)[-1] or source


def _notes(subject: Subject) -> list[str]:
    sample = subject.sample
    if sample is None:
        more = (
            say("scores, reconstructions and maps")
            if subject.has_encoder
            else say("the examples nearest to its samples")
        )
        more = say("scores, maps and a comparison with new rows") if subject.is_table else more
        return [say("This report was made without data. For {more}: latentkit report RUN DATA", more=more)]
    if not subject.has_encoder:
        return [
            say(
                "Compared with {rows} from {source}.",
                rows=count(sample.n_total, "row"),
                source=_last_part(sample.source),
            )
        ]
    return [
        say(
            "Figures on data: {rows}{share}, from {source}. Where these are the {nouns} of training, the figures "
            "flatter the model.",
            rows=count(sample.n, subject.noun),
            share=say(" of {n_total:,}, drawn with the run's seed", n_total=sample.n_total)
            if sample.n < sample.n_total
            else say(", all there are"),
            source=_last_part(sample.source),
            nouns=subject.nouns,
        )
    ]


def _methods(subject: Subject, sections: Sequence[Section]) -> Section:
    """How each figure was computed: one entry per part."""
    rows: list[Method] = []
    if subject.sample is not None and subject.has_encoder:
        rows.append(_score(subject))
        # what texts are measured by stands in their own part
        if not subject.is_text and (fitting.is_mass(subject) or fitting.grid_step(subject) is not None):
            grid = say(" The density is turned into a probability by the step of the grid.")
            how = "" if fitting.is_mass(subject) else grid
            one, many = (
                (say("column"), say("columns that were learnt"))
                if subject.is_table
                else (say("dimension"), say("features"))
            )
            rows.append(
                Method(
                    say("Bits per {one}", one=one),
                    say("That figure divided by the number of {many} and by −log 2.{how}", many=many, how=how),
                )
            )
    rows += [entry for section in sections for entry in section.method]
    return Section(
        key="methods",
        heading=say("How each figure was computed"),
        short=say("Methods"),
        blocks=[Table(rows=rows)],
    )


def _score(subject: Subject) -> Method:
    """How rows were scored."""
    places, n_importance = subject.scored
    units = say("probabilities") if fitting.is_mass(subject) else say("densities in model units")
    units = (
        say("probabilities of categories, of frequent values, and of the bins of numbers")
        if subject.is_table
        else units
    )
    places_of = say("tokens, the end included") if subject.is_text else say("features")
    over = say(
        "Mean over {rows}, summed over the {places_of}, in nats; {units}.",
        rows=count(len(places), subject.noun),
        places_of=places_of,
        units=units,
    )
    if subject.is_deterministic:
        return Method(
            say("log p(x given z)"),
            say(
                "For each row, the log-likelihood of the row itself under what the decoder gives for its "
                "code. It is no bound on log p(x): what the code costs is left out. {over}",
                over=over,
            ),
        )
    if subject.is_discrete:
        return Method(
            say("Bound on log p(x)"),
            say(
                "For each row, log p(c) + log p(x given c) with its own codes c and the prior over codes: a "
                "lower bound, as other codes are left out, exact and without draws. {over}",
                over=over,
            ),
        )
    return Method(
        say("Bound on log p(x)"),
        say(
            "For each {noun}, log of the mean of p(x, z) / q(z given x) over K = {n_importance} draws of "
            "z from the encoder's posterior (Burda et al., 2016): on average a lower bound that tightens "
            "as K grows. {over} K and the number of {nouns} follow from the cost of decoding. The "
            "effective sample size (Kish) says how many of the K draws count: near 1 the bound is loose.",
            noun=say(subject.noun),
            n_importance=n_importance,
            over=over,
            nouns=subject.nouns,
        ),
    )
