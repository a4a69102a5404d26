"""The page of a study: what was tried, what mattered, and what was best."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from latentkit.core.files import write_text
from latentkit.core.version import __version__
from latentkit.report.charts import shorten
from latentkit.report.language import Language, in_language, is_english, message, said, say, sentence
from latentkit.report.page import Block, Chart, Method, Note, Page, Panels, Section, Table, Tile, render
from latentkit.report.style import INKS, house_style, new_axes
from latentkit.report.wording import count, duration, number, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["StudyLike", "TrialLike", "write_study"]

#: Dimensions with a chart, trials in the table, at most.
MOST_SLICES, MOST_ROWS = 12, 20
#: Categories whose names stand under an axis, at most, and how long they may be.
LONGEST_NAME = 14
#: Digits below a logarithmic axis, together, at most.
MOST_DIGITS = 18
#: How trials end, in the order in which they are counted.
_STATES = {
    "complete": message("complete"),
    "pruned": message("pruned"),
    "failed": message("failed"),
    "running": message("running"),
}


class TrialLike(Protocol):
    """What the page shows of a trial; see :class:`latentkit.search.Trial`."""

    @property
    def number(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def point(self) -> Mapping[str, Any]: ...
    @property
    def value(self) -> float | None: ...
    @property
    def how(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    @property
    def epochs(self) -> int: ...
    @property
    def curve(self) -> Mapping[float, float]: ...


class StudyLike(Protocol):
    """What the page shows of a study; see :class:`latentkit.search.Study`."""

    @property
    def goal(self) -> str: ...
    @property
    def figure(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def direction(self) -> str: ...
    @property
    def space(self) -> Mapping[str, Any]: ...
    @property
    def start(self) -> Mapping[str, Any]: ...
    @property
    def budget(self) -> Mapping[str, float | None]: ...
    @property
    def trials_(self) -> Sequence[TrialLike]: ...
    @property
    def best_trial_(self) -> TrialLike | None: ...
    @property
    def importances_(self) -> Mapping[str, float]: ...
    @property
    def validation_rows_(self) -> Sized: ...
    @property
    def test_rows_(self) -> Sized: ...


def write_study(
    study: StudyLike,
    path: str | os.PathLike[str],
    *,
    source: str = "",
    family: str = "model",
    language: Language = "en",
) -> Path:
    """Write one page that shows what a search tried, what mattered and what was best.

    Args:
        study: What came of the search.
        path: Where to write the page, such as ``study/results.html``.
        source: Where the data came from; empty for no such word.
        family: What was tuned, such as ``"VAE"``.
        language: ``"en"`` or ``"zh"``. Names stay as they are.
    Returns:
        The path of the page.
    Raises:
        InvalidParameterError: If there is no such language.
        StorageError: If it cannot be written; a page that was there before is intact.
    """
    target = Path(path)
    name = source.rstrip("/").rsplit("/", 1)[-1]
    with in_language(language):
        text = render(
            Page(
                title=say("Settings of a {family} for {name}", family=family, name=name)
                if name
                else say("Settings of a {family}", family=family),
                summary=_summary(study),
                tiles=_tiles(study),
                sections=_sections(study),
                version=__version__,
                kind=message("study"),
            )
        )
    write_text(target, text)
    return target


# Words


def _summary(study: StudyLike) -> str:
    limit = study.budget.get("max_time")
    return say(
        "Trials were judged by the {figure} on {rows}; {better}. Each had at most {epochs}{most}.{test}",
        figure=said(study.figure),
        rows=count(len(study.validation_rows_), "validation row"),
        better=say("larger is better") if study.direction == "maximize" else say("smaller is better"),
        epochs=count(int(study.budget["max_epochs"] or 0), "epoch"),
        most=say(" or {time}", time=duration(limit)) if limit else "",
        test=say(" {rows} were looked at by nothing.", rows=count(len(study.test_rows_), "test row"))
        if len(study.test_rows_)
        else "",
    )


def _tiles(study: StudyLike) -> list[Tile]:
    best, first = study.best_trial_, _default(study)
    tiles = []
    if best is not None and best.value is not None:
        tiles.append(
            Tile(
                value=_figure(study, best.value),
                label=_capital(said(study.figure)),
                detail=say("trial {n}", n=best.number),
            )
        )
        if first is not None and first.value is not None and first is not best:
            gain = abs(best.value - first.value)
            how = say("defaults: {figure}", figure=_figure(study, first.value))
            tiles.append(Tile(value=_figure(study, gain), label=say("Better than the defaults by"), detail=how))
    states = {state: sum(trial.state == state for trial in study.trials_) for state in _STATES}
    ends = say(", ").join(say("{n} {state}", n=n, state=say(_STATES[state])) for state, n in states.items() if n)
    tiles.append(Tile(value=f"{len(study.trials_):,}", label=say("Trials"), detail=ends))
    seconds = sum(trial.seconds for trial in study.trials_)
    tiles.append(Tile(value=duration(seconds), label=say("Time"), detail=say("of all trials together")))
    return tiles


def _sections(study: StudyLike) -> list[Section]:
    best = study.best_trial_
    if best is None:
        reasons = sorted({said(trial.why) for trial in study.trials_ if trial.why})
        why = say(" They ended: {reasons}.", reasons=say("; ").join(reasons)) if reasons else ""
        note = Note(text=say("No trial was completed yet.{why}", why=why))
        return [Section(key="trials", heading=say("Trials"), blocks=[note, _table(study)])]
    sections = [_found(study, best), _history(study)]
    if study.importances_:
        sections.append(_importances(study))
    sections += [_slices(study), _all(study)]
    return [*sections, _methods(best, sections)]


def _found(study: StudyLike, best: TrialLike) -> Section:
    first = _default(study)
    rows = []
    for name, dimension in study.space.items():
        default = study.start.get(name)
        # a choice lists values, which are names
        searched = str(dimension) if hasattr(dimension, "values") else said(str(dimension))
        rows.append([name, _value(best.point.get(name)), "–" if default is None else _value(default), searched])
    lead = say("The first trial stood where the defaults do.") if first is not None else ""
    table = Table(
        header=[say("setting"), say("best"), say("default"), say("searched")], rows=rows, caption=say("The best trial")
    )
    return Section(key="best", heading=say("The best settings"), short=say("Best"), lead=lead, blocks=[table])


def _history(study: StudyLike) -> Section:
    blocks: list[Block] = [
        Panels(
            charts=[
                Chart(
                    name="history",
                    art=history_chart(study),
                    heading=say("Trial by trial"),
                    caption=say(
                        "Points: complete trials. The line: the best one so far. Ticks below: trials that were ended "
                        "early or failed."
                    ),
                    alternative=say(
                        "{figure} of each complete trial, and the best so far.", figure=_capital(said(study.figure))
                    ),
                ),
                *_curves(study),
            ],
            size="large",
        )
    ]
    return Section(key="history", heading=say("How the search went"), short=say("History"), blocks=blocks)


def _curves(study: StudyLike) -> list[Chart]:
    if not any(len(trial.curve) > 1 for trial in study.trials_):
        return []
    return [
        Chart(
            name="curves",
            art=curves_chart(study),
            heading=say("While they were trained"),
            caption=say("The bound on validation rows by share of the training. Orange: ended early. Bold: the best."),
            alternative=say("Validation bound of each trial over the share of its training."),
        )
    ]


def _importances(study: StudyLike) -> Section:
    shares = sorted(study.importances_.items(), key=lambda item: -item[1])
    names = say(", ").join(name for name, _ in shares[:2])
    chart = Chart(
        name="importances",
        art=importance_chart(dict(shares)),
        caption=say(
            "Shares of a variance: they say what made a difference within the bounds of this search, and not which way."
        ),
        alternative="; ".join(f"{name} {share:.0%}" for name, share in shares),
    )
    return Section(
        key="importances",
        heading=say("What mattered"),
        short=say("Importance"),
        lead=say("Most of the differences between trials come from {names}.", names=names) if len(shares) > 1 else "",
        blocks=[Panels(charts=[chart], size="large")],
        method=[
            Method(
                say("Importance"),
                say(
                    "fANOVA (Hutter et al., 2014): share of the variance of the figure over the space that a setting "
                    "explains by itself and with others, by a random forest over the trials. One that was ended early "
                    "counts with what is to be expected of it, where its curve tells that. Few trials make it rough."
                ),
            )
        ],
    )


def _slices(study: StudyLike) -> Section:
    order = sorted(study.space, key=lambda name: -study.importances_.get(name, 0.0))[:MOST_SLICES]
    charts = [
        Chart(
            name=f"slice-{place}",
            art=slice_chart(study, name),
            heading=name,
            alternative=say("{figure} of complete trials by {name}.", figure=_capital(said(study.figure)), name=name),
        )
        for place, name in enumerate(order)
    ]
    return Section(
        key="slices",
        heading=say("Setting by setting"),
        short=say("Slices"),
        lead=say("Each point is a complete trial; all other settings differ, too. The ring is the best one."),
        blocks=[Panels(charts=charts, size="small")],
    )


def _all(study: StudyLike) -> Section:
    return Section(key="trials", heading=say("All trials"), short=say("Trials"), blocks=[_table(study)])


def _table(study: StudyLike) -> Table:
    sign = -1.0 if study.direction == "maximize" else 1.0
    ranked = sorted(study.trials_, key=lambda trial: (trial.value is None, sign * (trial.value or 0.0), trial.number))
    shown = ranked[:MOST_ROWS]
    names = list(study.space)
    reasons = [shorten(said(trial.why), 60) for trial in shown]
    has_reasons = any(reasons)
    rows = [
        [
            str(trial.number),
            say(_STATES[trial.state]),
            "" if trial.value is None else number(trial.value),
            duration(trial.seconds),
            str(trial.epochs),
            *(_value(trial.point.get(name)) for name in names),
            *([reason] if has_reasons else []),
        ]
        for trial, reason in zip(shown, reasons, strict=True)
    ]
    rest = ""
    if len(ranked) > MOST_ROWS:
        rest = say(" The best {most} of {n}; trials.csv has all.", most=MOST_ROWS, n=len(ranked))
    return Table(
        header=[say("trial"), say("outcome"), said(study.figure), say("time"), say("epochs"), *names]
        + ([say("why it ended")] if has_reasons else []),
        rows=rows,
        numeric=(2, 3, 4),
        caption=say("Best first.{rest}", rest=rest),
    )


def _methods(best: TrialLike, sections: Sequence[Section]) -> Section:
    rows = [Method(say("Figure of a trial"), sentence(said(best.how)))]
    rows += [entry for section in sections for entry in section.method]
    rows.append(
        Method(
            say("Validation and test rows"),
            say(
                "Drawn once by the study's seed and written into study.json. The best of many trials looks better on "
                "the rows that it was chosen by than it is: judge it by test rows."
            ),
        )
    )
    return Section(
        key="methods", heading=say("How each figure was computed"), short=say("Methods"), blocks=[Table(rows=rows)]
    )


# Charts


@house_style()
def history_chart(study: StudyLike) -> Figure:
    """The figure of each complete trial by its number, the best so far, and ticks for the others."""
    figure, axes = new_axes(5.2, 3.0)
    done = _complete(study)
    pick = max if study.direction == "maximize" else min
    best = [pick(_values(done)[: place + 1]) for place in range(len(done))]
    numbers = [trial.number for trial in done]
    axes.step(numbers, best, where="post", color=INKS["first"], linewidth=1.8)
    axes.plot(numbers, _values(done), "o", color=INKS["first"], markersize=5, alpha=0.75)
    for state, role in (("pruned", "second"), ("failed", "quiet")):
        others = [trial.number for trial in study.trials_ if trial.state == state]
        axes.plot(
            others, [0.0] * len(others), "|", color=INKS[role], markersize=9, transform=axes.get_xaxis_transform()
        )
    _limit(axes, study)
    _whole(axes)
    axes.set_xlabel(say("trial"))
    axes.set_ylabel(said(study.unit or study.figure))
    return figure


@house_style()
def curves_chart(study: StudyLike) -> Figure:
    """The validation bound of each trial over the share of its training."""
    figure, axes = new_axes(5.2, 3.0)
    best = study.best_trial_
    settled = []
    for trial in study.trials_:
        shares, values = list(trial.curve), list(trial.curve.values())
        if not shares:
            continue
        is_best = best is not None and trial.number == best.number
        role = "first" if trial.state == "complete" else "second" if trial.state == "pruned" else "quiet"
        width = 2.6 if is_best else 1.1
        axes.plot(shares, values, color=INKS[role], linewidth=width, alpha=1.0 if is_best else 0.6, zorder=3 + is_best)
        if trial.state == "complete":
            settled += values[len(values) // 4 :]
    if settled:
        low, high = min(settled), max(settled)
        margin = 0.08 * (high - low) or 1.0
        axes.set_ylim(low - 4 * margin, high + margin)
    axes.set_xlim(0, 1.02)
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xlabel(say("share of the training"))
    axes.set_ylabel(said("nats"))
    return figure


@house_style()
def importance_chart(shares: Mapping[str, float]) -> Figure:
    """Bars of the importance of each setting, the largest on top."""
    figure, axes = new_axes(5.2, 0.5 + 0.3 * len(shares))
    places = np.arange(len(shares))[::-1]
    axes.barh(places, list(shares.values()), color=INKS["first"], height=0.66)
    axes.set_yticks(places, [shorten(name, 28) for name in shares])
    axes.grid(visible=False)
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    for place, share in zip(places, shares.values(), strict=True):
        axes.annotate(
            f"{share:.0%}",
            (share, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=INKS["soft"],
            fontsize=9.5,
        )
    axes.set_xlim(0, 1.12 * max(shares.values()))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    return figure


@house_style()
def slice_chart(study: StudyLike, name: str) -> Figure:
    """The figure of complete trials by one setting."""
    figure, axes = new_axes(2.9, 2.3)
    done = [trial for trial in _complete(study) if name in trial.point]
    dimension = study.space[name]
    if hasattr(dimension, "values"):
        known = list(dimension.values)
        x: list[float] = [known.index(trial.point[name]) for trial in done]
        axes.set_xticks(range(len(known)), [shorten(_value(item), LONGEST_NAME) for item in known])
        if sum(len(_value(item)) for item in known) > 26:
            axes.tick_params(axis="x", labelrotation=20)
        axes.set_xlim(-0.5, len(known) - 0.5)
    else:
        x = [float(trial.point[name]) for trial in done]
        if dimension.log:
            axes.set_xscale("log")
            _log_ticks(axes, dimension.low, dimension.high)
        span = (dimension.low, dimension.high)
        axes.set_xlim(span[0] / 1.15, span[1] * 1.15) if dimension.log else axes.set_xlim(
            span[0] - 0.04 * (span[1] - span[0]), span[1] + 0.04 * (span[1] - span[0])
        )
    axes.plot(x, _values(done), "o", color=INKS["first"], markersize=5, alpha=0.7)
    best = study.best_trial_
    for place, trial in zip(x, done, strict=True):
        if best is not None and trial.number == best.number:
            axes.plot([place], _values([trial]), "o", mfc="none", mec=INKS["second"], mew=1.8, markersize=10)
    _limit(axes, study)
    axes.set_ylabel(said(study.unit))
    return figure


def _limit(axes: Axes, study: StudyLike) -> None:
    """Leave out of the frame what is far behind: one bad trial would flatten all others."""
    values = np.sort(_values(_complete(study)))
    if len(values) < 4:
        return
    best, other = (values[-1], values[0]) if study.direction == "maximize" else (values[0], values[-1])
    middle = float(np.median(values))
    reach = 4.0 * abs(best - middle)
    if not reach or abs(best - other) <= reach:
        return
    sign = 1.0 if study.direction == "maximize" else -1.0
    ends = sorted([best + sign * 0.08 * reach, best - sign * reach])
    axes.set_ylim(ends[0], ends[1])


def _log_ticks(axes: Axes, low: float, high: float) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [at for decade in decades for step in steps if low <= (at := step * 10.0**decade) <= high]
        if len("".join(f"{tick:g}" for tick in ticks)) <= MOST_DIGITS:
            break
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda tick, _: f"{tick:g}")


def _whole(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def _complete(study: StudyLike) -> list[TrialLike]:
    return [trial for trial in study.trials_ if trial.state == "complete" and trial.value is not None]


def _values(trials: Sequence[TrialLike]) -> list[float]:
    """The figures of complete trials."""
    return [float(trial.value or 0.0) for trial in trials]


def _default(study: StudyLike) -> TrialLike | None:
    """The trial that stood where the defaults do."""
    for trial in study.trials_:
        if study.start and all(trial.point.get(name) == at for name, at in study.start.items()):
            return trial
    return None


def _figure(study: StudyLike, figure: float) -> str:
    return f"{number(figure)} {said(study.unit)}".rstrip()


def _value(setting: Any) -> str:
    return f"{setting:.3g}" if isinstance(setting, float) else "–" if setting is None else value(setting)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if is_english() else text
