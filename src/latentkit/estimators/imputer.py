"""Filling the holes of a table, as a step of a scikit-learn pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, ClassVar, Self, final

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from latentkit.core.errors import InvalidParameterError
from latentkit.data import Dataset
from latentkit.data.containers import is_frame
from latentkit.data.table.columns import is_numeral, markers_of
from latentkit.estimators.inputs import validated
from latentkit.estimators.parameters import validate
from latentkit.estimators.vae import VAE

__all__ = ["TableImputer"]


@final
@dataclass(kw_only=True, eq=False, repr=False)
class TableImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    r"""Fills the missing cells of a table with what a variational autoencoder makes of the cells that are there.

    .. math:: \hat x_j = E[x_j \mid x_{obs}] \text{ for numbers}, \qquad
              \hat x_j = \arg\max_c p(x_j = c \mid x_{obs}) \text{ for categories}

    It stands where scikit-learn's imputers stand, takes mixed columns beside numeric ones, fills any pattern of holes
    with one model, and fills rows that it was not fitted on. Rows of fit that are near to a row have a say as well, a
    share :math:`a_j` in each column that is learnt from cells hidden for that
    (:class:`~latentkit.tasks.neighbourhood.Neighbourhood`).

    Args:
        estimator: The VAE to fit, a copy of it; None takes one with its defaults. Kinds of columns, and what becomes of
            categories that were not there, are said to it: ``VAE(kinds={"zip": "categorical"}, unseen="error")``.
        missing_values: What stands for a missing cell besides NaN and None: a text or number, or several, such as
            ``-999`` or ``"?"``; the estimator's own ``na_values`` count as well.
        sample_posterior: Whether cells are filled with a draw of p(x missing given x observed), all of a row together,
            instead of the most likely values; as for multiple imputation with several `random_state`.
        n_draws: Draws of z that the most likely values are averaged over.
        neighbors: Whether near rows have a say in the most likely values. For that up to 10,000 rows of fit are kept in
            this object; False keeps none, and leaves all to the model.
        random_state: Seed of the model and of the draws; None uses the estimator's own.

    Attributes:
        estimator_: The fitted VAE.
        neighbourhood_: Rows of fit among which near ones are looked up; None where they are not.
        n_features_in_: Number of columns.

    References:
        Ivanov et al., 2019, Variational Autoencoder with Arbitrary Conditioning, arXiv:1806.02382. Troyanskaya et al.,
        2001, Missing value estimation methods for DNA microarrays (near rows).

    Example:
        >>> import numpy as np
        >>> from latentkit import VAE
        >>> X = np.array([[1.0, 2.0], [np.nan, 3.0], [7.0, 6.0], [2.0, np.nan]] * 10)
        >>> imputer = TableImputer(VAE(max_epochs=2), random_state=0).fit(X)
        >>> np.isnan(imputer.transform(X)).sum(), imputer.transform(X)[0]
        (np.int64(0), array([1., 2.]))
    """

    estimator: VAE | None = field(default=None, kw_only=False)
    missing_values: Any = np.nan
    sample_posterior: bool = False
    n_draws: int = 8
    neighbors: bool = True
    random_state: int | np.random.RandomState | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [VAE, None],
        "missing_values": "no_validation",  # type: ignore[dict-item]
        "sample_posterior": ["boolean"],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "neighbors": ["boolean"],
        "random_state": ["random_state"],
    }

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn what the columns are, and a model of their rows.

        Args:
            X: Data frame, Arrow table, path of a table, or array of numbers, shape (n, columns), with or without holes.
            y: Ignored.
        Raises:
            DataError: If the data cannot be used.
        """
        validate(self)
        estimator = VAE() if self.estimator is None else clone(self.estimator)
        if self.random_state is not None:
            estimator.set_params(random_state=self.random_state)
        markers = (*markers_of(estimator.na_values), *markers_of(self.missing_values))
        estimator.set_params(na_values=markers)
        data = self._checked(X, reset=True)
        self.estimator_ = estimator.fit(Dataset(data, "memory", "table"))
        looks_up = self.neighbors and not self.sample_posterior
        self.neighbourhood_ = self.estimator_.neighbourhood(data) if looks_up else None
        self.n_features_in_ = len(self.estimator_.schema_.columns)
        return self

    def transform(self, X: Any) -> Any:
        """Return X, in its own form, with its missing cells filled; all others are as they were.

        Args:
            X: Data like those of fit.
        Raises:
            SchemaMismatchError: If the columns are not those of fit.
        """
        check_is_fitted(self)
        data = self._checked(X, reset=False)
        if self.sample_posterior:
            return self.estimator_.recover(data, n_draws=1, result="draws")[0]
        return self.estimator_.recover(data, n_draws=self.n_draws, reference=self.neighbourhood_)

    def _checked(self, X: Any, *, reset: bool) -> Any:
        """X after scikit-learn's checks of arrays; a frame as it is."""
        if is_frame(X):
            if reset:
                self.feature_names_in_ = np.asarray(list(X.columns), dtype=object)
            return X
        texts = [marker for marker in markers_of(self.missing_values) if not is_numeral(marker)]
        if texts:
            raise InvalidParameterError(
                f"missing_values has {texts[0]!r}, which is a text, and X is an array of numbers. Give the number that "
                "stands for a missing cell, or a data frame."
            )
        return validated(self, X, reset=reset, finite="allow-nan")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.non_deterministic = False
        return tags
