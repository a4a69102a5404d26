"""Checking an estimator's parameters by its declared table."""

from __future__ import annotations

from typing import Any

from sklearn.utils._param_validation import InvalidParameterError as SklearnInvalidParameterError

from latentkit.core.errors import InvalidParameterError

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
        raise EstimatorParameterError(str(error)) from None
