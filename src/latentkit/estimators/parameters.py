"""Checking an estimator's parameters by its declared table."""

from __future__ import annotations

from typing import Any

from sklearn.utils._param_validation import InvalidParameterError as SklearnInvalidParameterError

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion

__all__ = ["EstimatorParameterError", "validate"]


class EstimatorParameterError(InvalidParameterError, SklearnInvalidParameterError):  # type: ignore[misc]
    """A parameter that the estimator's table refuses; both latentkit's and scikit-learn's error."""


def validate(estimator: Any) -> None:
    """Check every parameter of an estimator against its ``_parameter_constraints``.

    Raises:
        EstimatorParameterError: For the first value that is not allowed, with what is.
    """
    try:
        estimator._validate_params()  # noqa: SLF001 (scikit-learn's own way)
    except SklearnInvalidParameterError as error:
        raise EstimatorParameterError(f"{error}{_suggestion(estimator, str(error))}") from None


def _suggestion(estimator: Any, message: str) -> str:
    """The word that was meant, where the parameter that the message names takes words."""
    for name, constraints in estimator._parameter_constraints.items():  # noqa: SLF001 (scikit-learn's own table)
        if message.startswith(f"The {name!r} parameter"):
            words = [word for constraint in constraints for word in getattr(constraint, "options", ())]
            return suggestion(str(getattr(estimator, name)), sorted(words))
    return ""
