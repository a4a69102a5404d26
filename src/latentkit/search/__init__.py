"""Search: settings with which an estimator does best on rows that it has not learnt, by Optuna."""

from latentkit.search.goals import goals
from latentkit.search.preparing import prepare
from latentkit.search.searching import Search
from latentkit.search.space import Choice, Goal, Range
from latentkit.search.study import Study, Trial
from latentkit.search.tuning import choose_latent_dim, tune

__all__ = ["Choice", "Goal", "Range", "Search", "Study", "Trial", "choose_latent_dim", "goals", "prepare", "tune"]
