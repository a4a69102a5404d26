"""The latent space: what each dimension carries, and where the data lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.core.seeds import generator
from latentkit.report.charts import divergence_bars, latent_histogram, latent_map, variance_bars
from latentkit.report.language import say
from latentkit.report.marking import readable
from latentkit.report.page import Block, Chart, Legend, Method, Note, Panels, Section
from latentkit.report.style import CLASS_COLOURS, INKS, class_colour
from latentkit.report.subject import Subject
from latentkit.report.wording import count, number

__all__ = ["dimensions", "latents_of", "most", "needs_data", "needs_ex_post", "needs_labels", "space", "unit"]

#: Points of the t-SNE map, whose cost grows faster than the number of points.
TSNE_POINTS = 1000
#: Variance of the posterior mean above which a dimension counts as active (Burda et al., 2016).
THRESHOLD = 0.01

#: Characters of a text that are shown where its point is pointed at.
MOST_OF_TITLE = 120

Groups = list[tuple[str, str, NDArray[np.int64]]]


def needs_data(what: str) -> Note:
    """Say that a part needs data, and how to give them."""
    return Note(
        text=say("{what} need data to look at. Give them with:", what=what), command="latentkit report RUN DATA"
    )


def needs_labels() -> Note:
    """Say that a part needs a model that was fitted with labels."""
    return Note(
        text=say("The model was fitted without labels, so it has no classes to sample from. Fit with y, or with:"),
        command="latentkit fit DATA -o RUN --labels COLUMN",
    )


def needs_ex_post() -> Note:
    """Say that a part needs a distribution of codes to draw from."""
    return Note(
        text=say(
            "The model was fitted without a prior of its codes, so it has nothing to draw new ones from. Fit with:"
        ),
        command="latentkit fit DATA -o RUN --set ex_post=mixture",
    )


def latents_of(subject: Subject, *, many: bool = False) -> str:
    """What stands for an example in the latent space, in words; of many examples."""
    if subject.is_discrete:
        return say("code vectors") if many else say("code vector")
    return say("posterior means") if many else say("posterior mean")


def most(subject: Subject) -> str:
    """By what dimensions are ranked, in words."""
    return say("whose codes vary most") if subject.is_deterministic else say("with the most KL")


def unit(subject: Subject) -> str:
    """What latent dimensions are measured in, in words."""
    return say("the codes' standard deviation") if subject.is_deterministic else say("the prior's standard deviation")


def dimensions(subject: Subject) -> Section:
    """KL of each latent dimension."""
    heading = say("Latent dimensions")
    lead = (
        say(
            "A dimension that carries information varies from example to example; one that does not is "
            "unused. Unused dimensions do no harm."
        )
        if subject.is_deterministic
        else say(
            "A dimension that carries information costs KL divergence; one at zero is unused, and the "
            "decoder ignores it. Unused dimensions do no harm."
        )
    )
    if subject.sample is None:
        return Section(
            key="dimensions", heading=heading, lead=lead, blocks=[needs_data(say("The figures per dimension"))]
        )
    figures = subject.summary
    if figures is None:
        return Section(
            key="dimensions",
            heading=heading,
            lead=lead,
            blocks=[
                Note(
                    text=say(
                        "A spread over examples needs at least two {nouns}, and the data have one.", nouns=subject.nouns
                    )
                )
            ],
        )
    order = subject.dimensions
    variances = figures.mean_variance.numpy()
    active = variances > THRESHOLD
    charts: list[Chart] = []
    method = [
        Method(
            say("Active dimensions"),
            say(
                "A dimension is active where the code varies over the {rows} with a variance above "
                "{threshold:g} (Burda et al., 2016, for posterior means).",
                rows=count(subject.sample.n, subject.noun),
                threshold=THRESHOLD,
            ),
        )
    ]
    if figures.kl_per_dimension is not None:
        divergences = figures.kl_per_dimension.numpy()
        top = say(", ").join(f"{index} ({subject.weight(int(index))})" for index in order[:3])
        charts = [
            Chart(
                name="latent-divergence",
                art=divergence_bars(divergences, active),
                heading=say("KL per dimension: {nats} nats in all", nats=number(float(divergences.sum()), 3)),
                caption=say("High bars carry the data. Many at 0 beside few high ones: z is larger than it need be."),
                alternative=(
                    say(
                        "Bar chart of the KL divergence of {latent_dimensions}, sorted. Largest: {top}.",
                        latent_dimensions=count(subject.latent_dim, "latent dimension"),
                        top=top,
                    )
                ),
            )
        ]
        method = [
            Method(
                say("KL per dimension"),
                say(
                    "Mean over {rows} of KL(q(z_j given x), N(0, 1)), in nats. With a full covariance, it is "
                    "that of the marginal of each dimension. A dimension is active where the posterior mean "
                    "varies over the {nouns} with a variance above {threshold:g} (Burda et al., 2016).",
                    rows=count(subject.sample.n, subject.noun),
                    nouns=subject.nouns,
                    threshold=THRESHOLD,
                ),
            )
        ]
    what = say("code") if subject.is_deterministic else say("posterior mean")
    both = say("Both in the same order. ") if charts else ""
    charts.append(
        Chart(
            name="latent-variance",
            art=variance_bars(variances, order, THRESHOLD),
            heading=say(
                "{active} of {latent_dim} dimensions are active",
                active=int(active.sum()),
                latent_dim=subject.latent_dim,
            ),
            caption=say("Points above the dashed line vary from example to example; those below are unused."),
            alternative=(
                say(
                    "Chart of the variance of the {what} per dimension on a logarithmic axis; {active} of "
                    "{latent_dim} lie above {threshold:g}.",
                    what=what,
                    active=int(active.sum()),
                    latent_dim=subject.latent_dim,
                    threshold=THRESHOLD,
                )
            ),
        )
    )
    return Section(
        key="dimensions",
        heading=heading,
        lead=lead,
        short=say("Dimensions"),
        blocks=[
            Panels(charts=charts, size="large", caption=say("{both}Grey: dimensions that are not active.", both=both))
        ],
        method=method,
    )


def space(subject: Subject) -> Section:
    """The data in the latent space, in two dimensions."""
    heading = say("Map of the latent space")
    lead = say(
        "Each point is one example, placed by its latent code. Examples that the model finds alike lie together."
    )
    if subject.sample is None:
        return Section(key="map", heading=heading, lead=lead, blocks=[needs_data(say("Maps"))], short=say("Map"))
    means = subject.posterior[0].double().numpy()
    means_are = latents_of(subject, many=True)
    labels = subject.sample.labels
    groups, entries = _groups(subject, np.arange(len(means)))
    charts: list[Chart] = []
    method = ""
    coloured = say(" coloured by class") if entries else ""
    titles = _titles(subject)
    if subject.latent_dim == 1:
        art = latent_histogram(means[:, 0], groups)
        alternative = say(
            "Histogram of the latent mean of {examples}{coloured}.",
            examples=count(len(means), "example"),
            coloured=coloured,
        )
        charts.append(Chart(name="map", art=art, alternative=alternative))
        method = say(
            "Histogram of the {means}; with one latent dimension there is nothing to project.", means=means_are
        )
    elif subject.latent_dim == 2:
        charts.append(_chart("map", means, groups, ("z 0", "z 1"), "", coloured, titles))
        method = say("The {means} as they are: the latent space has two dimensions.", means=means_are)
    else:
        points, shares = _principal_components(means)
        names = (
            say("component 1 ({shares:.0%} of the variance)", shares=shares[0]),
            say("component 2 ({shares:.0%})", shares=shares[1]),
        )
        told = say("The plane in which the codes spread most. What is far apart here is far apart.")
        charts.append(_chart("map-pca", points, groups, names, say("Principal components"), coloured, titles, told))
        method = say(
            "Principal components of the {means} of {rows}: a projection that keeps distances as far"
            " as two dimensions can.",
            means=means_are,
            rows=count(len(means), subject.noun),
        )
        rows = _some(len(means), TSNE_POINTS, subject.seed)
        if len(rows) >= 30:
            neighbours = _neighbour_map(means[rows], subject.seed_of("t-SNE"))
            few, _ = _groups(subject, rows)
            shown = [titles[row] for row in rows] if titles else []
            told = say("Neighbours stay together. Sizes of groups, and distances between them, mean nothing.")
            name = say("Neighbourhoods (t-SNE)")
            charts.append(_chart("map-tsne", neighbours, few, ("", ""), name, coloured, shown, told))
            method += say(
                " t-SNE (scikit-learn, perplexity 30) of {rows}: it keeps neighbours together; distances "
                "between groups and sizes of groups mean nothing.",
                rows=count(len(rows), subject.noun),
            )
    caption = say("Point at a point to read its text.") if subject.is_text and subject.latent_dim > 1 else ""
    blocks: list[Block] = [Panels(charts=charts, size="large", caption=caption)]
    if entries:
        blocks.append(Legend(entries=entries))
    elif labels is None and not subject.is_table:
        blocks.append(Note(text=say("With labels, the points would be coloured by class.")))
    return Section(
        key="map", heading=heading, lead=lead, blocks=blocks, method=[Method(say("Map"), method)], short=say("Map")
    )


def _titles(subject: Subject) -> list[str]:
    """What each example is, where it can be said in words; empty where not."""
    if not subject.is_text:
        return []
    assert subject.sample is not None, "asked only where there are data"
    return [readable(text, MOST_OF_TITLE) for text in subject.texts(subject.sample.x)]


def _chart(
    name: str,
    points: NDArray[Any],
    groups: Groups,
    axes: tuple[str, str],
    heading: str,
    coloured: str,
    titles: Sequence[str],
    caption: str = "",
) -> Chart:
    return Chart(
        name=name,
        art=latent_map(points, groups, axes_names=axes),
        heading=heading,
        caption=caption,
        alternative=say(
            "Scatter plot of {examples} in the latent space{coloured}. {heading}",
            examples=count(len(points), "example"),
            coloured=coloured,
            heading=heading,
        ),
        titles=[titles[row] for _, _, rows in groups for row in rows] if titles else [],
    )


def _groups(subject: Subject, rows: NDArray[np.int64]) -> tuple[Groups, list[tuple[str, int | None]]]:
    """Points by class with their colours, and the legend; classes beyond the colours are one grey group."""
    everything = np.arange(len(rows))
    if subject.sample is None or subject.sample.labels is None:
        return [("", INKS["first"], everything)], []
    codes = subject.sample.labels[rows]
    every_code = subject.sample.labels
    sizes = np.bincount(every_code[every_code >= 0], minlength=len(subject.class_names))
    present = np.flatnonzero(sizes)
    shown = present
    if len(present) > len(CLASS_COLOURS):
        largest = np.argsort(-sizes, kind="stable")[: len(CLASS_COLOURS) - 1]
        shown = np.sort(largest)
    groups: Groups = []
    entries: list[tuple[str, int | None]] = []
    rest = everything[~np.isin(codes, shown)]
    if len(present) > len(shown):
        groups.append(("", INKS["quiet"], rest))
    for place, code in enumerate(shown):
        groups.append((subject.class_names[code], class_colour(place), everything[codes == code]))
        entries.append((subject.class_names[code], place))
    if len(present) > len(shown):
        entries.append((say("{n} other classes", n=len(present) - len(shown)), None))
    return groups, entries


def _some(n: int, size: int, seed: int) -> NDArray[np.int64]:
    chosen = torch.randperm(n, generator=generator(seed, "report", "map"))[:size].sort().values
    return np.asarray(chosen.numpy(), np.int64)


def _principal_components(means: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Coordinates along the first two components, shape (n, 2), and their shares of the variance."""
    from sklearn.decomposition import PCA

    if len(means) < 2 or not means.std(0).any():
        return np.zeros((len(means), 2)), np.zeros(2)
    pca = PCA(n_components=2, svd_solver="full").fit(means)
    return pca.transform(means), pca.explained_variance_ratio_


def _neighbour_map(means: NDArray[Any], seed: int) -> NDArray[Any]:
    """A t-SNE map on one thread: two that wait for each other beside a busy neighbour took ten times as long."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if not means.std(0).any():
        return np.zeros((len(means), 2))
    perplexity = min(30.0, (len(means) - 1) / 3)
    with threadpool_limits(limits=1):
        tsne = TSNE(perplexity=perplexity, init="pca", max_iter=500, angle=0.6, random_state=seed, n_jobs=1)
        return np.asarray(tsne.fit_transform(means.astype(np.float32)))
