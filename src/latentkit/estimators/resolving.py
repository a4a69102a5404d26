"""From what the user asked for, and what the data are, to settings without an ``"auto"``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice, suggestion
from latentkit.core.protocols import Schema
from latentkit.distributions import likelihoods
from latentkit.objectives import kl_schedules, objectives

__all__ = [
    "LikelihoodWarning",
    "default_batch_size",
    "default_epochs",
    "default_latent_dim",
    "default_pace",
    "resolve_kl_schedule",
    "resolve_likelihood",
    "resolve_objective",
]

#: Optimiser steps that "auto" plans for; early stopping ends most trainings before.
STEPS = 10_000

#: Rows of a table of mixed kinds from which on larger batches and steps pay.
MANY_ROWS = 10_000

#: Share of training over which the KL term's weight rises, by default.
KL_WARM_UP = 0.1


class LikelihoodWarning(UserWarning):
    """The likelihood that was asked for does not fit the data's kind, so its figures are no likelihood of the data."""


def default_latent_dim(event_shape: tuple[int, ...]) -> int:
    """Latent dimensions by the size of an example.

    Half the columns of a table, from 1 to 16; 16 for images up to 16 x 16, 32 up to 32 x 32, else 64.

    Example:
        >>> default_latent_dim((4,)), default_latent_dim((1, 28, 28)), default_latent_dim((3, 64, 64))
        (2, 32, 64)
    """
    if len(event_shape) == 1:
        return max(1, min(16, event_shape[0] // 2))
    pixels = math.prod(event_shape[1:])
    return 16 if pixels <= 16**2 else 32 if pixels <= 32**2 else 64


def default_batch_size(n_rows: int, event_shape: tuple[int, ...], *, most_rows: int = 256) -> int:
    """Rows in a step: a power of two, with at least eight steps an epoch for rows of a table, and 32 for images.

    From 8 to `most_rows` for tables, from 16 to 128 for images, of which a step costs so much that few of them must do.

    Example:
        >>> (
        ...     default_batch_size(60_000, (1, 28, 28)),
        ...     default_batch_size(2_000, (1, 28, 28)),
        ...     default_batch_size(150, (4,)),
        ... )
        (128, 32, 16)
    """
    smallest, largest, steps = (8, most_rows, 8) if len(event_shape) == 1 else (16, 128, 32)
    while largest > 8 and largest * math.prod(event_shape) > 1 << 22:
        largest //= 2
    wanted = 1 << int(math.log2(max(smallest, n_rows / steps)))
    return max(1, min(largest, wanted, n_rows))


@dataclass(frozen=True, slots=True)
class Pace:
    """How training goes, where nothing else is asked for.

    Attributes:
        learning_rate: At full strength.
        weight_averaging: Decay of the average of the weights, 0 for none.
        most_rows: Of a table in a step.
    """

    learning_rate: float = 1e-3
    weight_averaging: float = 0.0
    most_rows: int = 256


def default_pace(n_rows: int, *, kind: str, is_private: bool = False) -> Pace:
    """The rate of Adam's paper and the last weights; more where there is much to learn, or steps are noisy.

    A table of mixed kinds with many rows is learnt in less than half of the time by larger steps in larger batches;
    with few rows they only overfit sooner. The average of the weights has columns whose shares are nearer to those of
    the data, and fills holes better (docs/log.md). Steps of private training are mostly noise, which small ones sum up.

    Args:
        n_rows: Number of training examples.
        kind: Of the schema.
        is_private: Whether training is private.

    Example:
        >>> [default_pace(n, kind="table").learning_rate for n in (2_000, 20_000)]
        [0.001, 0.003]
    """
    if is_private:
        return Pace(learning_rate=1e-2, weight_averaging=0.99)
    if kind == "text":
        return Pace(learning_rate=2e-3, weight_averaging=0.998, most_rows=64)
    is_table = kind == "table"
    if is_table and n_rows >= MANY_ROWS:
        return Pace(learning_rate=3e-3, weight_averaging=0.999, most_rows=512)
    return Pace(weight_averaging=0.998) if is_table else Pace()


def default_epochs(steps_per_epoch: int) -> int:
    """Epochs that make about :data:`STEPS` steps, from 20 to 1000."""
    return max(20, min(1000, math.ceil(STEPS / max(1, steps_per_epoch))))


def resolve_likelihood(
    name: str,
    options: Mapping[str, Any] | None,
    schema: Schema,
    *,
    is_binarized: bool = False,
    word_dropout: float = 0.0,
) -> tuple[str, dict[str, Any]]:
    """Return the likelihood's name and arguments for the kind of these data.

    ``"auto"`` takes Bernoulli for binary data, a discretised logistic for data on a grid of levels (8-bit pixels) and a
    Gaussian with one learnt variance for reals.

    Args:
        name: Of the registry `likelihoods`, or ``"auto"``.
        options: Its arguments.
        schema: What was learnt of the data.
        is_binarized: Whether training takes the values as probabilities of 0 and 1.
        word_dropout: Share of the tokens of texts that the decoder does not see while training.

    Raises:
        InvalidParameterError: If the likelihood has no value for such data at all.
    """
    values: str = "binary" if is_binarized else schema.values  # type: ignore[attr-defined]
    if values == "mixed":
        return _likelihood_of_columns(name, options, schema)
    if values == "text":
        return _likelihood_of_tokens(name, options, schema, word_dropout)
    levels: int | None = 2 if is_binarized else schema.n_levels  # type: ignore[attr-defined]
    arguments = dict(options or {})
    if name == "auto":
        if arguments:
            raise InvalidParameterError(
                f"likelihood_options={arguments!r} need a likelihood to belong to; name it: likelihood='gaussian'."
            )
        name = "bernoulli" if values == "binary" else "discretized_logistic" if levels else "gaussian"
    if likelihoods[name].of_tables or likelihoods[name].of_texts:
        what = "tables of mixed kinds" if likelihoods[name].of_tables else "texts"
        raise InvalidParameterError(
            f"likelihood {name!r} is one of {what}, and these data are {values} numbers. Leave it out."
        )
    if name == "bernoulli" and values == "real":
        raise InvalidParameterError(
            "likelihood 'bernoulli' needs values in [0, 1], and these data are standardised reals. "
            "Use likelihood='gaussian', or give 0/1 data."
        )
    if name == "bernoulli" and values != "binary":
        warnings.warn(
            "a Bernoulli likelihood on data that are not 0/1 is no likelihood of the data: its nats are comparable "
            "only with themselves. Use likelihood='discretized_logistic' for pixels, or binarise the data.",
            LikelihoodWarning,
            stacklevel=4,
        )
    if name in ("discretized_logistic", "categorical"):
        if not levels:
            raise InvalidParameterError(
                f"likelihood {name!r} needs data on a grid of at most 256 levels, such as 8-bit pixels; these are "
                f"{values} values. Use likelihood='gaussian'."
            )
        arguments.setdefault("n_levels" if name == "discretized_logistic" else "n_categories", levels)
    return name, arguments


def _likelihood_of_columns(name: str, options: Mapping[str, Any] | None, schema: Any) -> tuple[str, dict[str, Any]]:
    """The likelihood of a table of mixed kinds, with what its schema learnt of the columns."""
    if name not in ("auto", "columns"):
        raise InvalidParameterError(
            f"likelihood {name!r} is one of numbers, and these data are a table of mixed kinds. Use likelihood='auto', "
            "or give the numbers alone."
        )
    if options:
        raise InvalidParameterError(
            f"likelihood_options={dict(options)!r}: the likelihood of a table follows from its columns. Leave them out."
        )
    return "columns", schema.codes.describe()


def _likelihood_of_tokens(
    name: str, options: Mapping[str, Any] | None, schema: Any, word_dropout: float
) -> tuple[str, dict[str, Any]]:
    """The likelihood of texts, with what their schema learnt of the tokens."""
    if name not in ("auto", "tokens"):
        raise InvalidParameterError(
            f"likelihood {name!r} is one of numbers, and these data are texts. Use likelihood='auto'."
        )
    if options:
        raise InvalidParameterError(
            f"likelihood_options={dict(options)!r}: the likelihood of texts follows from their tokens; word_dropout is "
            "a parameter of its own. Leave them out."
        )
    hidden = {"word_dropout": word_dropout, "unknown": schema.vocabulary.unknown} if word_dropout else {}
    first_byte = schema.vocabulary.first_byte
    bytes_ = {} if first_byte is None else {"first_byte": first_byte}
    return "tokens", {"n_tokens": schema.n_tokens, **bytes_, **hidden}


def resolve_objective(
    name: str,
    *,
    beta: float | Literal["auto"],
    free_bits: float,
    n_importance: int | Literal["auto"],
    options: Mapping[str, Any] | None = None,
    n_data: int | None = None,
) -> tuple[str, dict[str, Any]]:
    """Return the objective's name and arguments; a setting that it does not know is an error, never dropped.

    Args:
        name: Of the registry `objectives`.
        beta: Its weight of that name; ``"auto"`` is the objective's own.
        free_bits: Nats that each latent dimension has for free.
        n_importance: Draws per example; ``"auto"`` is the objective's own.
        options: Arguments beyond these three.
        n_data: Number of training examples, for the objectives that ask for it.

    Raises:
        InvalidParameterError: If the objective is unknown or cannot honour one of the settings.

    Example:
        >>> resolve_objective("iwae", beta="auto", free_bits=0.0, n_importance="auto")
        ('iwae', {'n_importance': 5})
        >>> resolve_objective("dip", beta=2.0, free_bits=0.0, n_importance="auto", options={"version": "ii"})
        ('dip', {'beta': 2.0, 'version': 'ii'})
    """
    kind = objectives[name]
    accepted = {item.name: item.default for item in fields(kind)}  # type: ignore[arg-type]
    neutral: dict[str, tuple[Any, Any]] = {"beta": (beta, 1.0), "free_bits": (free_bits, 0.0)}
    arguments: dict[str, Any] = {}
    for option, (value, default) in neutral.items():
        if option in accepted:
            arguments[option] = accepted[option] if value == "auto" else value
        elif value not in ("auto", default):
            raise InvalidParameterError(
                f"objective {name!r} has no {option}; got {option}={value!r}. Use objective='elbo', or leave it out."
            )
    if arguments.get("free_bits") and arguments.get("beta") == 0.0:
        raise InvalidParameterError(
            f"beta=0 drops the KL term, of which free_bits={free_bits!r} would leave a part free. Leave one of them "
            "out."
        )
    if "n_importance" in accepted:
        arguments["n_importance"] = accepted["n_importance"] if n_importance == "auto" else n_importance
    elif n_importance not in ("auto", 1):
        raise InvalidParameterError(
            f"objective {name!r} draws one z per example; got n_importance={n_importance!r}. "
            "Use objective='iwae' or 'dreg' for several."
        )
    if n_data is not None and "n_data" in accepted:
        arguments["n_data"] = n_data
    return name, {**arguments, **_own_options(name, options or {}, accepted)}


def _own_options(name: str, options: Mapping[str, Any], accepted: Iterable[str]) -> Mapping[str, Any]:
    """The options, once each is known to be one that belongs to the objective alone."""
    shared = ("beta", "free_bits", "n_importance")
    own = [field for field in accepted if field not in shared]
    for option in options:
        if option in shared:
            raise InvalidParameterError(
                f"objective_options has {option!r}, which is a parameter of its own. Use "
                f"{option}={options[option]!r} beside objective={name!r}."
            )
        if option not in own:
            raise InvalidParameterError(
                f"objective_options has {option!r}, which objective {name!r} does not know; it takes "
                f"{', '.join(own) or 'no options'}.{suggestion(str(option), own)}"
            )
    return options


def resolve_kl_schedule(name: str, warm_up: float) -> Callable[[float], float]:
    """Return the schedule of the KL term's weight; `warm_up` is its ramp, where it has one.

    Raises:
        InvalidParameterError: If there is no schedule of this name, or it has no ramp and another one than the default
            is asked for.
    """
    check_choice("kl_schedule", name, kl_schedules.names())
    kind: Any = kl_schedules[name]
    known = {item.name for item in fields(kind)}
    if "fraction" not in known and warm_up not in (0.0, KL_WARM_UP):
        raise InvalidParameterError(
            f"kl_schedule {name!r} has no warm-up of its own length; got kl_warm_up={warm_up!r}. Use "
            "kl_schedule='linear', or leave it out."
        )
    if "fraction" in known:
        schedule: Callable[[float], float] = kind(fraction=warm_up) if warm_up else kl_schedules["constant"]()
        return schedule
    schedule = kind()
    return schedule
