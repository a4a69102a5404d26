"""Do samples have the attributes that were asked for?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, final

import torch
from torch import Tensor
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import derive_seed, generator, isolated_rng
from latentkit.evaluation.classifier import ClassifierFeatures
from latentkit.evaluation.features import in_batches
from latentkit.evaluation.figures import Figure
from latentkit.evaluation.inputs import Numbers, check_integers
from latentkit.evaluation.recognizer import Recognizer, epochs_for, train_recognizer

__all__ = [
    "AttributeControl",
    "AttributeRecognizer",
    "AttributeRegressor",
    "attribute_control",
    "classification_accuracy_score",
]

_WIDTH = 64
_HELD_OUT = 0.1


class AttributeRecognizer(Protocol):
    """What tells an attribute from an example, and says what it is."""

    @property
    def description(self) -> str:
        """What it was trained on, in words."""
        ...

    def predict(self, x: Tensor) -> Tensor:
        """Return the class of each x in model units as an integer from 0, or its number, shape (n,)."""
        ...


@final
class AttributeRegressor:
    """Tells a number from an example: the counterpart of :class:`ClassifierFeatures` for numeric attributes.

    The same network with one output, trained on the mean squared error of standardised values; a tenth of the rows is
    held out and gives `r2`.

    Args:
        x: Training rows in model units, shape (n, *event), at least 20.
        values: The attribute, shape (n,).
        n_epochs: Passes over the rows; by default 2, more where that would be fewer than 500 steps of 128 rows.
        seed: Decides the initial weights, the held-out rows and the order; the caller's random state is left alone.

    Attributes:
        r2: Share of the variance of the held-out values that it explains, at most 1.

    Raises:
        InvalidParameterError: If the shapes do not fit, or the values do not vary or are not finite.

    Example:
        >>> x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
        >>> AttributeRegressor(x, 3.0 * x[:, 0]).r2 > 0.9
        True
    """

    def __init__(self, x: Tensor, values: Tensor, *, n_epochs: int | None = None, seed: int = 0) -> None:
        y = values.detach().to(x.device, torch.float32)
        if x.ndim < 2 or y.shape != x.shape[:1] or x.shape[0] < 20:
            raise InvalidParameterError(
                "a regressor needs at least 20 rows of shape (n, *event) and one number for each; "
                f"got shapes {tuple(x.shape)} and {tuple(y.shape)}."
            )
        self._mean, self._stddev = float(y.mean()), float(y.std())
        if not (math.isfinite(self._stddev) and self._stddev > 0):
            raise InvalidParameterError(
                f"values must be finite and vary; their standard deviation is {self._stddev}. Leave the attribute out."
            )
        epochs = epochs_for(x.shape[0]) if n_epochs is None else check_integer("n_epochs", n_epochs, low=1)
        order = torch.randperm(x.shape[0], generator=generator(seed, "regressor", "held-out"))
        held_out, rows = order.tensor_split([max(2, int(_HELD_OUT * x.shape[0]))])
        with isolated_rng(derive_seed(seed, "regressor"), x.device):
            self._network = Recognizer(tuple(x.shape[1:]), _WIDTH, 1).to(x.device)
        self._network.standardise(x, rows)
        targets = ((y - self._mean) / self._stddev)[:, None]
        order_of_rows = generator(seed, "regressor", "order")
        train_recognizer(
            self._network, x, targets, rows, n_epochs=epochs, order=order_of_rows, loss=functional.mse_loss
        )
        held_out = held_out.to(x.device)
        self.r2 = _r2(y[held_out].double(), self.predict(x[held_out]).double())
        self._n_rows, self._seed = x.shape[0], seed

    @property
    def description(self) -> str:
        """Rows, seed and held-out share of the variance."""
        return f"a regressor trained on {self._n_rows:,} rows (seed {self._seed}, held-out R2 {self.r2:.3f})"

    def predict(self, x: Tensor) -> Tensor:
        """Return the number of each row in the units of the training values, shape (n,)."""
        return in_batches(self._network, x)[:, 0] * self._stddev + self._mean


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeControl:
    """How far samples have the attribute that was asked for.

    Attributes:
        name: Of the attribute; empty for one that was given alone.
        metric: ``"accuracy"`` of classes, or ``"R2"`` of numbers.
        agreement: Of what was asked for with what is recognised in the samples.
        standard_error: Of the accuracy, for the samples that were drawn; None of an R2.
        ceiling: Agreement of the real attribute with what is recognised in held-out rows: what perfect samples
            would have. Classes weigh in it as often as they were asked for.
        chance: What samples that do not heed the attribute would have: for classes, with the frequencies that were
            asked for and recognised, for numbers 0.
        correlation: Of numbers asked for and recognised; None of classes.
        confusion: Samples by class asked for (rows) and class recognised (columns), shape (classes, classes); None of
            numbers.
        computed_with: Samples, held-out rows, and what recognised.
    """

    name: str
    metric: Literal["accuracy", "R2"]
    agreement: float
    standard_error: float | None
    ceiling: float
    chance: float
    correlation: float | None
    confusion: Tensor | None
    computed_with: str

    @property
    def by_class(self) -> Tensor | None:
        """Accuracy of each class that was asked for, NaN where none was, shape (classes,); None of numbers."""
        if self.confusion is None:
            return None
        counts = self.confusion.double()
        return counts.diagonal() / counts.sum(1)

    @property
    def figure(self) -> Figure:
        """The agreement with its ceiling in place of the floor."""
        whose = f" of {self.name}" if self.name else ""
        return Figure(
            name=f"attribute {self.metric}{whose}",
            value=self.agreement,
            better="higher",
            floor=self.ceiling,
            floor_of="held-out rows in place of samples",
            standard_error=self.standard_error,
            computed_with=f"chance {self.chance:.4g}; {self.computed_with}",
        )


def attribute_control(
    samples: Tensor,
    asked: Numbers,
    *,
    recognizer: AttributeRecognizer,
    test: Tensor,
    test_values: Numbers,
    name: str = "",
) -> AttributeControl:
    r"""Ask a recogniser that was trained on real rows whether samples have the attribute that they were drawn with.

    .. math:: A = \frac{1}{n} \sum_i [f(x_i) = c_i] \qquad or \qquad
              R^2 = 1 - \frac{\sum_i (f(x_i) - c_i)^2}{\sum_i (c_i - \bar c)^2}

    with x_i drawn given c_i. For classes this is the GAN-test; it sees wrong and undecided samples, and neither a class
    of which all samples are alike nor copies of the training rows: see :func:`classification_accuracy_score` and
    :func:`measure_samples`. Agreement above the ceiling means samples that are plainer than real rows. The samples may
    be edited rows as well, with the attribute that they were edited towards.

    Args:
        samples: Model units, shape (n, *event), at least 1.
        asked: What each was asked to be, shape (n,): classes as integers from 0, or floats.
        recognizer: Trained on real rows: :class:`ClassifierFeatures` for classes, :class:`AttributeRegressor` for
            numbers, or one of your own.
        test: Rows that the recogniser has not seen.
        test_values: Their attribute.
        name: Of the attribute, for people.

    Raises:
        InvalidParameterError: If shapes do not fit, there are classes on one side and numbers on the other, or a class
            was asked for that no test row has.

    References:
        Shmelkov et al., 2018, How good is my GAN?, arXiv:1807.09499 (GAN-test).

    Example:
        >>> from latentkit.evaluation import ClassifierFeatures
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> y = (x[:, 0] > 0).long()
        >>> seen = ClassifierFeatures(x[:300], y[:300], n_features=8)
        >>> control = attribute_control(x[:100].abs(), y[:100], recognizer=seen, test=x[300:], test_values=y[300:])
        >>> control.agreement < 0.6, control.ceiling > 0.9
        (True, True)
    """
    found, real = recognizer.predict(samples).cpu(), recognizer.predict(test).cpu()
    if found.is_floating_point():
        wanted, true = (_numbers(*pair) for pair in (("asked", asked, found), ("test_values", test_values, real)))
        return _numeric_control(name, wanted, found.double(), true, real.double(), recognizer.description)
    wanted, true = (_classes(*pair) for pair in (("asked", asked, found), ("test_values", test_values, real)))
    return _class_control(name, wanted, found, true, real, recognizer.description)


def classification_accuracy_score(
    samples: Tensor, asked: Numbers, *, recognizer: ClassifierFeatures, test: Tensor, test_values: Numbers
) -> Figure:
    """Classify real rows with a classifier that was trained on samples alone.

    Lower than the ceiling where samples are wrong, and where they are right and too alike to learn from.

    Args:
        samples: Model units, shape (n, *event), at least 20. As many as the rows that `recognizer` was trained on, or
            the two do not compare.
        asked: Their classes, integers from 0.
        recognizer: Trained on real rows: its accuracy on the test rows is the ceiling.
        test: Real rows that neither model nor recogniser has seen.
        test_values: Their classes.

    Raises:
        InvalidParameterError: As for :class:`ClassifierFeatures`.

    References:
        Ravuri and Vinyals, 2019, Classification Accuracy Score for Conditional Generative Models, arXiv:1905.10887.

    Example:
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> y = (x[:, 0] > 0).long()
        >>> seen = ClassifierFeatures(x[:200], y[:200], n_features=8)
        >>> figure = classification_accuracy_score(x[:200], y[:200], recognizer=seen, test=x[200:], test_values=y[200:])
        >>> figure.name, figure.value > 0.9
        ('classification accuracy score', True)
    """
    learnt = ClassifierFeatures(samples, asked, n_features=recognizer.n_features, seed=recognizer.seed)
    true = check_integers("test_values", test_values)
    accuracies = [float((each.predict(test).cpu() == true).double().mean()) for each in (learnt, recognizer)]
    return Figure(
        name="classification accuracy score",
        value=accuracies[0],
        better="higher",
        floor=accuracies[1],
        floor_of="training rows in place of samples",
        standard_error=_binomial_error(accuracies[0], len(true)),
        computed_with=f"{len(samples):,} samples, {len(test):,} test rows; {recognizer.description}",
    )


def _class_control(
    name: str, asked: Tensor, found: Tensor, true: Tensor, real: Tensor, description: str
) -> AttributeControl:
    n_classes = 1 + int(torch.stack([values.max() for values in (asked, found, true, real)]).max())
    confusion = _confusion(asked, found, n_classes)
    held_out = _confusion(true, real, n_classes)
    shares = confusion.sum(1).double() / len(asked)
    absent = (shares > 0) & (held_out.sum(1) == 0)
    if bool(absent.any()):
        raise InvalidParameterError(
            f"test_values has no row of class {int(absent.nonzero()[0])}, which was asked for, so that there is no "
            "ceiling. Give test rows of every class, or do not ask for it."
        )
    recalls = held_out.diagonal().double() / held_out.sum(1).clamp_min(1)
    agreement = float((asked == found).double().mean())
    return AttributeControl(
        name=name,
        metric="accuracy",
        agreement=agreement,
        standard_error=_binomial_error(agreement, len(asked)),
        ceiling=float((shares * recalls).sum()),
        chance=float((shares * confusion.sum(0).double() / len(asked)).sum()),
        correlation=None,
        confusion=confusion,
        computed_with=_sizes(asked, true, description),
    )


def _numeric_control(
    name: str, asked: Tensor, found: Tensor, true: Tensor, real: Tensor, description: str
) -> AttributeControl:
    return AttributeControl(
        name=name,
        metric="R2",
        agreement=_r2(asked, found),
        standard_error=None,
        ceiling=_r2(true, real),
        chance=0.0,
        correlation=float(torch.corrcoef(torch.stack([asked, found]))[0, 1]) if float(found.std()) > 0 else 0.0,
        confusion=None,
        computed_with=_sizes(asked, true, description),
    )


def _confusion(true: Tensor, found: Tensor, n_classes: int) -> Tensor:
    return torch.bincount(true * n_classes + found, minlength=n_classes**2).reshape(n_classes, n_classes)


def _binomial_error(share: float, n: int) -> float:
    return math.sqrt(share * (1.0 - share) / n)


def _r2(true: Tensor, found: Tensor) -> float:
    return 1.0 - float((found - true).square().sum() / (true - true.mean()).square().sum())


def _sizes(asked: Tensor, true: Tensor, description: str) -> str:
    return f"{len(asked):,} samples and {len(true):,} held-out rows; {description}"


def _classes(name: str, values: Numbers, found: Tensor) -> Tensor:
    classes = check_integers(name, values)
    _check_length(name, classes, found)
    if int(classes.min()) < 0:
        raise InvalidParameterError(f"{name} must be classes from 0; got {int(classes.min())}.")
    return classes


def _numbers(name: str, values: Numbers, found: Tensor) -> Tensor:
    numbers = torch.as_tensor(values).detach().cpu().double()
    _check_length(name, numbers, found)
    if not bool(torch.isfinite(numbers).all()) or len(numbers) < 2 or float(numbers.std()) == 0.0:
        raise InvalidParameterError(
            f"{name} must be at least 2 finite numbers that vary: the share of their variance is measured."
        )
    return numbers


def _check_length(name: str, values: Tensor, found: Tensor) -> None:
    if values.shape != found.shape:
        raise InvalidParameterError(
            f"{name} must have one value per row, shape {tuple(found.shape)}; got {tuple(values.shape)}."
        )
