"""One page that shows models side by side: the same figures on the same rows, and which differences count."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentkit import __version__
from latentkit.core.files import write_text
from latentkit.estimators.describing import with_article
from latentkit.evaluation import ComparedPair, Comparison, Evaluation, Figure
from latentkit.evaluation.evaluation import GROUPS
from latentkit.report.intervals import Interval, intervals
from latentkit.report.page import Block, Chart, Method, Note, Page, Panels, Section, Strip, Strips, Table, Tile, render
from latentkit.report.pictures import grid
from latentkit.report.wording import count, duration, number

__all__ = ["p_in_words", "write_comparison"]

#: New images of each model, and new rows or texts, that are shown.
MOST_IMAGES, MOST_TEXTS = 12, 4
#: Images with more numbers are fewer.
LARGE = 6000


def write_comparison(
    comparison: Comparison, path: str | os.PathLike[str], *, models: Mapping[str, Any] | None = None, source: str = ""
) -> Path:
    """Write one page that shows models side by side; it is whole in itself, as :func:`write_report`'s is.

    Args:
        comparison: What :func:`~latentkit.estimators.compare_models` found.
        path: Where to write the page, such as ``compare.html``.
        models: The models by name, for pictures of what each draws; None for none.
        source: Where the rows came from.

    Returns:
        The path of the page.

    Raises:
        StorageError: If the file cannot be written; a page that was there before is intact.
    """
    target = Path(path)
    write_text(target, render(_page(comparison, {} if models is None else models, source)))
    return target


def _page(comparison: Comparison, models: Mapping[str, Any], source: str) -> Page:
    names, first = comparison.names, next(iter(comparison.evaluations.values()))
    things = {"images": "image", "text": "text"}.get(first.kind, "row")
    sections = [
        *_likelihood(comparison, things),
        *_new(comparison, models),
        *(_charts(comparison, group) for group in GROUPS if group != "likelihood" and _of_group(comparison, group)),
        _all_figures(comparison),
        *_lacking(comparison),
        _methods(comparison),
    ]
    of = f" of {source.rstrip('/').rsplit('/', 1)[-1]}" if source else ""
    scored = "" if first.rows is None or len(first.rows) == first.n else f", {len(first.rows):,} of which were scored"
    return Page(
        title=" and ".join(names) if len(names) == 2 else f"{len(names)} models side by side",
        summary=f"The same {count(first.n, things)}{of} went through {len(names)} models{scored}. A difference counts "
        "where intervals, or tests on pairs of rows, say that it is no chance.",
        tiles=[_tile(comparison, name, evaluation) for name, evaluation in comparison.evaluations.items()],
        sections=sections,
        version=__version__,
        notes=[f"{name} is left out: {why}" for name, why in comparison.left_out.items()],
    )


def _tile(comparison: Comparison, name: str, evaluation: Evaluation) -> Tile:
    """Headline figure of a model: its likelihood, else its first figure."""
    if not evaluation.figures:
        return Tile(value="–", label=name, detail=f"{with_article(evaluation.model)}; no figure can be had")
    figure = evaluation.figures[0]
    ahead = ", ahead of all others" if comparison.best(figure.name) == name else ""
    return Tile(
        value=f"{_value(figure)} {figure.unit}".strip(),
        label=name,
        detail=f"{figure.name}{ahead}; {evaluation.model}; measured in {duration(evaluation.seconds)}",
    )


def _value(figure: Figure) -> str:
    return f"{ {'neither': '', 'lower': '≥ ', 'upper': '≤ '}[figure.bound] }{number(figure.value)}"


def _of_group(comparison: Comparison, group: str) -> dict[str, dict[str, Figure]]:
    """Figures of a group by name, of each the models that have it."""
    return {name: found for name, found in comparison.figures.items() if next(iter(found.values())).group == group}


def _chart(comparison: Comparison, name: str, found: Mapping[str, Figure], place: int) -> Chart:
    """One figure of all models."""
    some = next(iter(found.values()))
    best = comparison.best(name)
    rows = [
        Interval(
            name=model,
            value=figure.value,
            low=figure.value if figure.interval is None else figure.interval[0],
            high=figure.value if figure.interval is None else figure.interval[1],
            stands_out=model == best,
        )
        for model, figure in found.items()
    ]
    floors = {figure.floor for figure in found.values() if figure.floor is not None}
    reference = next(iter(floors)) if len(floors) == 1 else None
    better = {"neither": "", "nearer to the floor": "Nearer to the floor is better."}.get(
        some.better, f"{some.better.capitalize()} is better."
    )
    floor = "" if reference is None else f" Floor, {number(reference)}: {some.floor_of}."
    values = "; ".join(f"{row.name} {number(row.value)}" for row in rows)
    return Chart(
        name=f"figure-{place}",
        art=intervals(rows, unit=some.unit, reference=reference, reference_name="floor" if floors else ""),
        heading=name,
        caption=f"{better}{floor}".strip(),
        alternative=f"{name} of each model: {values}.",
    )


def _charts(comparison: Comparison, group: str) -> Section:
    leads = {
        "reconstructions": "What comes back from the way through the latent code.",
        "latents": "More is not better here, and not worse: where it is near nothing, the latent space is not used.",
        "samples": "New data beside held-out rows. The floor is what rows of training would get in their place.",
        "copies": "A model that repeats its training data has the best samples and has learnt nothing else.",
    }
    figures = _of_group(comparison, group)
    start = list(comparison.figures).index(next(iter(figures)))
    return Section(
        key=group,
        heading=GROUPS[group],
        lead=leads[group],
        short=group.capitalize(),
        blocks=[
            Panels(
                charts=[_chart(comparison, name, found, start + at) for at, (name, found) in enumerate(figures.items())]
            )
        ],
    )


def _likelihood(comparison: Comparison, things: str) -> list[Section]:
    figures = _of_group(comparison, "likelihood")
    if not figures:
        return []
    blocks: list[Block] = [
        Panels(charts=[_chart(comparison, name, found, at) for at, (name, found) in enumerate(figures.items())])
    ]
    tested = [pair for pair in comparison.pairs if pair.difference is not None]
    if tested:
        blocks.append(_pairs(tested, things))
    blocks += [
        Note(text=f"{pair.first} and {pair.second} are not compared: {pair.note}.")
        for pair in comparison.pairs
        if pair.difference is None
    ]
    blocks += [
        Note(text=f"{name}: {warning}")
        for name, evaluation in comparison.evaluations.items()
        for warning in evaluation.warnings
    ]
    return [
        Section(
            key="likelihood",
            heading=GROUPS["likelihood"],
            lead=f"Intervals of means may overlap where models differ: {things}s differ more from each other than "
            "models do on one of them. The table compares pair by pair.",
            short="Likelihood",
            blocks=blocks,
            method=[
                Method(
                    "Tests on pairs",
                    "The difference of log p(x) row by row, in the units of the data. Its mean has the p-value of the "
                    "paired t test, two-sided, made larger by Holm's correction for the number of pairs; beside it "
                    "that of Wilcoxon's signed-rank test, without correction, which heeds ranks and no single row.",
                )
            ],
        )
    ]


def _pairs(pairs: Sequence[ComparedPair], things: str) -> Table:
    rows = []
    for pair in pairs:
        found = pair.difference
        assert found is not None, "those that were tested"
        assert pair.p_value is not None, "those that were tested"
        low, high = found.interval
        ahead = pair.first if found.mean > 0 else pair.second
        verdict = f"{ahead} is ahead" if pair.p_value <= 0.05 else "no difference to be seen"
        rows.append(
            [
                f"{pair.first} − {pair.second}",
                number(found.mean),
                f"{number(low)} to {number(high)}",
                p_in_words(pair.p_value),
                p_in_words(found.wilcoxon_p_value),
                f"{100 * found.share:.0f} %",
                f"{verdict}; {pair.note}" if pair.note else verdict,
            ]
        )
    return Table(
        header=["pair", "nats", "95 % interval", "p, paired t", "p, Wilcoxon", "first ahead on", "verdict"],
        rows=rows,
        numeric=(1, 2, 3, 4, 5),
        caption=f"Difference of log p(x), {count(pairs[0].difference.n if pairs[0].difference else 0, things)}",
    )


def p_in_words(value: float) -> str:
    """A p-value as people read it.

    Example:
        >>> p_in_words(0.0312), p_in_words(1e-20), p_in_words(1.0)
        ('0.031', '< 0.0001', '1')
    """
    return "< 0.0001" if value < 1e-4 else number(value, 2)


def _new(comparison: Comparison, models: Mapping[str, Any]) -> list[Section]:
    """What each model draws, side by side."""
    strips = []
    kind = next(iter(comparison.evaluations.values())).kind
    if kind != "images":
        return []
    for place, name in enumerate(name for name in comparison.names if name in models):
        model = models[name]
        if model.specification_.is_deterministic and model.ex_post_prior_ is None:
            continue
        n = 6 if int(np.prod(model.schema_.event_shape)) > LARGE else MOST_IMAGES
        new = model.schema_.to_model(model.schema_.encode(model.sample(n, random_state=0))).to(torch.float32)
        chart = Chart(
            name=f"new-{place}",
            art=grid(np.asarray(model.schema_.pictures(new), np.uint8), columns=n),
            alternative=f"{n} new images of {name}.",
        )
        strips.append(Strip(label=name, detail=type(model).__name__, chart=chart))
    if not strips:
        return []
    return [
        Section(
            key="new",
            heading="What each of them draws",
            lead="New images, drawn as sample() draws them with seed 0. None was picked by hand.",
            short="New images",
            blocks=[Strips(strips=strips)],
        )
    ]


def _all_figures(comparison: Comparison) -> Section:
    rows = []
    for name, found in comparison.figures.items():
        some, best = next(iter(found.values())), comparison.best(name)
        cells = []
        for model in comparison.names:
            figure = found.get(model)
            text = "–" if figure is None else _value(figure)
            if figure is not None and figure.interval is not None:
                low, high = (number(end) for end in figure.interval)
                text = f"{text} ({low} to {high})"
            cells.append(f"{text} *" if model == best else text)
        floor = "" if some.floor is None else number(some.floor)
        rows.append([f"{name}, {some.unit}" if some.unit else name, *cells, floor, some.better])
    n = len(comparison.names)
    return Section(
        key="figures",
        heading="All figures",
        lead="With 95 % intervals where they are known. A star stands where a model is clear of all others: its "
        "interval overlaps none of theirs, or, for log p(x), pairs of rows tell it apart from each of them.",
        short="All figures",
        blocks=[
            Table(
                header=["figure", *comparison.names, "floor", "better is"],
                rows=rows,
                numeric=tuple(range(1, n + 2)),
            )
        ],
    )


def _lacking(comparison: Comparison) -> list[Section]:
    found: dict[tuple[str, str], list[str]] = {}
    for name, evaluation in comparison.evaluations.items():
        for lacking in evaluation.missing:
            found.setdefault((lacking.name, lacking.why), []).append(name)
    n = len(comparison.names)
    rows = [
        (name if len(models) == n else f"{name}, {', '.join(models)}", why) for (name, why), models in found.items()
    ]
    if not rows:
        return []
    return [
        Section(key="missing", heading="What cannot be had", short="Missing", blocks=[Table(rows=rows)]),
    ]


def _methods(comparison: Comparison) -> Section:
    rows = [Method(name, _how(next(iter(found.values())))) for name, found in comparison.figures.items()]
    rows += [method for section in _likelihood(comparison, "row") for method in section.method]
    return Section(
        key="methods",
        heading="How each figure was computed",
        lead="As for the first model that has it; settings and rows are the same for all.",
        short="Methods",
        blocks=[Table(rows=rows)],
    )


def _how(figure: Figure) -> str:
    parts = [figure.computed_with[:1].upper() + figure.computed_with[1:]]
    if figure.n_draws is not None and figure.effective_sample_size is not None:
        parts.append(f"K = {figure.n_draws:,}, of which {number(figure.effective_sample_size, 3)} count (Kish, median)")
    if figure.interval_by:
        parts.append(f"interval: {figure.interval_by}")
    if figure.floor_of:
        parts.append(f"floor: {figure.floor_of}")
    return "; ".join(parts) + "."
