"""What is searched: dimensions, those that are recognised from data and family, and those that a user names."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, final

from latentkit.core.columns import ColumnCodes
from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion
from latentkit.core.tokens import TokenCodes
from latentkit.distributions import likelihoods
from latentkit.estimators.resolving import default_batch_size, default_pace
from latentkit.estimators.specifying import TEXT_LATENTS, resolve_latent_dim
from latentkit.estimators.vae import FREE_BITS_OF_TABLES, FREE_NATS_OF_TEXTS
from latentkit.models import resolve_network
from latentkit.nn import NetworkSpec

__all__ = [
    "Choice",
    "Dimension",
    "Goal",
    "Range",
    "Space",
    "Value",
    "completed_space",
    "dimension_from_dict",
    "grid_values",
    "recognise_space",
    "settings_of",
]

Value: TypeAlias = Any
#: What a study is for.
Goal: TypeAlias = Literal["nll", "samples", "detect", "compress", "impute"]

#: Dimensions that stand for the sizes of encoder and decoder together, which are then sized alike.
WIDTH, DEPTH = "width", "depth"
#: Numbers that a categorical likelihood may give for an example, at most: it has one for each level.
MOST_CATEGORIES = 50_000
#: Values of a range that a grid takes.
GRID_POINTS = 5
#: Ratio of the ends of a range of positive numbers from which on it is searched on a logarithmic scale.
WIDE = 20.0


@final
@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Args:
        low: The smallest.
        high: The largest.
        log: Whether ratios count rather than differences.
        is_integer: Whether only whole numbers are meant.
        step: Of whole numbers on a linear scale.

    Raises:
        InvalidParameterError: If it is empty, or logarithmic and not above 0.

    Example:
        >>> str(Range(1e-4, 1e-2, log=True)), str(Range(2, 64, log=True, is_integer=True))
        ('0.0001 to 0.01, logarithmic', '2 to 64, whole, logarithmic')
    """

    low: float
    high: float
    log: bool = False
    is_integer: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        ends = (self.low, self.high)
        if not all(isinstance(end, Real) and math.isfinite(end) for end in ends) or self.low >= self.high:
            raise InvalidParameterError(
                f"a range goes from a number to a larger one; got {self.low!r} to {self.high!r}. To keep a setting, "
                "set it and leave it out of the search."
            )
        if self.log and self.low <= 0:
            raise InvalidParameterError(f"a logarithmic range lies above 0; got {self.low!r} to {self.high!r}.")

    def __str__(self) -> str:
        steps = f", in steps of {self.step}" if self.step > 1 else ""
        return f"{self.low:g} to {self.high:g}{', whole' * self.is_integer}{steps}{', logarithmic' * self.log}"

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return not self.is_integer or (value == int(value) and (value - self.low) % self.step == 0)

    def at(self, place: float) -> float:
        """The value at a place between 0, the lower end, and 1, the upper one."""
        low, high = self._ends
        value = low + (high - low) * place
        value = math.exp(value) if self.log else value
        if self.is_integer:
            most = (self.high - self.low) // self.step
            return int(self.low + self.step * min(round((value - self.low) / self.step), most))
        return min(max(value, self.low), self.high)

    def place(self, value: float) -> float:
        """Where a value stands between 0, the lower end, and 1, the upper one."""
        low, high = self._ends
        return ((math.log(value) if self.log else value) - low) / (high - low)

    @property
    def _ends(self) -> tuple[float, float]:
        return (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)

    def to_dict(self) -> dict[str, Any]:
        """The range as JSON values."""
        values = {"low": self.low, "high": self.high, "log": self.log, "is_integer": self.is_integer, "step": self.step}
        return {"kind": "range", **values}


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values.

    Args:
        values: At least two, each of which JSON can write; tuples are those of widths.

    Raises:
        InvalidParameterError: If there are fewer.

    Example:
        >>> str(Choice(("normal", "vamp"))), str(Choice(((500, 500), (200,))))
        ('normal, vamp', '(500, 500), (200,)')
    """

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise InvalidParameterError(
                f"a choice is between two values or more; got {list(self.values)!r}. To keep a setting, set it and "
                "leave it out of the search."
            )

    def __str__(self) -> str:
        return ", ".join(str(value) for value in self.values)

    def __contains__(self, value: object) -> bool:
        return any(value == known for known in self.values)

    @property
    def labels(self) -> tuple[str, ...]:
        """A text for each value, by which a storage knows it."""
        return tuple(json.dumps(value) for value in self.values)

    @property
    def is_ordered(self) -> bool:
        """Whether the values are numbers, of which one lies between others."""
        return all(_is_number(value) for value in self.values)

    def at(self, place: float) -> Value:
        """The value whose share of [0, 1] a place lies in."""
        return self.values[min(int(place * len(self.values)), len(self.values) - 1)]

    def place(self, value: Value) -> float:
        """The middle of the share of [0, 1] that a value has."""
        return (self.values.index(value) + 0.5) / len(self.values)

    def to_dict(self) -> dict[str, Any]:
        """The choice as JSON values."""
        return {"kind": "choice", "values": list(self.values)}


Dimension: TypeAlias = Range | Choice
Space: TypeAlias = Mapping[str, Dimension]


def dimension_from_dict(values: Mapping[str, Any]) -> Dimension:
    """Return the dimension that ``to_dict`` wrote."""
    if values["kind"] == "choice":
        return Choice(tuple(tuple(value) if isinstance(value, list) else value for value in values["values"]))
    return Range(**{name: value for name, value in values.items() if name != "kind"})


def grid_values(dimension: Dimension) -> list[Value]:
    """Return the values that a grid takes of a dimension: all of a choice, five of a range.

    Example:
        >>> grid_values(Range(1, 100, log=True, is_integer=True)), grid_values(Choice(("a", "b")))
        ([1, 3, 10, 32, 100], ['a', 'b'])
    """
    if isinstance(dimension, Choice):
        return list(dimension.values)
    return sorted({dimension.at(i / (GRID_POINTS - 1)) for i in range(GRID_POINTS)})


# What is recognised


def recognise_space(estimator: Any, n_rows: int, goal: Goal) -> tuple[dict[str, Dimension], dict[str, Value]]:
    """Return what is worth searching, and where it would stand by default.

    A parameter that the user has set stays as it is. Bounds lie around what the estimator would choose for these data.

    Args:
        estimator: Has learnt its ``schema_``, and nothing else.
        n_rows: Rows to learn from.
        goal: What the study is for: it decides whether the KL term is weighed, and whether priors are tried.
    """
    schema, given = estimator.schema_, estimator.get_params(deep=False)
    usual = type(estimator)().get_params(deep=False)
    free = {name for name, value in given.items() if _is_same(value, usual[name])}
    event = tuple(schema.event_shape)
    space: dict[str, Dimension] = {}
    start: dict[str, Value] = {}

    def add(name: str, dimension: Dimension, default: Value, needs: Iterable[str] = ()) -> None:
        if {name.partition(".")[0], *needs} - {WIDTH, DEPTH} <= free:
            space[name] = dimension
            start[name] = default

    if given.get("latent_dim") == "auto" and "encoder" in given and "n_codes" not in given and "n_layers" not in given:
        latent = resolve_latent_dim(estimator)
        most = math.prod(event) if schema.kind != "text" else 8 * latent
        low, high = max(1, latent // 8), max(2, min(8 * latent, most))
        add("latent_dim", Range(low, high, log=True, is_integer=True), min(latent, high))
    for name, (dimension, default) in _sizes(estimator, n_rows).items():
        add(name, dimension, default, needs=("encoder", "decoder"))
    pace = default_pace(n_rows, kind=schema.kind)
    rate = pace.learning_rate
    add("learning_rate", Range(rate / 5, rate * 5, log=True), rate)
    batch = default_batch_size(n_rows, event, most_rows=pace.most_rows)
    sizes = [size for size in (batch // 4, batch // 2, batch, 2 * batch, 4 * batch) if 8 <= size <= max(8, n_rows // 4)]
    if len(sizes) > 1:
        add("batch_size", Choice(tuple(sizes)), batch)
    dropout = estimator._resolve_dropout()  # noqa: SLF001 (of our own)
    add("dropout", Range(0.0, dropout + 0.3), dropout)
    averages = sorted({0.0, 0.99, pace.weight_averaging, 0.999})
    add("weight_averaging", Choice(tuple(averages)), pace.weight_averaging)
    tries_priors = goal in ("nll", "samples") and schema.kind in ("rows", "images")
    if tries_priors:
        add("prior", Choice(("normal", "mixture", "vamp")), "normal", needs=("prior_options", "posterior"))
    if goal not in ("nll", "compress"):
        add("beta", Range(0.1, 10.0, log=True), 1.0, needs=("free_bits", "objective"))
    elif given.get("prior") == "normal" and not tries_priors:  # only that prior can leave bits free
        add("free_bits", Range(0.0, 1.0), _free_bits(estimator), needs=("beta", "objective"))
    for name, (choice, default) in _likelihoods(estimator).items():
        add(name, choice, default, needs=("likelihood", "likelihood_options"))
    if goal == "samples":
        add("ex_post", Choice(("mixture", "flow")), "mixture", needs=("ex_post_options",))
    return space, start


def _is_same(value: Any, usual: Any) -> bool:
    return type(value) is type(usual) and bool(value == usual)


def _free_bits(estimator: Any) -> float:
    """What ``free_bits="auto"`` of a VAE comes to."""
    kind = estimator.schema_.kind
    return FREE_BITS_OF_TABLES if kind == "table" else FREE_NATS_OF_TEXTS / TEXT_LATENTS if kind == "text" else 0.0


def _sizes(estimator: Any, n_rows: int) -> dict[str, tuple[Dimension, Value]]:
    """Width and depth of the networks, where encoder and decoder are sized by default."""
    if getattr(estimator, "encoder", None) != "auto" or getattr(estimator, "decoder", None) != "auto":
        return {}
    if {"n_layers", "n_codes"} & set(estimator.get_params(deep=False)):
        return {}  # ladders and grids of codes have sizes of their own
    kind, usual = _networks(estimator, n_rows)
    if kind == "conv":
        step = 8 if usual[0] > 8 else 4
        return {WIDTH: (Range(step, 2 * usual[0], is_integer=True, step=step), usual[0] // step * step)}
    width = Range(max(8, usual[0] // 8), 2 * usual[0], log=True, is_integer=True)
    return {WIDTH: (width, usual[0]), DEPTH: (Range(1, 3, is_integer=True), min(3, len(usual)))}


def _networks(estimator: Any, n_rows: int) -> tuple[str, tuple[int, ...]]:
    """Name and sizes of the decoder that ``"auto"`` means."""
    schema = estimator.schema_
    likelihood, options = estimator._resolve_likelihood()  # noqa: SLF001 (of our own)
    columns = ColumnCodes.from_description(options) if likelihoods[likelihood].of_tables else None
    tokens = TokenCodes(schema.n_tokens, schema.max_length) if likelihoods[likelihood].of_texts else None
    spec: NetworkSpec = "auto"
    choice = resolve_network(spec, tuple(schema.event_shape), n_rows=n_rows, columns=columns, tokens=tokens)
    return str(choice["network"]), tuple(choice.get("widths") or choice["channels"])


def _likelihoods(estimator: Any) -> dict[str, tuple[Choice, Value]]:
    """Likelihoods between which the kind of the data leaves a choice, and which give comparable figures."""
    schema = estimator.schema_
    if "likelihood" not in estimator.get_params(deep=False) or schema.kind not in ("rows", "images"):
        return {}
    if schema.values == "real":
        return {"likelihood_options.variance": (Choice(("shared", "feature", "network")), "shared")}
    levels = schema.n_levels if schema.values != "binary" else None
    if levels and levels * math.prod(schema.event_shape) <= MOST_CATEGORIES:
        return {"likelihood": (Choice(("discretized_logistic", "categorical")), "discretized_logistic")}
    return {}


# What the user names


def completed_space(
    recognised: Space,
    asked: Mapping[str, Any],
    *,
    only: bool,
    known: Sequence[str],
    fixed: Iterable[str] = (),
) -> dict[str, Dimension]:
    """Return the recognised space with what the user asks for in its place.

    Args:
        recognised: Dimensions by name.
        asked: By name: a dimension; a pair of numbers ``(low, high)``; a list of values; or None for the recognised
            dimension of this name.
        only: Whether nothing but `asked` is searched.
        known: Names of parameters.
        fixed: Names of parameters that the user has set.

    Raises:
        InvalidParameterError: If a name is unknown, is set and searched, has no recognised dimension and none is given;
            or if nothing is left to search.

    Example:
        >>> space = {"latent_dim": Range(1, 8, is_integer=True), "dropout": Range(0.0, 0.3)}
        >>> completed_space(space, {"latent_dim": (2, 4)}, only=True, known=["latent_dim", "dropout"])
        {'latent_dim': Range(low=2, high=4, log=False, is_integer=True, step=1)}
    """
    space = {} if only else dict(recognised)
    names = sorted({*known, *recognised, WIDTH, DEPTH})
    for name, value in asked.items():
        root = name.partition(".")[0]
        if root not in names:
            raise InvalidParameterError(
                f"search: there is no setting {name!r}.{suggestion(name, names)} Choose one of: {', '.join(names)}."
            )
        if root in fixed:
            raise InvalidParameterError(f"{name} is set to one value and searched. Leave one of them out.")
        if name in (WIDTH, DEPTH) and name not in recognised:
            raise InvalidParameterError(
                f"search: {name} sizes encoder and decoder where both are 'auto', and here they are not. Search "
                "encoder or decoder instead."
            )
        for other in [other for other in space if _excludes(root, other)]:
            del space[other]
        space[name] = _dimension(name, value, recognised.get(name))
    if not space:
        raise InvalidParameterError(
            "there is nothing to search: every setting that could be is set, or left out. Name one, such as "
            f"latent_dim; these could be: {', '.join(recognised) or 'none'}."
        )
    return space


def _excludes(root: str, other: str) -> bool:
    """Whether a parameter that is searched says what another dimension says."""
    sizes = root in ("encoder", "decoder") and other in (WIDTH, DEPTH)
    return sizes or (root in ("likelihood", "likelihood_options") and other.partition(".")[0].startswith("likelihood"))


def _dimension(name: str, value: Any, recognised: Dimension | None) -> Dimension:
    if isinstance(value, Range | Choice):
        return value
    if value is None:
        if recognised is None:
            raise InvalidParameterError(
                f"search: nothing is recognised for {name} with these data. Say what to try, as in {name}=1:10 or "
                f"{name}=a,b."
            )
        return recognised
    if isinstance(value, tuple) and len(value) == 2 and all(_is_number(end) for end in value):
        low, high = value
        whole = all(isinstance(end, Integral) for end in value)
        if isinstance(recognised, Range):
            return Range(low, high, log=recognised.log and low > 0, is_integer=recognised.is_integer)
        return Range(low, high, log=low > 0 and high / low >= WIDE, is_integer=whole)
    if isinstance(value, list | tuple):
        return Choice(tuple(value))
    raise InvalidParameterError(
        f"search: {name} takes a pair of numbers (low, high), a list of values, or None; got {value!r}."
    )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


# From a point of the space to settings


def settings_of(estimator: Any, n_rows: int, point: Mapping[str, Value]) -> dict[str, Any]:
    """Return the parameters of the estimator that a point of the space stands for.

    Args:
        estimator: As for :func:`recognise_space`.
        n_rows: Likewise.
        point: Values by the names of dimensions.
    """
    settings: dict[str, Any] = {}
    for name, value in point.items():
        root, dot, inner = name.partition(".")
        if name in (WIDTH, DEPTH):
            continue
        if dot:
            settings[root] = {**(settings.get(root) or getattr(estimator, root) or {}), inner: value}
        else:
            settings[name] = value
    if "likelihood_options" in settings and getattr(estimator, "likelihood", None) == "auto":
        settings.setdefault("likelihood", "gaussian")
    if WIDTH in point or DEPTH in point:
        kind, usual = _networks(estimator, n_rows)
        width = int(point.get(WIDTH, usual[0]))
        sizes: tuple[Any, ...] = (width,) * int(point.get(DEPTH, len(usual)))
        if kind == "conv":
            sizes = ("conv", *(max(1, round(size * width / usual[0])) for size in usual))
        settings["encoder"] = settings["decoder"] = sizes
    return settings
