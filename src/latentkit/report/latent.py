"""The latent space: what each dimension carries, and where the data lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.core.seeds import generator
from latentkit.report.charts import divergence_bars, latent_histogram, latent_map, variance_bars
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
    return Note(text=f"{what} need data to look at. Give them with:", command="latentkit report RUN DATA")


def needs_labels() -> Note:
    """Say that a part needs a model that was fitted with labels."""
    return Note(
        text="The model was fitted without labels, so it has no classes to sample from. Fit with y, or with:",
        command="latentkit fit DATA -o RUN --labels COLUMN",
    )


def needs_ex_post() -> Note:
    """Say that a part needs a distribution of codes to draw from."""
    return Note(
        text="The model was fitted without a prior of its codes, so it has nothing to draw new ones from. Fit with:",
        command="latentkit fit DATA -o RUN --set ex_post=mixture",
    )


def latents_of(subject: Subject) -> str:
    """What stands for an example in the latent space, in words."""
    return "code vector" if subject.is_discrete else "posterior mean"


def most(subject: Subject) -> str:
    """By what dimensions are ranked, in words."""
    return "whose codes vary most" if subject.is_deterministic else "with the most KL"


def unit(subject: Subject) -> str:
    """What latent dimensions are measured in, in words."""
    return "the codes' standard deviation" if subject.is_deterministic else "the prior's standard deviation"


def dimensions(subject: Subject) -> Section:
    """KL of each latent dimension."""
    heading = "Latent dimensions"
    lead = (
        "A dimension that carries information varies from example to example; one that does not is unused. Unused "
        "dimensions do no harm."
        if subject.is_deterministic
        else "A dimension that carries information costs KL divergence; one at zero is unused, and the decoder ignores "
        "it. Unused dimensions do no harm."
    )
    if subject.sample is None:
        return Section(key="dimensions", heading=heading, lead=lead, blocks=[needs_data("The figures per dimension")])
    figures = subject.summary
    if figures is None:
        return Section(
            key="dimensions",
            heading=heading,
            lead=lead,
            blocks=[Note(text=f"A spread over examples needs at least two {subject.noun}s, and the data have one.")],
        )
    order = subject.dimensions
    variances = figures.mean_variance.numpy()
    active = variances > THRESHOLD
    charts: list[Chart] = []
    method = [
        Method(
            "Active dimensions",
            f"A dimension is active where the code varies over the {count(subject.sample.n, subject.noun)} with a "
            f"variance above {THRESHOLD:g} (Burda et al., 2016, for posterior means).",
        )
    ]
    if figures.kl_per_dimension is not None:
        divergences = figures.kl_per_dimension.numpy()
        top = ", ".join(f"{index} ({subject.weight(int(index))})" for index in order[:3])
        charts = [
            Chart(
                name="latent-divergence",
                art=divergence_bars(divergences, active),
                heading=f"KL per dimension: {number(float(divergences.sum()), 3)} nats in all",
                alternative=(
                    f"Bar chart of the KL divergence of {count(subject.latent_dim, 'latent dimension')}, sorted. "
                    f"Largest: {top}."
                ),
            )
        ]
        method = [
            Method(
                "KL per dimension",
                f"Mean over {count(subject.sample.n, subject.noun)} of KL(q(z_j given x), N(0, 1)), in nats. With a "
                "full covariance, it is that of the marginal of each dimension. A dimension is active where the "
                f"posterior mean varies over the {subject.noun}s with a variance above {THRESHOLD:g} (Burda et al., "
                "2016).",
            )
        ]
    what = "code" if subject.is_deterministic else "posterior mean"
    both = "Both in the same order. " if charts else ""
    charts.append(
        Chart(
            name="latent-variance",
            art=variance_bars(variances, order, THRESHOLD),
            heading=f"{int(active.sum())} of {subject.latent_dim} dimensions are active",
            alternative=(
                f"Chart of the variance of the {what} per dimension on a logarithmic axis; "
                f"{int(active.sum())} of {subject.latent_dim} lie above {THRESHOLD:g}."
            ),
        )
    )
    return Section(
        key="dimensions",
        heading=heading,
        lead=lead,
        short="Dimensions",
        blocks=[Panels(charts=charts, size="large", caption=f"{both}Grey: dimensions that are not active.")],
        method=method,
    )


def space(subject: Subject) -> Section:
    """The data in the latent space, in two dimensions."""
    heading = "Map of the latent space"
    lead = "Each point is one example, placed by its latent code. Examples that the model finds alike lie together."
    if subject.sample is None:
        return Section(key="map", heading=heading, lead=lead, blocks=[needs_data("Maps")], short="Map")
    means = subject.posterior[0].double().numpy()
    means_are = f"{latents_of(subject)}s"
    labels = subject.sample.labels
    groups, entries = _groups(subject, np.arange(len(means)))
    charts: list[Chart] = []
    method = ""
    coloured = " coloured by class" if entries else ""
    titles = _titles(subject)
    if subject.latent_dim == 1:
        art = latent_histogram(means[:, 0], groups)
        alternative = f"Histogram of the latent mean of {count(len(means), 'example')}{coloured}."
        charts.append(Chart(name="map", art=art, alternative=alternative))
        method = f"Histogram of the {means_are}; with one latent dimension there is nothing to project."
    elif subject.latent_dim == 2:
        charts.append(_chart("map", means, groups, ("z 0", "z 1"), "", coloured, titles))
        method = f"The {means_are} as they are: the latent space has two dimensions."
    else:
        points, shares = _principal_components(means)
        names = (f"component 1 ({shares[0]:.0%} of the variance)", f"component 2 ({shares[1]:.0%})")
        charts.append(_chart("map-pca", points, groups, names, "Principal components", coloured, titles))
        method = (
            f"Principal components of the {means_are} of {count(len(means), subject.noun)}: a projection that keeps "
            "distances as far as two dimensions can."
        )
        rows = _some(len(means), TSNE_POINTS, subject.seed)
        if len(rows) >= 30:
            neighbours = _neighbour_map(means[rows], subject.seed_of("t-SNE"))
            few, _ = _groups(subject, rows)
            shown = [titles[row] for row in rows] if titles else []
            charts.append(_chart("map-tsne", neighbours, few, ("", ""), "Neighbourhoods (t-SNE)", coloured, shown))
            method += (
                f" t-SNE (scikit-learn, perplexity 30) of {count(len(rows), subject.noun)}: it keeps neighbours "
                "together; distances between groups and sizes of groups mean nothing."
            )
    caption = "Point at a point to read its text." if subject.is_text and subject.latent_dim > 1 else ""
    blocks: list[Block] = [Panels(charts=charts, size="large", caption=caption)]
    if entries:
        blocks.append(Legend(entries=entries))
    elif labels is None and not subject.is_table:
        blocks.append(Note(text="With labels, the points would be coloured by class."))
    return Section(key="map", heading=heading, lead=lead, blocks=blocks, method=[Method("Map", method)], short="Map")


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
) -> Chart:
    return Chart(
        name=name,
        art=latent_map(points, groups, axes_names=axes),
        heading=heading,
        alternative=f"Scatter plot of {count(len(points), 'example')} in the latent space{coloured}. {heading}",
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
        entries.append((f"{len(present) - len(shown)} other classes", None))
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
