"""What an estimator can do whose latents are vectors: score by draws, move along dimensions, recover."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional

from latentkit.core.errors import UnsupportedOperationError
from latentkit.core.parameters import check_choice, check_integer, check_real
from latentkit.core.protocols import LatentVariableModel
from latentkit.core.seeds import derive_seed, generator, row_keys
from latentkit.data import Dataset, read
from latentkit.estimators.archives import ArchiveTasks
from latentkit.estimators.encoding import EncodingTasks
from latentkit.estimators.ex_post import ex_post_family, ex_post_name, fit_ex_post, in_words, without_ex_post
from latentkit.estimators.explaining import LatentExplanation, explain_latents
from latentkit.estimators.generating import VectorPriors
from latentkit.estimators.observed import keep_observed, observe
from latentkit.estimators.precision import model_in
from latentkit.estimators.randomness import python_random_kept
from latentkit.estimators.table_tasks import N_DRAWS, by_column, learn_neighbourhood, recover_table
from latentkit.estimators.text_tasks import GAP, TokenScore, recover_texts, rewrite_texts, tokens_of
from latentkit.evaluation import LikelihoodEstimate, importance_bound, reconstruction_likelihood
from latentkit.models import WithPrior, inference_batch_size
from latentkit.models.inference import iterate_batches
from latentkit.tasks import (
    Neighbourhood,
    complete,
    margin_offsets,
    preferred_tokens,
    reconstruct,
    recover,
    sample_latents,
    score_cells,
    score_tokens,
    traverse,
)
from latentkit.training.progress import Reporter

__all__ = ["VectorTasks"]

#: Importance samples of a bound, where no number is given.
N_IMPORTANCE, N_IMPORTANCE_OF_TEXTS = 64, 16
#: Rows of a table whose completions are drawn at once.
CELL_ROWS = 1024
#: Rows that are drawn to count the shares of columns, at least and at most.
FEWEST_COUNTED, MOST_COUNTED = 20_000, 50_000


class VectorTasks(EncodingTasks, VectorPriors, ArchiveTasks):
    """All tasks, for latents that are vectors of numbers.

    ``X`` is, in every method, what ``fit`` took, and results come back in the same form; see :class:`EncodingTasks`.
    """

    # Score

    def log_likelihood(
        self,
        X: Any,
        *,
        n_importance: int | None = None,
        prior: str = "model",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
    ) -> LikelihoodEstimate:
        """Return the importance-sampled bound on log p(x) for every example, with its effective sample size.

        .. math:: L_K = log 1/K sum_k p(x, z_k) / q(z_k | x),    z_k ~ q(z | x)

        Where q(z given x) is a point, as in a deterministic autoencoder, there is no such bound. What is returned is
        then the log-likelihood of the reconstruction, log p(x | z(x)), which is *no* bound on log p(x): it leaves out
        what the code costs, so that it ranks rows under one model but does not compare models. The result's
        ``estimator`` and ``is_bound`` say which of the two it is.

        Args:
            X: Data like those of fit.
            n_importance: Number of importance samples K; K = 1 is the ELBO, and the bound tightens as K grows. None
                takes 64, and 16 for texts, which take longer.
            prior: p(z) of the bound: the one of training, ``"model"``, or the one that was fitted afterwards, by its
                name, such as ``"mixture"``, from which :meth:`sample` draws; given a condition, p(z given it).
            precision: Of the networks' products; ``"auto"`` is that of training, and always full for float64 data.
        Returns:
            Bounds in nats of the model's units (for standardised columns, of the standardised values) and effective
            sample sizes. Each row's draws depend on its content alone: the same rows give the same numbers in any
            order and any batch.
        Raises:
            UnsupportedOperationError: If the posterior is a point, and `n_importance` or a `prior` is given: neither
                enters log p(x | z(x)). If the prior is a ``"second_stage"``, which has no density.
        References:
            Burda et al., 2016, Importance Weighted Autoencoders, arXiv:1509.00519.
        """
        check_is_fitted(self)
        usual = N_IMPORTANCE_OF_TEXTS if self.schema_.kind == "text" else N_IMPORTANCE
        n_draws = check_integer("n_importance", usual if n_importance is None else n_importance, low=1)
        check_choice("prior", prior, self._prior_names())
        is_point = self.specification_.is_deterministic
        if is_point and (n_importance is not None or prior != "model"):
            given = f"n_importance={n_importance!r}" if n_importance is not None else f"prior={prior!r}"
            raise UnsupportedOperationError(
                f"the codes of this model are points, so its score is log p(x given z) of the reconstruction, without "
                f"importance samples and without a prior; got {given}. Leave it out, or fit a VAE for a bound on "
                "log p(x)."
            )
        storage, dtype, bf16 = self._to_score(X, precision)
        fitted = None
        if prior != "model":
            fitted = copy.deepcopy(self._fitted_prior(prior)).to(device=self._device, dtype=dtype)
        seed = derive_seed(self.seed_, "score")
        estimates: list[LikelihoodEstimate] = []
        order = self._order(storage)
        for rows in torch.split(order, self._batch_size):
            part = storage[rows]
            keys = row_keys(part).to(self._device)
            x = self._to_model(part, dtype)
            model = cast(LatentVariableModel, model_in(self.model_, dtype))
            if fitted is not None:
                model = WithPrior(model, fitted)
            condition = self._condition(dtype, rows)
            with self._products():
                if is_point:
                    estimate = reconstruction_likelihood(model, x, condition=condition, bf16=bf16)
                else:
                    estimate = importance_bound(
                        model, x, n_draws, condition=condition, keys=keys, seed=seed, chunk=self._chunk(x), bf16=bf16
                    )
            estimates.append(estimate)
        return replace(
            estimates[0],
            log_likelihood=torch.cat([estimate.log_likelihood for estimate in estimates])[order.argsort()],
            effective_sample_size=torch.cat([each.effective_sample_size for each in estimates])[order.argsort()],
        )

    def _chunk(self, x: Tensor) -> int | None:
        """Draws that the decoder of texts sees at once; None leaves that of other data to the measurements there."""
        if self.schema_.kind != "text":
            return None
        return inference_batch_size(self.specification_.width * x.shape[1] // self.schema_.max_length)

    def score_cells(self, X: Any, *, n_draws: int = 8) -> NDArray[np.float64]:
        r"""Return how probable each cell of a table is given the other cells of its row.

        .. math:: s_{ij} = \log p(x_{ij} \mid x_{i,-j})

        Args:
            X: A table like that of fit.
            n_draws: Draws of z per row and column.
        Returns:
            Nats, shape (n, columns) in the order of the table's columns; the lowest cells are those that make a row
            unusual. For numbers it is the log-density with respect to the quantiles of the column, so that 0 is as
            probable as in the column as a whole. NaN where a cell is missing or its column is left out.
        Raises:
            UnsupportedOperationError: If the model was not fitted to a table of mixed kinds.
        """
        check_is_fitted(self)
        if self.schema_.kind != "table":
            raise UnsupportedOperationError(
                f"this model was fitted to {self.schema_.kind}, whose features are scored together. Use score_samples, "
                "or fit on a table of mixed kinds."
            )
        n_draws = check_integer("n_draws", n_draws, low=1)
        storage = self.schema_.encode(self._unwrapped(X))
        seed = derive_seed(self.seed_, "score cells")
        scores = self._map_cells(lambda model, x: score_cells(model, x, n_draws=n_draws, seed=seed), storage)[0]
        return by_column(self.schema_, scores)

    def score_tokens(self, X: Any, *, n_draws: int = 8) -> list[list[TokenScore]]:
        r"""Return how probable each token of a text is given those before it, and z.

        .. math:: s_t = \frac{1}{K} \sum_k \log p(x_t \mid x_{<t}, z_k), \qquad z_k \sim q(z \mid x)

        The lowest tokens are those that make a text unusual. Those of a text add up to an estimate of the
        reconstruction term of the bound, which is above :meth:`score_samples` by about the divergence of q(z given x).

        Args:
            X: Texts.
            n_draws: Draws K of z for each text; they depend on its content alone.
        Returns:
            For each text its tokens in their order, as pieces with nats; the last one is its end, whose piece is empty,
            unless the text was cut.
        Raises:
            UnsupportedOperationError: If the model was not fitted to texts.
        """
        check_is_fitted(self)
        if self.schema_.kind != "text":
            raise UnsupportedOperationError(
                f"this model was fitted to {self.schema_.kind}, which have no tokens. Use score_samples, or fit on "
                "texts."
            )
        n_draws = check_integer("n_draws", n_draws, low=1)
        return self._token_scores(self._encode_input(X)[0], n_draws=n_draws)

    def _token_scores(self, storage: Tensor, *, n_draws: int) -> list[list[TokenScore]]:
        """:meth:`score_tokens` of texts as storage."""
        seed = derive_seed(self.seed_, "score tokens")

        def scored(model: Any, x: Tensor, keys: Tensor) -> Tensor:
            return score_tokens(model, x, n_draws=n_draws, keys=keys, seed=seed)

        return tokens_of(self.schema_, storage, self._map_places(scored, storage))

    def _preferred_tokens(self, storage: Tensor) -> Tensor:
        """The most probable token at each place of texts, shape (n, max_length)."""
        return self._map_places(lambda model, x, keys: preferred_tokens(model, x), storage)

    def _map_places(self, function: Callable[[Any, Tensor, Tensor], Tensor], storage: Tensor) -> Tensor:
        """Apply `function` to the model, texts of about one length and their keys; behind their places stands 0."""
        self._check_conditions(len(storage))
        parts, order = [], self._order(storage)
        with self._products():
            for rows in torch.split(order, self._batch_size):
                x, keys = self._to_model(storage[rows], torch.float32), row_keys(storage[rows]).to(self._device)
                found = function(self._model(torch.float32, rows), x, keys).cpu()
                parts.append(functional.pad(found, (0, storage.shape[1] - found.shape[1])))
        return torch.cat(parts)[order.argsort()]

    # Explore and control

    @python_random_kept()
    def explain_latents(
        self,
        X: Any,
        y: Any = None,
        *,
        sensitivity: Literal["gradient", "integrated"] = "gradient",
        n_rows: int = 2000,
        n_dims: int = 16,
        n_exemplars: int = 8,
    ) -> LatentExplanation:
        r"""Return what each latent dimension does: what it carries, tells and looks at; and examples that stand for X.

        - What it *carries*: KL(q(z_j given x), N(0, 1)), nats; see :func:`~latentkit.evaluation.summarize_latents`.
        - What it *tells* about labels and columns: mutual information, nats, beside its floor by permutation; see
          :func:`~latentkit.evaluation.latent_information`.
        - What it *looks at*: how far its posterior mean moves with each feature. Of numbers and pixels it is
          :math:`E|\partial \mu_j / \partial x| \, sd(x)`, or with ``"integrated"`` the mean size of integrated
          gradients against the mean of X. Codes of tables and tokens of texts have no gradient: a cell, or a token,
          becomes that of another row, and the figure is how far the mean moves then.
        - *Directions* of labels and columns, with their score on held-out rows; see :meth:`attribute_direction`.
        - *Prototypes and criticisms* (Kim et al., 2016, MMD-critic): rows that stand for all, and rows that these do
          not speak for.

        Pictures of what a dimension does are those of :meth:`traverse`.

        Args:
            X: Data like those of fit, at least 20 rows.
            y: What dimensions may tell about: one label or number for each row, or several as a mapping from names
                or a data frame. Columns of tables and features of rows are taken without being asked for.
            sensitivity: ``"gradient"`` or ``"integrated"``.
            n_rows: Rows that are looked at, at most, drawn with the estimator's seed.
            n_dims: Dimensions whose sensitivity is measured, those that carry most, at most.
            n_exemplars: Prototypes, and criticisms, at most.
        Raises:
            DataError: If there are too few rows, `y` does not fit, or rows have conditions of their own.
            InvalidParameterError: If an option has a value that it cannot have.
        Example:
            >>> from sklearn.datasets import load_iris
            >>> from latentkit import VAE
            >>> X, y = load_iris(return_X_y=True)
            >>> found = VAE(latent_dim=2, max_epochs=5, random_state=0).fit(X).explain_latents(X, y)
            >>> found.sensitivity.shape, found.attributes[0], len(found.exemplars.prototypes)
            ((2, 4), 'label', 8)
        """
        check_is_fitted(self)
        return explain_latents(
            self,
            X,
            y,
            sensitivity=sensitivity,
            n_rows=n_rows,
            n_dims=n_dims,
            n_exemplars=n_exemplars,
            seed=self.seed_,
        )

    def traverse(
        self, x: Any = None, *, dim: int, steps: int = 9, span: float = 3.0, values: Sequence[float] | None = None
    ) -> Any:
        """Return examples that differ in one latent dimension only.

        Args:
            x: The example to start from; None starts from the prior's centre, z = 0.
            dim: Latent dimension, from 0.
            steps: Number of values, evenly spaced over [-span, span].
            span: Largest value, in units of the prior's standard deviation.
            values: The values themselves in these units, instead of `steps` and `span`.

        Codes that are points have no prior of training: centre and unit are then the mean and the standard deviation
        of each dimension of the prior that was fitted to them, or 0 and 1 without one.
        """
        check_is_fitted(self)
        self._check_conditions(1)
        check_integer("dim", dim, low=0, high=self.latent_dim_ - 1)
        check_integer("steps", steps, low=1)
        check_real("span", span)
        centre, unit = self._latent_scale()
        start = centre[None] if x is None else self._one_latent(x)
        path = (
            torch.linspace(-span, span, steps, dtype=start.dtype)
            if values is None
            else torch.tensor([check_real("values", value) for value in values], dtype=start.dtype)
        )
        path = centre[dim] + unit[dim] * path
        model = self._model(start.dtype)
        with torch.inference_mode():
            result = traverse(model, start.to(self._device), dim, values=path.to(self._device))
        return self.schema_.decode(result.reshape(-1, *self.specification_.event_shape).cpu())

    # Recover

    def recover(
        self,
        X: Any,
        mask: Any = None,
        *,
        n_draws: int | None = None,
        n_steps: int = 50,
        result: Literal["mean", "draws"] = "mean",
        reference: Any = None,
    ) -> Any:
        """Return X with what is missing filled in, given what is there.

        The missing features are drawn from p(missing given observed) by sampling in latent space, then averaged or
        returned draw by draw. Without anything missing, X is denoised: reconstructed through the posterior mean.
        Where codes are points there is nothing to draw from: the missing features are filled with the reconstruction,
        again and again.

        Args:
            X: Data like those of fit; what lies under the mask does not matter. NaN in rows counts as missing. In texts
                ``___`` stands for lost words; of the draws the most frequent one takes the place of the mean.
            mask: True where X is observed, in the shape of X.
            n_draws: Completions per example; None takes 20. Where codes are points there is one.
            n_steps: Steps of the Markov chain per draw; more steps come closer to the conditional distribution. Where
                codes are points, passes through the model, at least 1.
            result: ``"mean"`` of the draws, or the ``"draws"`` themselves as a list of `n_draws` results (equal ones
                where nothing is missing).
            reference: Of tables of mixed kinds: rows like those of fit, such as X itself, among which rows near to a
                row are looked up; as far as they have filled cells better that were hidden for a test, they take part
                in the mean. A table, or what :meth:`neighbourhood` made of one, for many calls. With None a row is
                filled by the model alone, and the same beside any other rows.
        Raises:
            SchemaMismatchError: If the mask has another shape than X.
            UnsupportedOperationError: If codes are points and draws are asked for, or if a reference is given that this
                model has no use for.
        References:
            Rezende et al., 2014, arXiv:1401.4082, appendix F; Mattei and Frellsen, 2018, arXiv:1802.04826.
        """
        check_is_fitted(self)
        is_point = self.specification_.is_deterministic
        wanted = check_integer("n_draws", N_DRAWS if n_draws is None else n_draws, low=1)
        check_integer("n_steps", n_steps, low=int(is_point))
        check_choice("result", result, ("mean", "draws"))
        if is_point and (n_draws is not None or result == "draws"):
            given = "result='draws'" if result == "draws" else f"n_draws={n_draws!r}"
            raise UnsupportedOperationError(
                f"the codes of this model are points, so each example has one completion and there is nothing to draw; "
                f"got {given}. Leave it out, or fit a VAE to see what the observed features leave open."
            )
        data = self._unwrapped(X)
        if reference is not None:
            reference = self.neighbourhood(reference)
        if self.schema_.kind == "table":
            seed = derive_seed(self.seed_, "recover")
            return recover_table(
                self.schema_, self._map_cells, data, mask, n_draws=n_draws, result=result, seed=seed, near=reference
            )
        if self.schema_.kind == "text":
            if mask is not None:
                raise UnsupportedOperationError(
                    f"lost words of texts are marked in them, by {GAP}. Leave the mask out."
                )
            texts = self.schema_.read(data)
            self._check_conditions(len(texts))
            groups = self._alike(len(texts))
            return recover_texts(
                self.schema_,
                [(rows.tolist(), self._model(torch.float32, rows[:1])) for rows in groups],
                texts,
                n_draws=n_draws,
                result=result,
                seed=derive_seed(self.seed_, "recover"),
            )
        dtype = self._dtype(data)
        if isinstance(data, (str, os.PathLike)) and self.schema_.kind == "rows":
            # kept, so that what was observed can be put back as it was given
            data = read(os.fspath(data), tables="numbers").data
        storage, observed = observe(self.schema_, data, mask, dtype)
        self._check_conditions(storage.shape[0])
        if bool(observed.all()):
            clean = self._map(reconstruct, storage, dtype)
            results = [self.schema_.decode(clean) for _ in range(1 if result == "mean" else wanted)]
            return results[0] if result == "mean" else results
        seed = derive_seed(self.seed_, "recover")
        batch = inference_batch_size(self.specification_.width, n_samples=1 if is_point else wanted)
        how: Literal["mean", "sample"] = "mean" if self.schema_.kind == "images" else "sample"
        completed = storage.new_empty((1 if result == "mean" else wanted, *storage.shape), dtype=dtype)
        # candidates of the prior are shared by all rows of a call, so the rows of one call have one condition
        for group in self._alike(storage.shape[0]):
            for part in iterate_batches(len(group), batch):
                rows = group[part]
                x, seen = self._to_model(storage[rows], dtype), observed[rows].to(self._device)
                model = self._model(dtype, rows[:1])
                if is_point:
                    draws = complete(model, x, seen, n_steps=n_steps).unsqueeze(0).cpu()
                else:
                    draws = recover(model, x, seen, n_draws=wanted, n_steps=n_steps, draw=how, seed=seed).cpu()
                completed[:, rows] = draws.mean(0, keepdim=True) if result == "mean" else draws
        results = [keep_observed(self.schema_, self.schema_.decode(part), data, observed) for part in completed]
        return results[0] if result == "mean" else results

    def rewrite(self, X: Any, condition: Any, *, margin: float = 2.0) -> Any:
        """Return texts rewritten as texts of a class, such as bad reviews as good ones; most of their words stay.

        The words that speak most against the class make way for others, which are drawn given the class and what
        stands before and behind them; see :class:`~latentkit.tasks.Rewriter`. A text that speaks for the class already
        stays as it is.

        Args:
            X: Texts like those of fit.
            condition: The class that is asked for, of those that fit was given as `condition`.
            margin: Nats by which a text shall be more probable as one of the class than as one of any other; more
                words make way where it is not, up to eight.
        Raises:
            UnsupportedOperationError: If the model was not fitted to texts under one condition of several classes.
            DataError: If the class is unknown.
        """
        check_is_fitted(self)
        check_real("margin", margin)
        attributes = () if self.condition_schema_ is None else self.condition_schema_.attributes
        if self.schema_.kind != "text" or len(attributes) != 1 or len(attributes[0].classes) < 2:
            raise UnsupportedOperationError(
                "texts are rewritten by a model of texts that was fitted with condition=, one class for each. Fit it "
                "so, or move texts along a direction with edit."
            )

        def bound(name: Any) -> LatentVariableModel:
            model: LatentVariableModel = self.given(name)._model(torch.float32)  # noqa: SLF001 (itself)
            return model

        return rewrite_texts(
            self.schema_,
            bound,
            self.schema_.read(self._unwrapped(X)),
            condition,
            classes=list(attributes[0].classes),
            latent_dim=self.latent_dim_,
            margin=float(margin),
            seed=derive_seed(self.seed_, "rewrite"),
        )

    def neighbourhood(self, X: Any) -> Neighbourhood:
        """Return rows of a table among which :meth:`recover` looks up those near to a row with holes.

        Args:
            X: Data like those of fit, with or without holes, of which at most 10,000 rows are taken; or what this
                method returned, which is returned.
        Raises:
            UnsupportedOperationError: If the model is not one of tables of mixed kinds, or was fitted under conditions.
        """
        check_is_fitted(self)
        is_conditional = self.condition_schema_ is not None
        if self.schema_.kind != "table" or is_conditional:
            raise UnsupportedOperationError(
                "rows are looked up in tables of mixed kinds that were fitted without conditions, and this model is of "
                f"{self.schema_.kind}{' under conditions' if is_conditional else ''}. Leave the reference out."
            )
        if isinstance(X, Neighbourhood):
            return X
        seed = derive_seed(self.seed_, "recover")
        return learn_neighbourhood(self.schema_, self._map_cells, self._unwrapped(X), seed=seed)

    def _map_cells(self, function: Callable[[Any, Tensor], Tensor], storage: Tensor) -> Tensor:
        """Apply `function` to the model and consecutive rows; rows are the second dimension of its results."""
        self._check_conditions(len(storage))
        parts = [
            function(self._model(torch.float32, rows), self._to_model(storage[rows], torch.float32)).cpu()
            for rows in iterate_batches(len(storage), CELL_ROWS)
        ]
        return torch.cat(parts, dim=1)

    # Centre, unit and conditions

    def _latent_scale(self) -> tuple[Tensor, Tensor]:
        """Centre and unit of each latent dimension, shape (latent,): of the standard normal prior, or of the codes."""
        if self.specification_.is_deterministic and self._ex_post_prior is not None:
            codes: Any = self._bound(self._ex_post_prior)()
            return codes.mean, codes.stddev
        return torch.zeros(self.latent_dim_), torch.ones(self.latent_dim_)

    def _alike(self, n: int) -> list[Tensor]:
        """The rows in groups of one condition each."""
        if self.condition_ is None or len(self.condition_) == 1:
            return [torch.arange(n)]
        _, groups = self.condition_.unique(dim=0, return_inverse=True)  # type: ignore[no-untyped-call]
        return [(groups == group).nonzero().flatten() for group in groups.unique()]

    # The prior that is fitted after training

    def _complete(self, storage: Tensor, dataset: Dataset, reporter: Reporter) -> None:
        """Fit the ex-post priors, and bring the columns of new rows of tables to the shares of the data."""
        self._fit_ex_post(storage, dataset, reporter)
        if self.schema_.kind == "table" and self.condition_ is None and not self._is_private:
            self._match_margins(storage)

    def _fit_ex_post(self, storage: Tensor, dataset: Dataset, reporter: Reporter) -> None:
        """Fit the ex-post priors to posterior draws of the training data: of all, of classes, and given conditions.

        Where posteriors are points, the draws are the codes.
        """
        without_ex_post(self)
        family = ex_post_family(self)
        if family is None:
            return
        reporter.note(f"fitting a {in_words(ex_post_name(self))} to the latent space, from which samples are drawn")
        rows = self._some_rows(len(storage), family.max_rows, "mixture")
        is_point = self.specification_.is_deterministic

        def moments(model: Any, x: Tensor) -> Tensor:
            posterior: Any = model.encode(x)
            return posterior.mean if is_point else torch.cat([posterior.mean, posterior.log_var], dim=-1)

        numbers = self._map_rows(moments, storage, rows)
        means, log_vars = (numbers, None) if is_point else numbers.chunk(2, dim=-1)
        fit_ex_post(self, means, log_vars, dataset, reporter, rows=rows)

    def _match_margins(self, storage: Tensor) -> None:
        """Bring the shares of the columns of new rows to those of the training data; private ones are not counted."""
        n = min(max(len(storage), FEWEST_COUNTED), MOST_COUNTED)
        random = generator(self.seed_, "margins")
        z = sample_latents(self._prior_module(None, "auto")(), n, generator=random).to(self._device)
        drawn = self._drawn(z, "sample", random)
        self.model_.shift_output(margin_offsets(storage, drawn, self.schema_.codes))

    def _some_rows(self, n: int, most: int, purpose: str) -> Tensor:
        """Places of up to `most` of n rows, drawn by the seed, ascending."""
        if n <= most:
            return torch.arange(n)
        return torch.randperm(n, generator=generator(self.seed_, purpose))[:most].sort().values

    def _map_rows(self, function: Callable[[Any, Tensor], Tensor], storage: Tensor, rows: Tensor) -> Tensor:
        """Apply `function` to the model and some rows of the training data, each with its condition."""
        seen = copy.copy(self)
        seen.condition_ = None if self.condition_ is None else self.condition_[rows]
        return seen._map(function, storage[rows], torch.float32)  # noqa: SLF001 (itself)
