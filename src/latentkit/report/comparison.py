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
from latentkit.evaluation import ComparedPair, Comparison, Evaluation, Figure
from latentkit.evaluation.evaluation import GROUPS
from latentkit.report.intervals import Interval, intervals
from latentkit.report.language import Language, in_language, message, said, say, sentence
from latentkit.report.page import Block, Chart, Method, Note, Page, Panels, Section, Strip, Strips, Table, Tile, render
from latentkit.report.pictures import grid
from latentkit.report.wording import count, duration, number

__all__ = ["p_in_words", "write_comparison"]

#: New images of each model, and new rows or texts, that are shown.
MOST_IMAGES, MOST_TEXTS = 12, 4
#: Images with more numbers are fewer.
LARGE = 6000

#: The groups of figures in the contents.
_SHORT = {
    "likelihood": message("Likelihood"),
    "reconstructions": message("Reconstructions"),
    "latents": message("Latents"),
    "samples": message("Samples"),
    "copies": message("Copies"),
}
_LEADS = {
    "reconstructions": message("What comes back from the way through the latent code."),
    "latents": message(
        "More is not better here, and not worse: where it is near nothing, the latent space is not used."
    ),
    "samples": message("New data beside held-out rows. The floor is what rows of training would get in their place."),
    "copies": message("A model that repeats its training data has the best samples and has learnt nothing else."),
}
_BETTER = {
    "higher": message("Higher is better."),
    "lower": message("Lower is better."),
    "nearer to the floor": message("Nearer to the floor is better."),
}
#: Why the intervals of log p(x) do not compare models, by what examples are called.
_OVERLAP = {
    "image": message(
        "Intervals of means may overlap where models differ: images differ more from each other than models do on one "
        "of them. The table compares pair by pair."
    ),
    "row": message(
        "Intervals of means may overlap where models differ: rows differ more from each other than models do on one of "
        "them. The table compares pair by pair."
    ),
    "text": message(
        "Intervals of means may overlap where models differ: texts differ more from each other than models do on one "
        "of them. The table compares pair by pair."
    ),
}


def write_comparison(
    comparison: Comparison,
    path: str | os.PathLike[str],
    *,
    models: Mapping[str, Any] | None = None,
    source: str = "",
    language: Language = "en",
) -> Path:
    """Write one page that shows models side by side; it is whole in itself, as :func:`write_report`'s is.

    Args:
        comparison: What :func:`~latentkit.estimators.compare_models` found.
        path: Where to write the page, such as ``compare.html``.
        models: The models by name, for pictures of what each draws; None for none.
        source: Where the rows came from.
        language: ``"en"`` or ``"zh"``. Names stay as they are.

    Returns:
        The path of the page.

    Raises:
        InvalidParameterError: If there is no such language.
        StorageError: If the file cannot be written; a page that was there before is intact.
    """
    target = Path(path)
    with in_language(language):
        text = render(_page(comparison, {} if models is None else models, source))
    write_text(target, text)
    return target


def _page(comparison: Comparison, models: Mapping[str, Any], source: str) -> Page:
    names, first = comparison.names, next(iter(comparison.evaluations.values()))
    thing = {"images": "image", "text": "text"}.get(first.kind, "row")
    sections = [
        *_likelihood(comparison, thing),
        *_new(comparison, models),
        *(_charts(comparison, group) for group in GROUPS if group != "likelihood" and _of_group(comparison, group)),
        _all_figures(comparison),
        *_lacking(comparison),
    ]
    name = source.rstrip("/").rsplit("/", 1)[-1]
    things = say("{things} of {source}", things=count(first.n, thing), source=name) if name else count(first.n, thing)
    scored = ""
    if first.rows is not None and len(first.rows) < first.n:
        scored = say(", {n:,} of which were scored", n=len(first.rows))
    return Page(
        title=say("{first} and {second}", first=names[0], second=names[1])
        if len(names) == 2
        else say("{n} models side by side", n=len(names)),
        summary=say(
            "The same {things} went through {n} models{scored}. A difference counts where intervals, or tests on pairs "
            "of rows, say that it is no chance.",
            things=things,
            n=len(names),
            scored=scored,
        ),
        tiles=[_tile(comparison, name, evaluation) for name, evaluation in comparison.evaluations.items()],
        sections=[*sections, _methods(comparison, sections)],
        version=__version__,
        notes=[say("{name} is left out: {why}", name=name, why=said(why)) for name, why in comparison.left_out.items()],
        kind=message("comparison"),
        is_level=True,
    )


def _tile(comparison: Comparison, name: str, evaluation: Evaluation) -> Tile:
    """Headline figure of a model: its likelihood, else its first figure."""
    if not evaluation.figures:
        return Tile(value="–", label=name, detail=say("{model}; no figure can be had", model=evaluation.model))
    figure = evaluation.figures[0]
    is_ahead = comparison.best(figure.name) == name
    return Tile(
        value=f"{_value(figure)} {said(figure.unit)}".strip(),
        label=name,
        detail=say(
            "{figure}{ahead}; {model}; measured in {duration}",
            figure=said(figure.name),
            ahead=say(", ahead of all others") if is_ahead else "",
            model=evaluation.model,
            duration=duration(evaluation.seconds),
        ),
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
    better = say(_BETTER[some.better]) if some.better in _BETTER else ""
    floor = "" if reference is None else say(" Floor, {value}: {of}.", value=number(reference), of=said(some.floor_of))
    values = "; ".join(f"{row.name} {number(row.value)}" for row in rows)
    return Chart(
        name=f"figure-{place}",
        art=intervals(rows, unit=said(some.unit), reference=reference, reference_name=say("floor") if floors else ""),
        heading=said(name),
        caption=f"{better}{floor}".strip(),
        alternative=say("{figure} of each model: {values}.", figure=said(name), values=values),
    )


def _charts(comparison: Comparison, group: str) -> Section:
    figures = _of_group(comparison, group)
    start = list(comparison.figures).index(next(iter(figures)))
    return Section(
        key=group,
        heading=said(GROUPS[group]),
        lead=say(_LEADS[group]),
        short=say(_SHORT[group]),
        blocks=[
            Panels(
                charts=[_chart(comparison, name, found, start + at) for at, (name, found) in enumerate(figures.items())]
            )
        ],
    )


def _likelihood(comparison: Comparison, thing: str) -> list[Section]:
    figures = _of_group(comparison, "likelihood")
    if not figures:
        return []
    blocks: list[Block] = [
        Panels(charts=[_chart(comparison, name, found, at) for at, (name, found) in enumerate(figures.items())])
    ]
    tested = [pair for pair in comparison.pairs if pair.difference is not None]
    if tested:
        blocks.append(_pairs(tested, thing))
    blocks += [
        Note(
            text=say(
                "{first} and {second} are not compared: {why}.",
                first=pair.first,
                second=pair.second,
                why=said(pair.note),
            )
        )
        for pair in comparison.pairs
        if pair.difference is None
    ]
    heeded: dict[str, list[str]] = {}
    for name, evaluation in comparison.evaluations.items():
        for warning in evaluation.warnings:
            heeded.setdefault(warning, []).append(name)
    blocks += [
        Note(text=say("{name}: {warning}", name=", ".join(names), warning=said(warning)))
        for warning, names in heeded.items()
    ]
    return [
        Section(
            key="likelihood",
            heading=said(GROUPS["likelihood"]),
            lead=say(_OVERLAP[thing]) if tested else "",
            short=say(_SHORT["likelihood"]),
            blocks=blocks,
            method=[
                Method(
                    say("Tests on pairs"),
                    say(
                        "The difference of log p(x) row by row, in the units of the data. Its mean has the p-value of "
                        "the paired t test, two-sided, made larger by Holm's correction for the number of pairs; "
                        "beside it that of Wilcoxon's signed-rank test, without correction, which heeds ranks and no "
                        "single row."
                    ),
                )
            ]
            if tested
            else (),
        )
    ]


def _pairs(pairs: Sequence[ComparedPair], thing: str) -> Table:
    rows = []
    for pair in pairs:
        found = pair.difference
        assert found is not None, "those that were tested"
        assert pair.p_value is not None, "those that were tested"
        low, high = found.interval
        ahead = pair.first if found.mean > 0 else pair.second
        verdict = say("{name} is ahead", name=ahead) if pair.p_value <= 0.05 else say("no difference to be seen")
        rows.append(
            [
                f"{pair.first} − {pair.second}",
                number(found.mean),
                say("{low} to {high}", low=number(low), high=number(high)),
                p_in_words(pair.p_value),
                p_in_words(found.wilcoxon_p_value),
                f"{100 * found.share:.0f} %",
                say("{verdict}; {note}", verdict=verdict, note=said(pair.note)) if pair.note else verdict,
            ]
        )
    return Table(
        header=[
            say("pair"),
            said("nats"),
            say("95 % interval"),
            say("p, paired t"),
            say("p, Wilcoxon"),
            say("first ahead on"),
            say("verdict"),
        ],
        rows=rows,
        numeric=(1, 2, 3, 4, 5),
        caption=say(
            "Difference of log p(x), {things}", things=count(pairs[0].difference.n if pairs[0].difference else 0, thing)
        ),
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
            alternative=say("{n} new images of {name}.", n=n, name=name),
        )
        strips.append(Strip(label=name, detail=type(model).__name__, chart=chart))
    if not strips:
        return []
    return [
        Section(
            key="new",
            heading=say("What each of them draws"),
            lead=say("New images, drawn as sample() draws them with seed 0. None was picked by hand."),
            short=say("New images"),
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
                text = say("{value} ({low} to {high})", value=text, low=low, high=high)
            cells.append(f"{text} *" if model == best else text)
        floor = "" if some.floor is None else number(some.floor)
        title = say("{name}, {unit}", name=said(name), unit=said(some.unit)) if some.unit else said(name)
        rows.append([title, *cells, floor, said(some.better)])
    n = len(comparison.names)
    return Section(
        key="figures",
        heading=say("All figures"),
        lead=say(
            "With 95 % intervals where they are known. A star stands where a model is clear of all others: its "
            "interval overlaps none of theirs, or, for log p(x), pairs of rows tell it apart from each of them."
        ),
        short=say("All figures"),
        blocks=[
            Table(
                header=[say("figure"), *comparison.names, say("floor"), say("better is")],
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
        (
            said(name) if len(models) == n else say("{name}, {models}", name=said(name), models=", ".join(models)),
            sentence(said(why)),
        )
        for (name, why), models in found.items()
    ]
    if not rows:
        return []
    return [
        Section(key="missing", heading=say("What cannot be had"), short=say("Missing"), blocks=[Table(rows=rows)]),
    ]


def _methods(comparison: Comparison, sections: Sequence[Section]) -> Section:
    rows = [Method(said(name), _how(next(iter(found.values())))) for name, found in comparison.figures.items()]
    rows += [method for section in sections for method in section.method]
    return Section(
        key="methods",
        heading=say("How each figure was computed"),
        lead=say("As for the first model that has it; settings and rows are the same for all."),
        short=say("Methods"),
        blocks=[Table(rows=rows)],
    )


def _how(figure: Figure) -> str:
    parts = [said(figure.computed_with)]
    if figure.n_draws is not None and figure.effective_sample_size is not None:
        parts.append(
            say(
                "K = {n:,}, of which {effective} count (Kish, median)",
                n=figure.n_draws,
                effective=number(figure.effective_sample_size, 3),
            )
        )
    if figure.interval_by:
        parts.append(say("interval: {how}", how=said(figure.interval_by)))
    if figure.floor_of:
        parts.append(say("floor: {of}", of=said(figure.floor_of)))
    return sentence(say("; ").join(parts))
