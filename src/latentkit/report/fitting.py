"""How the model was fitted: headline figures, learning curves, settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from latentkit.distributions import GaussianMixturePrior, likelihoods
from latentkit.estimators.describing import with_article
from latentkit.estimators.fitting import BOUND
from latentkit.evaluation import bits_per_dimension
from latentkit.report.charts import curves
from latentkit.report.page import Chart, Method, Note, Panels, Section, Table, Tile
from latentkit.report.subject import Subject
from latentkit.report.wording import count, duration, number, shape, value

__all__ = ["configuration", "summary", "tiles", "training"]

_LIKELIHOODS = {
    "bernoulli": "Bernoulli",
    "categorical": "categorical",
    "gaussian": "Gaussian",
    "discretized_logistic": "discretised logistic",
}
_STOPPED = {
    "epochs": "all epochs done",
    "time": "the time was up",
    "patience": "no more improvement on what was held out",
}


def summary(subject: Subject) -> str:
    """Say in two sentences what the model is."""
    estimator, specification = subject.estimator, subject.estimator.specification_
    likelihood = _LIKELIHOODS.get(specification.likelihood, specification.likelihood)
    with_likelihood = f", with a {likelihood} likelihood" if subject.has_likelihood else ""
    name = f"A{with_article(type(estimator).__name__)[1:]}"
    things = "images" if subject.is_images else "rows"
    n = getattr(subject.schema, "n_examples", 0)
    source = ""
    if subject.ex_post is not None:
        source = f" New data come from {_ex_post(subject)} fitted to the latent space after training."
    examples = f"{things} of {shape(subject.event_shape)}"
    numbers = f"{count(subject.latent_dim, 'latent number')} each"
    if subject.is_table:
        kinds = "Categories, numbers and what is missing are learnt together."
        columns = count(len(subject.schema.columns), "column")
        return f"{name} that turns {n:,} rows of {columns} into {numbers}, and back. {kinds}{source}"
    if subject.is_text:
        source = source.replace("New data", "New texts")
        return f"{name} that turns {f'{n:,} ' if n else ''}texts into {numbers}, and back, token by token.{source}"
    if not subject.has_encoder:
        return f"{name} that makes {examples} out of {numbers}{with_likelihood}.{source}"
    if subject.is_discrete:
        grid = " × ".join(map(str, estimator.grid_))
        numbers = f"{grid} codes each, out of a codebook of {estimator.n_codes_:,}"
        source = " New data come from a prior over the codes, trained after the autoencoder."
    return f"{name} that turns {f'{n:,} ' if n else ''}{examples} into {numbers}, and back{with_likelihood}.{source}"


def _ex_post(subject: Subject) -> str:
    """What was fitted to the latent space, in words."""
    if not isinstance(subject.ex_post, GaussianMixturePrior):
        return f"a {subject.ex_post_name}"
    return f"a mixture of {count(len(subject.ex_post.log_weights), 'Gaussian')}"


def tiles(subject: Subject) -> list[Tile]:
    """Headline figures."""
    estimator, history = subject.estimator, subject.estimator.history_
    result = []
    if subject.sample is not None and subject.has_encoder:
        estimate = subject.likelihood
        places, n_importance = subject.scored
        effective = float(estimate.effective_sample_size.median())
        label, of = "Lower bound on log p(x), mean", count(len(places), subject.noun)
        how = f"K = {n_importance}, median effective sample size {number(effective, 2)}, {of}"
        if subject.is_discrete:
            how = f"log p(c) + log p(x given c), {of}"
        if not estimate.is_bound:
            label = "log p(x given z) of reconstructions, mean"
            how = f"no bound on log p(x); {of}"
        mean = estimate.log_likelihood.mean()
        result.append(Tile(value=f"{number(float(mean))} nats", label=label, detail=how))
        step = grid_step(subject)
        if subject.is_text:
            result.append(
                Tile(
                    value=number(subject.perplexity.per_word),
                    label="Perplexity of a word",
                    detail=f"{number(subject.perplexity.bits_per_byte, 3)} bits a byte; lower is better",
                )
            )
        elif is_mass(subject) or step is not None:
            bits = bits_per_dimension(mean, subject.n_features, step=None if is_mass(subject) else step)
            result.append(
                Tile(
                    value=f"{number(float(bits), 3)} bits",
                    label="Per column" if subject.is_table else "Per dimension",
                    detail=f"the same {'bound' if estimate.is_bound else 'figure'}; lower is better",
                )
            )
    best = history[estimator.best_epoch_ - 1] if history else None
    if best is not None and best["validation"] is not None:
        result.append(
            Tile(
                value=f"{number(best['validation'])} {subject.value_unit}",
                label=f"Objective on held-out {subject.noun}s",
                detail=f"{subject.value_name}; best epoch, {estimator.best_epoch_}",
            )
        )
    if subject.is_discrete:
        used = f"{number(estimator.perplexity_, 3)} of {estimator.n_codes_:,}"
        result.append(Tile(value=used, label="Codes in use", detail="perplexity, in the data of fit"))
    result.append(
        Tile(
            value=f"{estimator.n_iter_:,}", label="Epochs", detail=_STOPPED.get(estimator.stopped_, estimator.stopped_)
        )
    )
    if history:
        rates = [record["samples_per_second"] for record in history]
        result.append(
            Tile(
                value=duration(history[-1]["seconds"]),
                label="Training time, autoencoder" if subject.is_discrete else "Training time",
                detail=f"{number(float(np.median(rates)), 3)} examples a second",
            )
        )
    sizes = subject.n_parameters
    result.append(
        Tile(
            value=f"{sizes['all']:,}",
            label="Parameters",
            detail=", ".join(f"{name} {size:,}" for name, size in sizes.items() if name != "all"),
        )
    )
    engine = estimator.engine_
    threads = f", {count(engine.threads, 'thread')}" if engine.device == "cpu" else ""
    result.append(
        Tile(
            value=engine.device.upper() if engine.device in ("cpu", "mps") else engine.device,
            label="Engine",
            detail=f"{engine.precision}{threads}{', compiled' if engine.compiled else ''}; {engine.measured}",
        )
    )
    return result


def is_mass(subject: Subject) -> bool:
    """Whether the likelihood gives probabilities, not densities."""
    return bool(likelihoods[subject.estimator.specification_.likelihood].discrete)


def grid_step(subject: Subject) -> float | None:
    """Distance of neighbouring values in model units; None for continuous data."""
    levels = getattr(subject.schema, "n_levels", None)
    return None if not levels else 1.0 / (levels - 1)


def training(subject: Subject) -> Section:
    """Learning curves."""
    estimator, history = subject.estimator, subject.estimator.history_
    lead = _aim(subject)
    if not history:
        return Section(
            key="training",
            heading="Training",
            lead=lead,
            blocks=[Note(text="This run has no metrics.jsonl, so there are no learning curves to show.")],
        )
    epochs = [record["epoch"] for record in history]

    def line(name: str) -> list[float | None]:
        return [record[name] for record in history]

    validated = any(record["validation"] is not None for record in history)
    best = estimator.best_epoch_ if validated else None
    objective = {"training": line("objective")} | (
        {f"held-out {subject.noun}s": line("validation")} if validated else {}
    )
    last = history[(best or len(history)) - 1]
    charts = [
        Chart(
            name="training-objective",
            art=curves(epochs, objective, best=best, unit=subject.value_unit),
            heading="Objective",
            caption=f"{subject.value_name[0].upper()}{subject.value_name[1:]}.",
            alternative=(
                f"Line chart of the objective over {count(len(epochs), 'epoch')}: training ends at "
                f"{number(history[-1]['objective'])} {subject.value_unit}"
                + (
                    f", held-out {subject.noun}s reach {number(last['validation'])} in epoch {best}."
                    if validated
                    else "."
                )
            ),
        )
    ]
    given = "c" if subject.is_discrete else "z"
    # what is the same as the objective, nothing at all, or a constant is no curve
    if subject.has_likelihood and line("log_likelihood") != line("objective"):
        charts.append(
            Chart(
                name="training-reconstruction",
                art=curves(epochs, {f"log p(x given {given})": line("log_likelihood")}, best=best),
                heading="Reconstruction",
                caption=f"log p(x given {given}).",
                alternative=f"Line chart of log p(x given {given}); it ends at "
                f"{number(history[-1]['log_likelihood'])} nats.",
            )
        )
    if subject.has_encoder and not subject.is_deterministic and not (subject.is_discrete and len(set(line("kl"))) == 1):
        charts.append(
            Chart(
                name="training-divergence",
                art=curves(epochs, {"KL": line("kl")}, best=best),
                heading="KL divergence",
                alternative=f"Line chart of the KL divergence; it ends at {number(history[-1]['kl'])} nats.",
            )
        )
    charts.append(
        Chart(
            name="training-rate",
            art=curves(epochs, {"learning rate": line("learning_rate")}, best=best, unit="", is_rate=True),
            heading="Learning rate",
            alternative=f"Line chart of the learning rate; its highest value is {max(line('learning_rate')):g}.",  # type: ignore[type-var]
        )
    )
    kept = (
        f"The weights are those of epoch {best}, the best on held-out {subject.noun}s."
        if best
        else f"The weights are those of the last epoch, as no {subject.noun}s were held out."
    )
    weight, full = "", ""
    if subject.has_encoder and not (subject.is_deterministic or subject.is_discrete):
        weight, full = " and with the weight of the KL term that the epoch had", "at full weight and "
    places = "tokens" if subject.is_text else "features"
    in_nats = f", in nats per example, summed over the {places}" if subject.has_likelihood else ""
    held_out = (
        f"; the held-out {subject.noun}s are measured at the end of the epoch, {full}with the same noise each time"
    )
    held_out = held_out if validated else ""
    events = [Note(text=f"During training: {event}") for event in estimator.events_]
    return Section(
        key="training",
        heading="Training",
        lead=lead,
        blocks=[
            Panels(charts=charts, size="large", caption=f"{kept} The first tenth of the epochs may leave the frame."),
            *events,
        ],
        method=[
            Method(
                "Learning curves",
                f"Means over the {subject.noun}s of each epoch{in_nats}. The training curve is measured while the "
                f"weights still change{weight}{held_out}.",
            )
        ],
    )


def _aim(subject: Subject) -> str:
    """What training raises, for someone who has not met it before."""
    if not subject.has_likelihood:
        return (
            "Training is a game: a discriminator learns to tell samples from data, the generator to be taken for data. "
            "The value says who is ahead, and not how good the samples are: look at them."
        )
    if subject.is_deterministic:
        return (
            "Training raises the log-likelihood of each example given its code: how well it is rebuilt, minus "
            "penalties where there are some. Higher is better."
        )
    if subject.is_discrete:
        return (
            "Training raises the log-likelihood of each example given its codes, minus their length where every code "
            "is alike, and minus the distance between what the encoder gives and the codes. Higher is better."
        )
    if not subject.has_encoder:
        return "Training raises the log-likelihood of each example given its latent vector. Higher is better."
    if subject.value_name != BOUND:
        return f"Training raises the {subject.value_name}. Higher is better; the scores are bounds."
    return (
        "Training raises a lower bound on the log-likelihood of the data: how well an example is rebuilt, minus what "
        "its latent code costs (the KL divergence). Higher is better."
    )


def configuration(subject: Subject) -> Section:
    """Every setting, as resolved and as asked for."""
    estimator, specification = subject.estimator, subject.estimator.specification_
    names = {
        "event_shape": "shape of an example",
        "latent_dim": "latent dimensions",
        "likelihood_options": "options of the likelihood",
    }
    resolved = [
        (
            names.get(name, name.replace("_", " ")),
            _network(setting) if name in specification.networks else value(setting),
        )
        for name, setting in specification.to_dict().items()
        if subject.has_likelihood or not name.startswith("likelihood")
        if not (subject.is_table and name == "likelihood_options")  # what was recognised, code by code
    ]
    resolved += [
        ("engine", estimator.engine_.summary()),
        ("seed", str(subject.seed)),
        ("stopped", _STOPPED.get(estimator.stopped_, estimator.stopped_)),
    ]
    asked = estimator.get_params(deep=False)
    defaults = _defaults(estimator)
    changed = [(name, value(setting)) for name, setting in asked.items() if not _equal(setting, defaults.get(name))]
    kept = [(name, value(setting)) for name, setting in asked.items() if name not in dict(changed)]
    blocks = [
        Table(rows=resolved, caption="The model, with everything resolved", compact=True),
        Table(
            rows=changed or [("none", "every setting has its default")],
            caption="Settings that were given",
            compact=True,
        ),
        Table(rows=kept, caption="Settings left at their defaults", compact=True),
    ]
    return Section(
        key="configuration",
        heading="Configuration",
        lead="What the model is made of, and the settings it was fitted with. The run's config.yaml holds the same.",
        blocks=blocks,
    )


def _network(choice: Mapping[str, Any]) -> str:
    sizes = choice.get("widths") or choice.get("channels") or ()
    return " ".join([str(choice["network"]), "-".join(str(size) for size in sizes)]).strip()


def _defaults(estimator: Any) -> Mapping[str, Any]:
    defaults: Mapping[str, Any] = type(estimator)().get_params(deep=False)
    return defaults


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and isinstance(a, (str, int, float, bool, type(None), tuple, list, dict)) and a == b
