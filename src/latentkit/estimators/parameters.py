"""The parameters that estimators share: written, described and checked once.

scikit-learn reads an estimator's parameters off the signature of its constructor. The constructors here are those of
dataclasses, so that a group of parameters is a base class, and :func:`completed` joins descriptions and checks.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils._param_validation import InvalidParameterError as SklearnInvalidParameterError
from torch import nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion
from latentkit.core.protocols import Schema
from latentkit.estimators.ex_post import ex_post_family, ex_post_name, ex_post_time
from latentkit.estimators.registry import estimators
from latentkit.estimators.resolving import resolve_likelihood
from latentkit.tasks import ex_post_priors
from latentkit.training import is_redrawn

__all__ = [
    "EncoderParameters",
    "EstimatorParameterError",
    "ExPostParameters",
    "NetworkParameters",
    "TableParameters",
    "TrainingParameters",
    "UnknownParameterError",
    "completed",
    "validate",
]

#: Sections of a description that are joined.
ARGS, ATTRIBUTES = "    Args:\n", "    Attributes:\n"

#: Share of the units that are dropped in networks of texts while training, where nothing else is asked for.
DROPOUT_OF_TEXTS = 0.3

Constraints = dict[str, list[Any]]
T = TypeVar("T")


@dataclass(kw_only=True, eq=False, repr=False)
class EncoderParameters:
    """How long a latent vector is, and what gives it.

    Args:
        latent_dim: Number of latent dimensions.
        encoder: ``"auto"``, ``"mlp"``, ``"conv"``, a tuple of hidden widths such as ``(500, 500)``, of a name and sizes
            such as ``("conv", 32, 64)``, or a module of your own, which is copied; of texts ``"lstm"``, which is their
            ``"auto"``, ``"gru"``, ``"transformer"``, or the widths of an LSTM such as ``(256,)``.
    """

    latent_dim: int | Literal["auto"] = field(default="auto", kw_only=False)
    encoder: str | Sequence[int] | nn.Module = "auto"

    _parameter_constraints: ClassVar[Constraints] = {
        "latent_dim": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "encoder": [str, tuple, list, nn.Module],
    }


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkParameters:
    """What a decoder is made of, and what it gives.

    Args:
        decoder: ``"auto"``, ``"mlp"``, ``"conv"``, a tuple of hidden widths such as ``(500, 500)``, of a name and sizes
            such as ``("conv", 32, 64)``, or a module of your own, which is copied; it maps z to the likelihood's
            parameters. Of texts as for the encoder, whatever that is.
        likelihood: ``"bernoulli"``, ``"categorical"``, ``"gaussian"``, ``"discretized_logistic"``, or ``"auto"`` for
            the one that is proper for the kind of the data.
        likelihood_options: Its arguments, such as ``{"variance": "feature"}``.
        activation: Of the networks; ``"auto"`` is each network's own.
        normalization: ``"auto"``, ``"none"``, ``"batch"``, ``"layer"`` or ``"group"``.
        dropout: Probability with which a hidden unit is dropped while training; ``"auto"`` is 0.3 for texts, which are
            soon known by heart, and 0 for other data and with `epsilon`.
        upsampling: ``"transposed"`` or ``"nearest"``, of a convolutional decoder; beside a discriminator ``"auto"``,
            which is the latter.
    """

    decoder: Any = "auto"
    likelihood: str = "auto"
    likelihood_options: Mapping[str, Any] | None = None
    activation: str = "auto"
    normalization: str = "auto"
    dropout: float | Literal["auto"] = "auto"
    upsampling: Literal["transposed", "nearest"] = "transposed"

    _parameter_constraints: ClassVar[Constraints] = {
        "decoder": [str, tuple, list, nn.Module],
        "likelihood": [str],
        "likelihood_options": [dict, None],
        "activation": [str],
        "normalization": [str],
        "dropout": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "upsampling": [StrOptions({"transposed", "nearest"})],
    }

    def _resolve_dropout(self) -> float:
        """As asked for; of texts some, or they would be known by heart after a few epochs."""
        if self.dropout != "auto":
            return float(self.dropout)
        schema: Schema = getattr(self, "schema_")  # noqa: B009 (of the data intake, which comes with fit)
        return DROPOUT_OF_TEXTS if schema.kind == "text" and not getattr(self, "_is_private", False) else 0.0

    def _resolve_likelihood(self) -> tuple[str, dict[str, Any]]:
        """The likelihood that is proper for the learnt schema, and its arguments."""
        binarized = is_redrawn(getattr(self, "augmentation", None))
        schema: Schema = getattr(self, "schema_")  # noqa: B009 (of the data intake, which comes with fit)
        hidden = getattr(self, "word_dropout", "auto")
        return resolve_likelihood(
            self.likelihood,
            self.likelihood_options,
            schema,
            is_binarized=binarized,
            word_dropout=0.0 if hidden == "auto" else float(hidden),
        )


@dataclass(kw_only=True, eq=False, repr=False)
class TableParameters:
    """How tables are read; where one of these is given, the data are taken as a table of mixed kinds.

    Args:
        kinds: Kinds of columns of a table, by name, where what is recognised is not wanted, such as ``{"zip":
            "categorical"}``; a sequence of categories, ``{"size": ["S", "M", "L"]}``, means that they are in this
            order. The kinds are those of :data:`~latentkit.data.table.recognition.ColumnKind`.
        na_values: What stands for a missing cell of a table besides NaN, None and empty texts (in files also
            ``NA``, ``?`` and their like): a text or number, or several, such as ``-999``.
        unseen: What becomes of a category of a table that was not there in fit: ``"unknown"`` takes the cell as one of
            which nothing is known, with a warning that counts; ``"error"`` refuses it.
    """

    _takes_tables: ClassVar[bool] = True

    kinds: Mapping[Any, str | Sequence[str]] | None = None
    na_values: Any = None
    unseen: Literal["unknown", "error"] = "unknown"

    _parameter_constraints: ClassVar[Constraints] = {
        "kinds": [dict, None],
        "na_values": [str, Real, tuple, list, None],
        "unseen": [StrOptions({"unknown", "error"})],
    }

    def _table_options(self) -> dict[str, Any]:
        """What is asked here, without what is left as it is."""
        asked = {name: getattr(self, name) for name in ("kinds", "na_values", "unseen")}
        return {name: value for name, value in asked.items() if value not in (None, {}, (), [], "unknown")}


@dataclass(kw_only=True, eq=False, repr=False)
class TextParameters:
    """How texts are cut into tokens and learnt; where one of these is given, the data are taken as texts.

    Args:
        vocabulary: Of texts: ``"subwords"`` that suit them, from which every text comes back to the byte; ``"words"``
            between blanks; or the words themselves, ``<unk>`` among them, or the path of a ``.txt`` file of them.
        n_tokens: Tokens of that vocabulary at most; ``"auto"`` is as many as suit the texts.
        max_length: Tokens of a text at most; longer ones are cut. ``"auto"`` is the longest text's, up to 512.
        word_dropout: Share of the tokens that the decoder of texts does not see while training, so that it asks z.
    """

    _takes_texts: ClassVar[bool] = True

    vocabulary: str | Sequence[str] = "subwords"
    n_tokens: int | Literal["auto"] = "auto"
    max_length: int | Literal["auto"] = "auto"
    word_dropout: float | Literal["auto"] = "auto"

    _parameter_constraints: ClassVar[Constraints] = {
        "vocabulary": [str, tuple, list],
        "n_tokens": [StrOptions({"auto"}), Interval(Integral, 3, None, closed="left")],
        "max_length": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "word_dropout": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both")],
    }

    def _text_options(self) -> dict[str, Any]:
        """What is asked here, without what is left as it is."""
        asked = {name: getattr(self, name) for name in ("vocabulary", "n_tokens", "max_length", "word_dropout")}
        return {name: value for name, value in asked.items() if value not in ("auto", "subwords")}


@dataclass(kw_only=True, eq=False, repr=False)
class ExPostParameters:
    """The prior that is fitted after training.

    Args:
        ex_post: Prior that is fitted to the posteriors after training, from which :meth:`sample` draws: a Gaussian
            ``"mixture"``, a coupling ``"flow"``, ``"flow_matching"``, a ``"second_stage"`` autoencoder of the latent
            vectors; or ``"none"``. All but the mixture are trained, in a tenth of `max_time`.
        ex_post_options: Its arguments, such as ``{"n_components": 100}``; a mixture's ``"auto"`` number is chosen by
            held-out examples.

    Attributes:
        ex_post_prior_: The prior that was fitted after training, or None.
        class_priors_: Those of the classes, where labels were given.
        condition_prior_: The one given a condition, where conditions were given, or None.
        classes_: Names of the classes, where labels were given.
    """

    ex_post: str = "mixture"
    ex_post_options: Mapping[str, Any] | None = None

    _parameter_constraints: ClassVar[Constraints] = {
        "ex_post": [StrOptions({*ex_post_priors, "none"})],
        "ex_post_options": [dict, None],
    }

    def _check_ex_post(self) -> None:
        if ex_post_name(self) == "none" and self.ex_post_options:
            raise InvalidParameterError(
                f"ex_post={self.ex_post!r} fits no prior that could have ex_post_options={self.ex_post_options!r}. Use "
                "ex_post='mixture', or leave them out."
            )
        ex_post_family(self)

    def _ex_post_cites(self) -> tuple[str, ...]:
        name = ex_post_name(self)
        return () if name == "none" else ex_post_priors.cites(name)

    def _training_time(self, max_time: float) -> float:
        return max_time - (ex_post_time(self) or 0.0)


@dataclass(kw_only=True, eq=False, repr=False)
class TrainingParameters:
    """How a model is trained.

    Args:
        max_epochs: Passes over the data; ``"auto"`` makes about 10,000 steps, or as many as `max_time` allows.
        max_time: Time budget: seconds, or a text such as ``"5m"``. It steers the learning rate too.
        batch_size: Rows in a step; ``"auto"`` goes by the number and kind of rows.
        augmentation: What is drawn anew of each example whenever it is used, one name or several: ``"binarize"`` takes
            grey values as probabilities of 0 and 1 (dynamic binarisation), ``"shift"`` moves images by up to a pixel,
            ``"flip"`` mirrors half of them. None for nothing.
        optimizer: Any optimiser of ``torch.optim`` by name.
        optimizer_options: Its arguments, such as ``{"betas": (0.9, 0.99)}``.
        learning_rate: At full strength; ``"auto"`` is 1e-3, for tables of mixed kinds with 10,000 rows or more 3e-3,
            and 1e-2 where training is private.
        schedule: ``"cosine"``, ``"constant"``, ``"step"``, ``"exponential"`` or ``"plateau"``.
        warm_up: Share of training over which the learning rate rises.
        weight_decay: Of weight matrices.
        gradient_clip: Largest norm of the gradient; None for no clipping.
        weight_averaging: Decay of an exponential moving average of the weights, which is then used; 0 for none.
            ``"auto"`` is 0.998 for tables of mixed kinds, 0.999 for those with 10,000 rows or more, 0.99 where training
            is private, and else 0.
        validation_fraction: Share of the rows held out to stop early and keep the best state; 0 for none.
        patience: Epochs without improvement before training stops; ``"auto"`` is a tenth of max_epochs, at least 10;
            None never stops.
        precision: ``"float32"``, ``"bfloat16"``, or ``"auto"`` to measure which is faster.
        compile: Whether the training step goes through ``torch.compile``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        warm_start: Whether ``fit`` goes on from the weights of the fit before, with a fresh optimiser, such as to other
            data or another objective; it then needs the same networks.
        random_state: Seed; with an int the same data give the same model, unless training is private.
        verbose: 0 is silent; 1 shows progress on standard error.
    """

    max_epochs: int | Literal["auto"] = "auto"
    max_time: float | str | None = None
    batch_size: int | Literal["auto"] = "auto"
    augmentation: str | Sequence[str] | None = None
    optimizer: str = "adam"
    optimizer_options: Mapping[str, Any] | None = None
    learning_rate: float | Literal["auto"] = "auto"
    schedule: str = "cosine"
    warm_up: float = 0.02
    weight_decay: float = 0.0
    gradient_clip: float | None = None
    weight_averaging: float | Literal["auto"] = "auto"
    validation_fraction: float = 0.1
    patience: int | Literal["auto"] | None = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    device: str = "auto"
    warm_start: bool = False
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0

    _parameter_constraints: ClassVar[Constraints] = {
        "max_epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_time": [str, Interval(Real, 0, None, closed="neither"), None],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "augmentation": [str, tuple, list, None],
        "optimizer": [str],
        "optimizer_options": [dict, None],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "schedule": [str],
        "warm_up": [Interval(Real, 0, 1, closed="both")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "gradient_clip": [Interval(Real, 0, None, closed="neither"), None],
        "weight_averaging": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "patience": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), None],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "compile": ["boolean"],
        "device": [str],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }


def completed(kind: type[T]) -> type[T]:
    """Complete an estimator: its description and its table of checks get those of the classes that it inherits.

    What it describes itself it describes in its own words, and first.
    """
    groups = [base for base in kind.__mro__[1:] if "_parameter_constraints" in vars(base) and is_dataclass(base)]
    own = vars(kind).get("_parameter_constraints", {})
    tables: list[Constraints] = [vars(group)["_parameter_constraints"] for group in groups]
    rules = {name: rule for table in (*reversed(tables), own) for name, rule in table.items()}
    kind._parameter_constraints = rules  # type: ignore[attr-defined]  # noqa: SLF001 (scikit-learn's own table)
    described = [_described(base) for base in (*groups, *(base for base in kind.__mro__[1:] if base not in groups))]
    arguments, attributes = ([line for sections in described for line in sections[part]] for part in (ARGS, ATTRIBUTES))
    kind.__doc__ = _joined(_joined(kind.__doc__ or "", ARGS, arguments), ATTRIBUTES, attributes)
    _explain_unknown(kind)
    return kind


def _explain_unknown(kind: type[Any]) -> None:
    """Let the constructor say of a parameter that it does not have which estimators do."""
    make = kind.__init__
    known = list(inspect.signature(make).parameters)[1:]

    @functools.wraps(make)
    def construct(self: Any, *arguments: Any, **settings: Any) -> None:
        for name, value in settings.items():
            if name not in known:
                kinds = [estimators[key] for key in estimators]
                others = [other.__name__ for other in kinds if name in inspect.signature(other).parameters]
                elsewhere = f" {', '.join(others)} {'have' if len(others) > 1 else 'has'} it." if others else ""
                raise UnknownParameterError(
                    f"{kind.__name__} has no parameter {name!r}; got {name}={value!r}.{elsewhere}"
                    f"{'' if others else suggestion(name, known)} Leave it out; help({kind.__name__}) lists what it "
                    "takes."
                )
        make(self, *arguments, **settings)

    kind.__init__ = construct


def validate(estimator: Any) -> None:
    """Check every parameter of an estimator against its ``_parameter_constraints``.

    Raises:
        EstimatorParameterError: For the first value that is not allowed, with what is.
    """
    try:
        estimator._validate_params()  # noqa: SLF001 (scikit-learn's own way)
    except SklearnInvalidParameterError as error:
        raise EstimatorParameterError(f"{error}{_suggestion(estimator, str(error))}") from None


class UnknownParameterError(InvalidParameterError, TypeError):
    """A parameter that the estimator does not have; also the error that Python raises for it."""


class EstimatorParameterError(InvalidParameterError, SklearnInvalidParameterError):  # type: ignore[misc]
    """A parameter that the estimator's table refuses; both latentkit's and scikit-learn's error."""


def _described(group: type) -> dict[str, list[str]]:
    """The lines of a group's own description of its parameters, and of what it has after a fit."""
    doc = vars(group).get("__doc__") or ""
    return {part: _lines(doc, part) for part in (ARGS, ATTRIBUTES)}


def _lines(doc: str, part: str) -> list[str]:
    """The lines of a section."""
    _, _, rest = doc.partition(part)
    return re.split(r"\n\s*\n|\n {4}\Z", rest, maxsplit=1)[0].rstrip().split("\n") if rest else []


def _joined(doc: str, part: str, shared: list[str]) -> str:
    """A description with lines added to a section of it, but for those of names that it describes itself."""
    if shared and part not in doc:  # a section of its own, behind that of the parameters
        before, args, rest = doc.partition(ARGS)
        arguments, blank, after = rest.partition("\n\n")
        return f"{before}{args}{arguments}\n\n{part}" + "\n".join(shared) + f"{blank}{after}"
    head, mark, rest = doc.partition(part)
    own, blank, after = rest.partition("\n\n")
    named = {line.split(":")[0].strip() for line in own.split("\n") if _is_entry(line)}
    kept, is_kept = [], True
    for line in shared:
        if _is_entry(line):
            is_kept = line.split(":")[0].strip() not in named
        if is_kept:
            kept.append(line)
    return f"{head}{mark}" + "\n".join([own, *kept]) + f"{blank}{after}"


def _is_entry(line: str) -> bool:
    """Whether a line begins the description of a name."""
    return re.match(r" {8}\w+:", line) is not None


def _suggestion(estimator: Any, message: str) -> str:
    """The word that was meant, where the parameter that the message names takes words."""
    for name, constraints in estimator._parameter_constraints.items():  # noqa: SLF001 (scikit-learn's own table)
        if message.startswith(f"The {name!r} parameter"):
            words = [word for constraint in constraints for word in getattr(constraint, "options", ())]
            return suggestion(str(getattr(estimator, name)), sorted(words))
    return ""
