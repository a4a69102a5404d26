"""Estimators by name, as ``config.yaml`` calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentkit.core.registry import Registry

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

__all__ = ["estimators", "name_of"]

estimators: Registry[type[BaseEstimator]] = Registry("estimator")


def name_of(kind: type[BaseEstimator]) -> str:
    """Return the name under which a class of estimators is registered."""
    return next(name for name in estimators if estimators[name] is kind)
