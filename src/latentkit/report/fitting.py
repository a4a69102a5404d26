"""How the model was fitted: headline figures, learning curves, settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from latentkit.distributions import GaussianMixturePrior, likelihoods
from latentkit.estimators.describing import with_article
from latentkit.estimators.fitting import BOUND
from latentkit.evaluation import bits_per_dimension
from latentkit.report.charts import curves
from latentkit.report.language import message, said, say, sentence
from latentkit.report.page import Chart, Method, Note, Panels, Section, Table, Tile
from latentkit.report.subject import Subject
from latentkit.report.wording import count, duration, number, shape, value

__all__ = ["configuration", "summary", "tiles", "training"]

#: Rows without which no interval is told.
FEWEST_OF_INTERVAL = 30
_LIKELIHOODS = {
    "bernoulli": message("Bernoulli"),
    "categorical": message("categorical"),
    "gaussian": message("Gaussian"),
    "discretized_logistic": message("discretised logistic"),
}
_STOPPED = {
    "epochs": message("all epochs done"),
    "time": message("the time was up"),
    "patience": message("no more improvement on what was held out"),
}


def summary(subject: Subject) -> str:
    """Say in two sentences what the model is."""
    estimator, specification = subject.estimator, subject.estimator.specification_
    likelihood = said(_LIKELIHOODS.get(specification.likelihood, specification.likelihood))
    with_likelihood = say(", with a {likelihood} likelihood", likelihood=likelihood) if subject.has_likelihood else ""
    name = type(estimator).__name__
    a_name = f"A{with_article(name)[1:]}"
    things = say("images") if subject.is_images else say("rows")
    n = getattr(subject.schema, "n_examples", 0)
    source = ""
    if subject.ex_post is not None:
        source = say(
            " New {things} come from {ex_post} fitted to the latent space after training.",
            things=say("texts") if subject.is_text else say("data"),
            ex_post=_ex_post(subject),
        )
    examples = say("{things} of {event_shape}", things=things, event_shape=shape(subject.event_shape))
    numbers = say("{latent_numbers} each", latent_numbers=count(subject.latent_dim, "latent number"))
    if subject.is_table:
        kinds = say("Categories, numbers and what is missing are learnt together.")
        columns = count(len(subject.schema.columns), "column")
        return say(
            "{a_name} that turns {n:,} rows of {columns} into {numbers}, and back. {kinds}{source}",
            name=name,
            a_name=a_name,
            n=n,
            columns=columns,
            numbers=numbers,
            kinds=kinds,
            source=source,
        )
    if subject.is_text:
        return say(
            "{a_name} that turns {n}texts into {numbers}, and back, token by token.{source}",
            name=name,
            a_name=a_name,
            n=f"{n:,} " if n else "",
            numbers=numbers,
            source=source,
        )
    if not subject.has_encoder:
        return say(
            "{a_name} that makes {examples} out of {numbers}{with_likelihood}.{source}",
            name=name,
            a_name=a_name,
            examples=examples,
            numbers=numbers,
            with_likelihood=with_likelihood,
            source=source,
        )
    if subject.is_discrete:
        grid = " × ".join(map(str, estimator.grid_))
        numbers = say("{grid} codes each, out of a codebook of {n_codes:,}", grid=grid, n_codes=estimator.n_codes_)
        source = say(" New data come from a prior over the codes, trained after the autoencoder.")
    return say(
        "{a_name} that turns {n}{examples} into {numbers}, and back{with_likelihood}.{source}",
        name=name,
        a_name=a_name,
        n=f"{n:,} " if n else "",
        examples=examples,
        numbers=numbers,
        with_likelihood=with_likelihood,
        source=source,
    )


def _ex_post(subject: Subject) -> str:
    """What was fitted to the latent space, in words."""
    if not isinstance(subject.ex_post, GaussianMixturePrior):
        return say("a {prior}", prior=subject.ex_post_name)
    return say("a mixture of {gaussians}", gaussians=count(len(subject.ex_post.log_weights), "Gaussian"))


def tiles(subject: Subject) -> list[Tile]:
    """Headline figures."""
    estimator, history = subject.estimator, subject.estimator.history_
    result = []
    if subject.sample is not None and subject.has_encoder:
        estimate = subject.likelihood
        places, n_importance = subject.scored
        effective = float(estimate.effective_sample_size.median())
        label, of = say("Lower bound on log p(x), mean"), count(len(places), subject.noun)
        how = say(
            "K = {n_importance}, median effective sample size {effective}, {of}",
            n_importance=n_importance,
            effective=number(effective, 2),
            of=of,
        )
        if subject.is_discrete:
            how = say("log p(c) + log p(x given c), {of}", of=of)
        if not estimate.is_bound:
            label = say("log p(x given z) of reconstructions, mean")
            how = say("no bound on log p(x); {of}", of=of)
        mean = estimate.log_likelihood.mean()
        value = say("{mean} nats", mean=number(float(mean)))
        result.append(Tile(value=value, label=label, detail=how, interval=_interval(estimate.log_likelihood)))
        step = grid_step(subject)
        if subject.is_text:
            result.append(
                Tile(
                    value=number(subject.perplexity.per_word),
                    label=say("Perplexity of a word"),
                    detail=say(
                        "{bits_per_byte} bits a byte; lower is better",
                        bits_per_byte=number(subject.perplexity.bits_per_byte, 3),
                    ),
                )
            )
        elif is_mass(subject) or step is not None:
            bits = bits_per_dimension(mean, subject.n_features, step=None if is_mass(subject) else step)
            result.append(
                Tile(
                    value=say("{bits} bits", bits=number(float(bits), 3)),
                    label=say("Per column") if subject.is_table else say("Per dimension"),
                    detail=say("the same bound; lower is better")
                    if estimate.is_bound
                    else say("the same figure; lower is better"),
                )
            )
    best = history[estimator.best_epoch_ - 1] if history else None
    if best is not None and best["validation"] is not None:
        result.append(
            Tile(
                value=f"{number(best['validation'])} {subject.value_unit}",
                label=say("Objective on held-out {nouns}", nouns=subject.nouns),
                detail=say(
                    "{objective}; best epoch, {best_epoch}",
                    objective=subject.value_name,
                    best_epoch=estimator.best_epoch_,
                ),
            )
        )
    if subject.is_discrete:
        used = say(
            "{perplexity} of {n_codes:,}", perplexity=number(estimator.perplexity_, 3), n_codes=estimator.n_codes_
        )
        result.append(Tile(value=used, label=say("Codes in use"), detail=say("perplexity, in the data of fit")))
    result.append(
        Tile(
            value=f"{estimator.n_iter_:,}",
            label=say("Epochs"),
            detail=said(_STOPPED.get(estimator.stopped_, estimator.stopped_)),
        )
    )
    if history:
        rates = [record["samples_per_second"] for record in history]
        result.append(
            Tile(
                value=duration(history[-1]["seconds"]),
                label=say("Training time, autoencoder") if subject.is_discrete else say("Training time"),
                detail=say("{rates} examples a second", rates=number(float(np.median(rates)), 3)),
            )
        )
    sizes = subject.n_parameters
    result.append(
        Tile(
            value=f"{sizes['all']:,}",
            label=say("Parameters"),
            detail=say(", ").join(f"{said(name)} {size:,}" for name, size in sizes.items() if name != "all"),
        )
    )
    engine = estimator.engine_
    parts = [
        engine.precision,
        *([count(engine.threads, "thread")] if engine.device == "cpu" else []),
        *([say("compiled")] if engine.compiled else []),
    ]
    result.append(
        Tile(
            value=engine.device.upper() if engine.device in ("cpu", "mps") else engine.device,
            label=say("Engine"),
            detail=say("{parts}; {measured}", parts=say(", ").join(parts), measured=said(engine.measured)),
        )
    )
    return result


def _interval(scores: Tensor) -> str:
    """Between which values the mean of all rows like these lies, by the normal distribution of means; empty of few."""
    n = len(scores)
    if n < FEWEST_OF_INTERVAL:
        return ""
    mean, error = float(scores.double().mean()), float(scores.double().std()) / n**0.5
    digits = 1 + max(3, math.ceil(math.log10(max(abs(mean), 1.0) / max(error, 1e-12))))
    low, high = (number(mean + sign * 1.96 * error, min(digits, 7)) for sign in (-1, 1))
    return say("95 %: {low} to {high}", low=low, high=high)


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
            heading=say("Training"),
            lead=lead,
            blocks=[Note(text=say("This run has no metrics.jsonl, so there are no learning curves to show."))],
        )
    epochs = [record["epoch"] for record in history]

    def line(name: str) -> list[float | None]:
        return [record[name] for record in history]

    validated = any(record["validation"] is not None for record in history)
    best = estimator.best_epoch_ if validated else None
    objective = {say("training"): line("objective")} | (
        {say("held-out {nouns}", nouns=subject.nouns): line("validation")} if validated else {}
    )
    last = history[(best or len(history)) - 1]
    charts = [
        Chart(
            name="training-objective",
            art=curves(epochs, objective, best=best, unit=subject.value_unit),
            heading=say("Objective"),
            caption=_of_objective(subject),
            alternative=(
                say(
                    "Line chart of the objective over {epochs}: training ends at {end} {unit}{held_out}.",
                    epochs=count(len(epochs), "epoch"),
                    end=number(history[-1]["objective"]),
                    unit=subject.value_unit,
                    held_out=say(
                        ", held-out {nouns} reach {value} in epoch {best}",
                        nouns=subject.nouns,
                        value=number(last["validation"]),
                        best=best,
                    )
                    if validated
                    else "",
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
                art=curves(epochs, {say("log p(x given {given})", given=given): line("log_likelihood")}, best=best),
                heading=say("Reconstruction"),
                caption=say("log p(x given {given}): how well examples come back.", given=given),
                alternative=say(
                    "Line chart of log p(x given {given}); it ends at {end} nats.",
                    given=given,
                    end=number(history[-1]["log_likelihood"]),
                ),
            )
        )
    if subject.has_encoder and not subject.is_deterministic and not (subject.is_discrete and len(set(line("kl"))) == 1):
        charts.append(
            Chart(
                name="training-divergence",
                art=curves(epochs, {"KL": line("kl")}, best=best),
                heading=say("KL divergence"),
                caption=say("What latent codes cost. At 0 they say nothing about the data: the decoder is on its own."),
                alternative=say(
                    "Line chart of the KL divergence; it ends at {end} nats.", end=number(history[-1]["kl"])
                ),
            )
        )
    charts.append(
        Chart(
            name="training-rate",
            art=curves(epochs, {say("learning rate"): line("learning_rate")}, best=best, unit="", is_rate=True),
            heading=say("Learning rate"),
            caption=say("How large the steps were."),
            alternative=say(
                "Line chart of the learning rate; its highest value is {rate:g}.",
                rate=max(line("learning_rate")),  # type: ignore[type-var]
            ),
        )
    )
    kept = (
        say("The weights are those of epoch {best}, the best on held-out {nouns}.", best=best, nouns=subject.nouns)
        if best
        else say("The weights are those of the last epoch, as no {nouns} were held out.", nouns=subject.nouns)
    )
    weight, full = "", ""
    if subject.has_encoder and not (subject.is_deterministic or subject.is_discrete):
        weight, full = say(" and with the weight of the KL term that the epoch had"), say("at full weight and ")
    places = say("tokens") if subject.is_text else say("features")
    in_nats = say(", in nats per example, summed over the {places}", places=places) if subject.has_likelihood else ""
    held_out = say(
        "; the held-out {nouns} are measured at the end of the epoch, {full}with the same noise each time",
        nouns=subject.nouns,
        full=full,
    )
    held_out = held_out if validated else ""
    events = [Note(text=say("During training: {event}", event=said(event))) for event in estimator.events_]
    return Section(
        key="training",
        heading=say("Training"),
        lead=lead,
        blocks=[
            Panels(
                charts=charts,
                size="large",
                caption=say("{kept} The first tenth of the epochs may leave the frame.", kept=kept),
            ),
            *events,
        ],
        method=[
            Method(
                say("Learning curves"),
                say(
                    "Means over the {nouns} of each epoch{in_nats}. The training curve is measured while the "
                    "weights still change{weight}{held_out}.",
                    nouns=subject.nouns,
                    in_nats=in_nats,
                    weight=weight,
                    held_out=held_out,
                ),
            )
        ],
    )


def _of_objective(subject: Subject) -> str:
    """What to see in the curve of the objective."""
    what = sentence(subject.value_name)
    if not subject.has_likelihood:
        return what
    return say(
        "{what} Still rising at the end: too short a training. Held out falling while training rises: overfitting.",
        what=what,
    )


def _aim(subject: Subject) -> str:
    """What training raises, for someone who has not met it before."""
    if not subject.has_likelihood:
        return say(
            "Training is a game: a discriminator learns to tell samples from data, the generator to be "
            "taken for data. The value says who is ahead, and not how good the samples are: look at them."
        )
    if subject.is_deterministic:
        return say(
            "Training raises the log-likelihood of each example given its code: how well it is rebuilt, "
            "minus penalties where there are some. Higher is better."
        )
    if subject.is_discrete:
        return say(
            "Training raises the log-likelihood of each example given its codes, minus their length where"
            " every code is alike, and minus the distance between what the encoder gives and the codes. "
            "Higher is better."
        )
    if not subject.has_encoder:
        return say("Training raises the log-likelihood of each example given its latent vector. Higher is better.")
    if subject.value_name != BOUND:
        return say(
            "Training raises the {objective}. Higher is better; the scores are bounds.", objective=subject.value_name
        )
    return say(
        "Training raises a lower bound on the log-likelihood of the data: how well an example is "
        "rebuilt, minus what its latent code costs (the KL divergence). Higher is better."
    )


def configuration(subject: Subject) -> Section:
    """Every setting, as resolved and as asked for."""
    estimator, specification = subject.estimator, subject.estimator.specification_
    names = {
        "event_shape": message("shape of an example"),
        "latent_dim": message("latent dimensions"),
        "likelihood_options": message("options of the likelihood"),
    }
    resolved = [
        (
            said(names.get(name, name.replace("_", " "))),
            _network(setting) if name in specification.networks else value(setting),
        )
        for name, setting in specification.to_dict().items()
        if subject.has_likelihood or not name.startswith("likelihood")
        if not (subject.is_table and name == "likelihood_options")  # what was recognised, code by code
    ]
    resolved += [
        (say("engine"), said(estimator.engine_.summary())),
        (say("seed"), str(subject.seed)),
        (say("stopped"), said(_STOPPED.get(estimator.stopped_, estimator.stopped_))),
    ]
    asked = estimator.get_params(deep=False)
    defaults = _defaults(estimator)
    changed = [(name, value(setting)) for name, setting in asked.items() if not _equal(setting, defaults.get(name))]
    kept = [(name, value(setting)) for name, setting in asked.items() if name not in dict(changed)]
    blocks = [
        Table(rows=resolved, caption=say("The model, with everything resolved"), compact=True),
        Table(
            rows=changed or [(say("none"), say("every setting has its default"))],
            caption=say("Settings that were given"),
            compact=True,
        ),
        Table(rows=kept, caption=say("Settings left at their defaults"), compact=True),
    ]
    return Section(
        key="configuration",
        heading=say("Configuration"),
        lead=say(
            "What the model is made of, and the settings it was fitted with. The run's config.yaml holds the same."
        ),
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
