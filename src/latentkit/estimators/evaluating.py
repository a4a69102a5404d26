"""Every figure of a fitted estimator that suits its data, by kind of data; and why those lack that cannot be had."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from latentkit.core.parameters import check_choice, check_integer
from latentkit.core.registry import Registry
from latentkit.core.tokens import reached
from latentkit.estimators.examination import N_TEMPERATURES, Asked, Estimator, Examination
from latentkit.evaluation import (
    MS_SSIM_LEAST_SIDE,
    Evaluation,
    FeatureMap,
    Figure,
    LikelihoodEstimate,
    MissingFigure,
    bits_per_dimension,
    bleu,
    codebook_perplexity,
    measure_samples,
    measure_table,
    ms_ssim,
    mutual_information,
    psnr,
    ssim,
    summarize_latents,
    text_quality,
)
from latentkit.evaluation.evaluation import GROUPS
from latentkit.evaluation.figures import Direction, normal_interval
from latentkit.evaluation.perplexity import word_counts

__all__ = ["Part", "asked_for", "evaluate_estimator", "evaluation_parts"]

#: What a part gives: figures, and reasons for those that cannot be had.
Found: TypeAlias = Iterator[Figure | MissingFigure]

#: Rows of each set without which samples are not judged.
FEWEST: Final = 10
#: Rows of each set in the search for neighbours, at most: time is quadratic in it.
MOST_COMPARED: Final = 10_000
#: Smallest and largest side of the window of SSIM; smaller images get a smaller one, which its name says.
SMALLEST_WINDOW, WINDOW = 3, 11
NORMAL_ROWS: Final = "normal over the rows"


@dataclass(frozen=True, slots=True)
class Part:
    """Figures of one matter, for some kinds of data.

    Attributes:
        group: What they are about, one of :data:`latentkit.evaluation.GROUPS`.
        kinds: Kinds of data that they suit.
        measure: Finds them.
    """

    group: str
    kinds: tuple[str, ...]
    measure: Callable[[Examination], Found]


evaluation_parts: Registry[Part] = Registry("part of an evaluation")

ALL: Final = ("images", "rows", "table", "text")


def asked_for(
    *,
    likelihood: Estimator,
    n_importance: int | None,
    n_temperatures: int | None,
    n_samples: int,
    max_rows: int | None,
    features: FeatureMap | None,
    seed: int,
) -> Asked:
    """Return the options of an evaluation, checked.

    Raises:
        InvalidParameterError: If one has a value that it cannot have.
    """
    check_choice("estimator", likelihood, ("iwae", "ais"))
    if n_importance is not None:
        check_integer("n_importance", n_importance, low=2 if likelihood == "ais" else 1)
    temperatures = check_integer("n_temperatures", N_TEMPERATURES if n_temperatures is None else n_temperatures, low=1)
    check_integer("n_samples", n_samples, low=FEWEST)
    if max_rows is not None:
        check_integer("max_rows", max_rows, low=2)
    return Asked(
        estimator=likelihood,
        n_importance=n_importance,
        n_temperatures=temperatures,
        n_samples=n_samples,
        max_rows=max_rows,
        features=features,
        seed=seed,
    )


def evaluate_estimator(estimator: Any, X: Any, *, train: Any, parts: Sequence[str] | None, asked: Asked) -> Evaluation:
    """Measure a fitted estimator: see :meth:`GenerativeTasks.evaluate`.

    Raises:
        InvalidParameterError: If a part is unknown.
        DataError: If the data are not like those of fit, or there are fewer than two rows.
    """
    wanted = {name: evaluation_parts[name] for name in (evaluation_parts if parts is None else parts)}
    begun = time.perf_counter()
    seen = Examination(estimator, X, train, asked)
    found: list[Figure | MissingFigure] = []
    for part in wanted.values():
        if seen.kind in part.kinds:
            found += _measured(part, seen)
    order = list(GROUPS)
    found.sort(key=lambda each: order.index(each.group))
    has_scores = "likelihood" in wanted and not seen.no_likelihood
    return Evaluation(
        model=seen.name,
        kind=seen.kind,
        figures=tuple(each for each in found if isinstance(each, Figure)),
        missing=tuple(each for each in found if isinstance(each, MissingFigure)),
        likelihood=seen.likelihood if has_scores else None,
        rows=seen.places() if has_scores else None,
        likelihood_of=seen.units.kind if has_scores else "",
        log_scale=seen.units.log_scale if has_scores else 0.0,
        n=seen.n,
        warnings=tuple(_warnings(seen, has_scores=has_scores)),
        seconds=time.perf_counter() - begun,
    )


def _measured(part: Part, seen: Examination) -> Iterator[Figure | MissingFigure]:
    """What a part finds, with its group and the seconds that each figure took; no figure is infinite or NaN."""
    begun = time.perf_counter()
    for each in part.measure(seen):
        now = time.perf_counter()
        seconds, begun = now - begun, now
        group = each.group or part.group
        if isinstance(each, MissingFigure):
            yield replace(each, group=group)
        elif not each.is_finite:
            what = "not a number" if math.isnan(each.value) else "infinite"
            yield MissingFigure(name=each.name, why=f"it is {what} on these data ({each.computed_with})", group=group)
        else:
            is_known = each.interval is not None and all(map(math.isfinite, each.interval))
            yield replace(
                each,
                group=group,
                seconds=seconds if each.seconds is None else each.seconds,
                interval=each.interval if is_known else None,
                interval_by=each.interval_by if is_known else "",
            )


# How probable the data are


def _warnings(seen: Examination, *, has_scores: bool) -> Iterator[str]:
    """What to heed before figures are quoted."""
    if seen.is_of_fit:
        yield (
            "these data are those of fit: figures of what was learnt are better than of other data, and floors and "
            "copies say nothing. Judge by others."
        )
    if not has_scores:
        return
    estimate = seen.likelihood
    if seen.units.kind.startswith("Bernoulli score"):
        yield (
            "a Bernoulli likelihood of values between 0 and 1 is no probability of them: its nats compare models with "
            "such a likelihood alone. Fit with likelihood='discretized_logistic', or binarise the data."
        )
    if not estimate.is_bound:
        yield (
            "log p(x given z) of reconstructions is no bound on log p(x): it leaves out what the code costs, ranks "
            "rows under this model, and does not compare models."
        )
    elif not estimate.is_tight and not seen.is_discrete:
        effective = float(estimate.effective_sample_size.median())
        how = "more chains or temperatures" if seen.asked.estimator == "ais" else f"a K well above {seen.n_draws}"
        yield (
            f"of {seen.n_draws} draws a row {effective:.1f} count (median), too few for an interval of log p(x): the "
            f"figure is a lower bound, and log p(x) lies above it. {how[0].upper()}{how[1:]} brings it nearer."
        )


def _part(name: str, group: str, *kinds: str) -> Callable[[Callable[[Examination], Found]], Callable[..., Found]]:
    """Return a decorator that files what finds figures."""

    def decorator(measure: Callable[[Examination], Found]) -> Callable[[Examination], Found]:
        evaluation_parts.register(name)(Part(group, kinds or ALL, measure))
        return measure

    return decorator


@_part("likelihood", "likelihood")
def _likelihood(seen: Examination) -> Found:
    """The mean of log p(x), or of what bounds it, in nats."""
    name = "log p(x given z)" if seen.is_point and seen.asked.estimator == "iwae" else "log p(x)"
    if seen.no_likelihood:
        yield MissingFigure(name=name, why=seen.no_likelihood)
        return
    estimate = seen.likelihood
    impossible = int((~torch.isfinite(estimate.log_likelihood)).sum())
    if impossible:
        why = f"it is infinite: the model calls {impossible:,} of {len(seen.rows):,} {seen.noun}s impossible"
        yield MissingFigure(name=name, why=why)
        return
    yield Figure(
        name=name,
        value=estimate.mean,
        unit="nats",
        better="higher",
        bound=_bound(estimate),
        standard_error=float(estimate.log_likelihood.std()) / math.sqrt(len(seen.rows)),
        interval=estimate.interval(),
        interval_by=_interval_by(estimate),
        n_rows=len(seen.rows),
        n_draws=estimate.n_importance if estimate.n_importance > 1 else None,
        effective_sample_size=float(estimate.effective_sample_size.median()) if estimate.n_importance > 1 else None,
        computed_with=f"{_of_all(seen)}, {estimate.estimator}; nats {seen.units.of}, mean over the {seen.noun}s",
    )


def _bound(estimate: LikelihoodEstimate, *, is_upper: bool = False) -> Any:
    """On which side of log p(x), or of what falls with it, an estimate lies."""
    if not estimate.is_bound or estimate.is_tight:
        return "neither"
    return "upper" if is_upper else "lower"


def _interval_by(estimate: LikelihoodEstimate) -> str:
    if estimate.is_tight:
        return "normal over the rows, with the noise and the bias of the draws"
    return "normal over the rows, of the bound's mean" if estimate.is_bound else NORMAL_ROWS


def _of_all(seen: Examination) -> str:
    """How many rows, of how many."""
    n, total = len(seen.rows), seen.n
    return f"{n:,} {seen.noun}s" if n == total else f"{n:,} of {total:,} {seen.noun}s, drawn by the seed"


@_part("bits", "likelihood", "images", "rows", "table")
def _bits(seen: Examination) -> Found:
    """The same in bits for each dimension, where they can be counted."""
    if seen.no_likelihood or seen.is_point or not seen.units.has_bits:
        return  # the line above says why, or nats of a density are no bits
    estimate, step = seen.likelihood, None if seen.units.is_mass else seen.units.step
    if not bool(torch.isfinite(estimate.log_likelihood).all()):
        yield MissingFigure(name="bits per dimension", why="it is infinite, as log p(x) is")
        return

    def bits(nats: float) -> float:
        return float(bits_per_dimension(torch.tensor(nats, dtype=torch.float64), seen.n_features, step=step))

    low, high = estimate.interval()
    yield Figure(
        name="bits per column" if seen.kind == "table" else "bits per dimension",
        value=bits(estimate.mean),
        unit="bits",
        better="lower",
        bound=_bound(estimate, is_upper=True),
        interval=(bits(high), bits(low)),
        interval_by=_interval_by(estimate),
        n_rows=len(seen.rows),
        n_draws=estimate.n_importance if estimate.n_importance > 1 else None,
        computed_with=f"{_of_all(seen)}, the figure above over {seen.n_features:,} and -log 2; {seen.units.of}",
    )


@_part("perplexity", "likelihood", "text")
def _perplexity(seen: Examination) -> Found:
    """The likelihood of texts by words and by bytes."""
    if seen.no_likelihood:
        return  # the line above says why
    estimate = seen.likelihood
    nats = -estimate.log_likelihood
    words, octets = (torch.tensor(counts).double() for counts in word_counts(seen.storage[seen.rows], seen.schema))
    counted = f"{_of_all(seen)} of {int(words.sum()):,} words and {int(octets.sum()):,} bytes, their ends included"
    common: dict[str, Any] = {
        "better": "lower",
        "bound": _bound(estimate, is_upper=True),
        "n_rows": len(seen.rows),
        "n_draws": estimate.n_importance,
        "interval_by": "normal over the texts, of a ratio",
        "computed_with": counted,
    }
    value, error = _ratio(nats, words)
    low, high = normal_interval(value, error)
    yield Figure(name="perplexity of a word", value=_exp(value), interval=(_exp(low), _exp(high)), **common)
    value, error = (each / math.log(2.0) for each in _ratio(nats, octets))
    yield Figure(name="bits per byte", value=value, unit="bits", interval=normal_interval(value, error), **common)


def _exp(value: float) -> float:
    """Exponential, infinite where it is too large."""
    return math.exp(value) if value < 700.0 else math.inf


def _ratio(parts: Tensor, wholes: Tensor) -> tuple[float, float]:
    """Ratio of two sums over rows, and its standard error by the delta method."""
    ratio = float(parts.sum() / wholes.sum())
    residuals = parts - ratio * wholes
    return ratio, float(residuals.std() * math.sqrt(len(parts)) / wholes.sum())


# How well they are rebuilt


def _no_encoder(seen: Examination) -> str:
    return f"a {seen.name} has no encoder, so that nothing can be rebuilt"


@_part("pictures", "reconstructions", "images")
def _pictures(seen: Examination) -> Found:
    """How like reconstructions of images are to the images."""
    if not seen.has_encoder:
        yield MissingFigure(name="reconstructions", why=_no_encoder(seen))
        return
    x, again = seen.x, seen.rebuilt
    blank = x.mean(0, keepdim=True).expand_as(x)
    span = 1.0 if seen.schema.values != "real" else float(x.max() - x.min()) or 1.0
    side = min(x.shape[-2:])
    window = min(WINDOW, side - 1 + side % 2)
    figures: list[tuple[str, str, Callable[[Tensor, Tensor], Tensor] | str]] = [
        ("PSNR", "dB", lambda a, b: psnr(a, b, data_range=span)),
        (
            "SSIM" if window == WINDOW else f"SSIM, window of {window}",
            "",
            (lambda a, b: ssim(a, b, data_range=span, window_size=window))
            if window >= SMALLEST_WINDOW
            else f"it needs sides of at least {SMALLEST_WINDOW} pixels, and these have {side}",
        ),
        (
            "MS-SSIM",
            "",
            (lambda a, b: ms_ssim(a, b, data_range=span))
            if side >= MS_SSIM_LEAST_SIDE
            else f"it needs sides of at least {MS_SSIM_LEAST_SIDE} pixels, and these have {side}",
        ),
    ]
    for name, unit, measure in figures:
        if isinstance(measure, str):
            yield MissingFigure(name=name, why=measure)
            continue
        values, floor = measure(x, again), measure(x, blank)
        exact = int(torch.isinf(values).sum())
        if exact:
            why = f"it is infinite: {exact:,} of {len(values):,} images came back exactly"
            yield MissingFigure(name=name, why=why)
            continue
        yield _mean_figure(
            seen,
            values,
            name=name,
            unit=unit,
            better="higher",
            floor=float(floor[torch.isfinite(floor)].mean()),
            floor_of="the mean image in place of each reconstruction",
            computed_with=f"{_of_all(seen)}, means of p(x given z) at {_code(seen)}",
        )


def _code(seen: Examination) -> str:
    return "the codes" if seen.is_point or seen.is_discrete else "the posterior mean"


def _mean_figure(seen: Examination, values: Tensor, **given: Any) -> Figure:
    """The figure of a mean over rows."""
    mean, error = float(values.mean()), float(values.std()) / math.sqrt(len(values))
    return Figure(
        value=mean,
        standard_error=error,
        interval=normal_interval(mean, error),
        interval_by=NORMAL_ROWS,
        n_rows=len(values),
        **given,
    )


@_part("numbers", "reconstructions", "rows")
def _numbers(seen: Examination) -> Found:
    """How much of the spread of numbers is lost on the way through the code."""
    name = "variance not rebuilt"
    if not seen.has_encoder:
        yield MissingFigure(name=name, why=_no_encoder(seen))
        return
    x, again = seen.x.double(), seen.rebuilt.double()
    whole = (x - x.mean(0)).square().mean()
    if not float(whole) > 0.0:
        yield MissingFigure(name=name, why="all rows are equal, so that there is no variance to rebuild")
        return
    yield _mean_figure(
        seen,
        100.0 * (x - again).square().mean(1) / whole,
        name=name,
        unit="%",
        better="lower",
        floor=100.0,
        floor_of="the mean row in place of each reconstruction",
        computed_with=f"{_of_all(seen)}, standardised columns, at {_code(seen)}",
    )


@_part("cells", "reconstructions", "table")
def _cells(seen: Examination) -> Found:
    """How many categories come back, and how far numbers are from what they were."""
    if not seen.has_encoder:
        yield MissingFigure(name="cells rebuilt", why=_no_encoder(seen))
        return
    real = seen.numbers(seen.taken(seen.rows))
    again = seen.numbers(seen.schema.decode(seen.rebuilt))
    known = ~np.isnan(real.values)
    for is_category, name, unit, better in (
        (True, "categories rebuilt", "%", "higher"),
        (False, "error of numbers", "standard deviations", "lower"),
    ):
        columns = [
            place for place, kind in enumerate(real.is_categorical) if kind == is_category and known[:, place].any()
        ]
        if not columns:
            continue
        errors, floors = zip(
            *(_cell_errors(real.values[:, place], again.values[:, place], is_category) for place in columns),
            strict=True,
        )
        cells = np.stack(errors, axis=1)
        n_known = (~np.isnan(cells)).sum(1)
        values = torch.from_numpy(np.nansum(cells, 1)[n_known > 0] / n_known[n_known > 0])
        floor = float(np.mean(floors))
        if is_category:
            figure = _mean_figure(
                seen,
                100.0 * values,
                name=name,
                unit=unit,
                better=cast(Direction, better),
                floor=100.0 * floor,
                floor_of="the most frequent category of each column",
                computed_with=f"{_of_all(seen)}, {len(columns):,} columns, at {_code(seen)}",
            )
            yield figure
            continue
        mean, error = float(values.mean()), float(values.std()) / math.sqrt(len(values))
        low, high = (math.sqrt(each) for each in normal_interval(mean, error, low=0.0))
        yield Figure(
            name=name,
            value=math.sqrt(mean),
            unit=unit,
            better=cast(Direction, better),
            floor=math.sqrt(floor),
            floor_of="the mean of each column",
            interval=(low, high),
            interval_by=NORMAL_ROWS,
            n_rows=len(values),
            computed_with=f"{_of_all(seen)}, root mean square over {len(columns):,} columns, at {_code(seen)}",
        )


def _cell_errors(real: Any, again: Any, is_category: bool) -> tuple[Any, float]:
    """Of each cell whether it is right, or its squared error in variances of the column; NaN where there was none.

    And the mean that the most frequent category, or the mean, would have.
    """
    known = ~np.isnan(real)
    if is_category:
        right = np.where(known, (real == again).astype(float), np.nan)
        return right, float(np.unique(real[known], return_counts=True)[1].max() / known.sum())
    variance = float(np.var(real[known])) or 1.0
    filled = np.where(np.isnan(again), np.mean(real[known]), again)
    return (real - filled) ** 2 / variance, float(np.nanmean((real - np.mean(real[known])) ** 2) / variance)


@_part("tokens", "reconstructions", "text")
def _tokens(seen: Examination) -> Found:
    """How many tokens of texts come back, and how like the texts are."""
    storage, again = seen.storage[seen.rows], seen.rebuilt
    is_reached = reached(storage)
    lengths = is_reached.sum(1).double()
    others = again.roll(1, 0)
    right, floor = ((storage == rows) & is_reached for rows in (again, others))
    value, error = _ratio(right.sum(1).double(), lengths)
    how = f"{_of_all(seen)}, the most probable tokens given the posterior mean"
    yield Figure(
        name="tokens rebuilt",
        value=100.0 * value,
        unit="%",
        better="higher",
        floor=100.0 * float(floor.sum() / lengths.sum()),
        floor_of="reconstructions of other texts",
        interval=normal_interval(100.0 * value, 100.0 * error, low=0.0, high=100.0),
        interval_by="normal over the texts, of a ratio",
        n_rows=len(storage),
        computed_with=how,
    )
    texts = seen.schema.texts(storage)
    yield Figure(
        name="BLEU of reconstructions",
        value=bleu(seen.schema.texts(again), texts),
        better="higher",
        floor=bleu(seen.schema.texts(others), texts),
        floor_of="reconstructions of other texts",
        n_rows=len(storage),
        computed_with=how,
    )


# What z carries


@_part("latents", "latents")
def _latents(seen: Examination) -> Found:
    """KL, mutual information and active dimensions, or codes in use."""
    if not seen.has_encoder:
        yield MissingFigure(name="latents", why=f"a {seen.name} has no encoder, so that data have no latents")
        return
    if seen.is_discrete:
        codes = torch.from_numpy(seen.of_rows(seen.encoded).codes(seen.taken(seen.encoded)))
        n_codes = seen.estimator.n_codes_
        yield Figure(
            name="codes in use",
            value=codebook_perplexity(codes, n_codes),
            better="higher",
            n_rows=len(codes),
            computed_with=f"perplexity of {codes.numel():,} codes of {len(codes):,} {seen.noun}s, out of {n_codes:,}",
        )
        return
    found = seen.posteriors
    n = len(found.means)
    if found.kl is None:
        yield MissingFigure(name="KL", why="codes are points, which have no divergence from a prior")
    else:
        yield _mean_figure(
            seen,
            found.kl.double(),
            name="KL",
            unit="nats",
            better="neither",
            computed_with=f"{n:,} {seen.noun}s, KL(q(z given x), p(z)); near 0, z says nothing of x",
        )
    if found.log_vars is None:
        why = "codes are points" if found.kl is None else f"posteriors are of the kind {found.name}"
        yield MissingFigure(
            name="mutual information", why=f"it is computed from Gaussians with independent dimensions, and {why}"
        )
    else:
        told = mutual_information(found.means, found.log_vars, seed=seen.asked.seed)
        known = math.isfinite(told.upper)
        yield Figure(
            name="mutual information",
            value=told.lower,
            unit="nats",
            better="neither",
            bound="lower",
            interval=(told.lower, max(told.lower, told.upper)) if known else None,
            interval_by="a lower and an upper estimate" if known else "",
            standard_error=told.standard_error,
            n_rows=n,
            n_draws=1,
            computed_with=told.computed_with + ("" if known else "; the upper estimate is infinite"),
        )
    summary = summarize_latents(found.means, found.log_vars)
    yield Figure(
        name="active dimensions",
        value=float(summary.n_active),
        better="neither",
        n_rows=n,
        computed_with=f"of {len(summary.active)}; the variance of the mean of z over {n:,} {seen.noun}s is above 0.01",
    )


# How good new data are, and whether they are copies


def _why_not_compared(seen: Examination) -> str:
    """Why samples cannot be judged; empty where they can."""
    if seen.train is None:
        return "it takes the rows of fit, for the floor and to look for copies; give train= (in the shell --train DATA)"
    for name, n in (("DATA", seen.n), ("the rows of fit", len(seen.train))):
        if n < FEWEST:
            return f"it takes at least {FEWEST} {seen.noun}s of each set, and {name} have {n}"
    if seen.is_point and seen.estimator.ex_post_prior_ is None:
        return "codes that are points have no prior of training to draw from; fit with ex_post='mixture'"
    return ""


@_part("samples", "samples", "images", "rows")
def _samples(seen: Examination) -> Found:
    """New images or rows of numbers beside held-out ones, by every metric."""
    if why := _why_not_compared(seen):
        yield MissingFigure(name="samples", why=why)
        return
    n = min(seen.asked.n_samples, seen.n, len(seen.train), MOST_COMPARED)
    new = seen.units_of(seen.sampled(n))
    test = seen.units_of(seen.drawn(seen.data, n, "test"))
    train = seen.units_of(seen.drawn(seen.train, 10 * MOST_COMPARED, "train"))
    yield from measure_samples(
        new, train=train, test=test, features=seen.features, max_rows=max(FEWEST, n), seed=seen.asked.seed
    )


@_part("new rows", "samples", "table")
def _new_rows(seen: Examination) -> Found:
    """New rows of a table beside real ones, with what they give away."""
    if why := _why_not_compared(seen):
        yield MissingFigure(name="samples", why=why)
        return
    n = min(seen.asked.n_samples, len(seen.train))
    new, train, test = (
        seen.numbers(data)
        for data in (
            seen.sampled(n),
            seen.drawn(seen.train, 10 * MOST_COMPARED, "train"),
            seen.drawn(seen.data, 10 * MOST_COMPARED, "test"),
        )
    )
    yield from measure_table(new, train=train, test=test, max_rows=MOST_COMPARED, seed=seen.asked.seed)


@_part("new texts", "samples", "text")
def _new_texts(seen: Examination) -> Found:
    """New texts beside real ones."""
    if why := _why_not_compared(seen):
        yield MissingFigure(name="samples", why=why)
        return
    n = seen.asked.n_samples
    # as the model sees them: words that it does not know are the unknown one in all three sets
    known, fresh = (seen.schema.texts(seen.schema.encode(part)) for part in (seen.train, seen.data))
    made = seen.schema.read(seen.sampled(n))
    found = text_quality(made, train=known, held_out=fresh, max_texts=n, seed=seen.asked.seed)
    yield from found.figures
